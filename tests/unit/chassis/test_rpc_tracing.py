"""Server spans of gRPC calls, on real sockets."""

from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from penstock_chassis import logs, tracing
from penstock_chassis.rpc import RpcServer, channel
from penstock_chassis.tracing import CURRENT, Sampling, TraceContext, Tracer

METHOD = "grpc.health.v1.Health/Check"
CALLER = TraceContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7)


async def check(folder: Path, service: str = "", metadata=None) -> None:
    server = RpcServer(f"unix:{folder}/it.sock")
    await server.begin()
    try:
        async with channel(server.address) as opened:
            stub = health_pb2_grpc.HealthStub(opened)
            await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30, metadata=metadata)
    finally:
        await server.end(0.1)


async def test_a_call_of_a_traced_request_has_a_span(tmp_path, kept):
    await check(tmp_path, metadata=tracing.outgoing(CALLER))
    (span,) = kept.spans
    assert (span.name, span.kind, span.error) == (METHOD, "server", "")
    assert (span.context.trace_id, span.parent_id) == (CALLER.trace_id, CALLER.span_id)
    assert span.attributes == {"rpc.system.name": "grpc", "rpc.method": METHOD, "rpc.response.status_code": "OK"}
    assert 0 < span.start_ns <= span.end_ns


async def test_other_calls_have_none(tmp_path, kept):
    await check(tmp_path)
    await check(tmp_path, metadata=tracing.outgoing(CALLER._replace(sampled=False)))
    assert kept.spans == []


async def test_by_lot_they_begin_a_trace(tmp_path, kept):
    tracing.activate(Tracer(Sampling(1.0, parent_based=True), kept))
    await check(tmp_path)
    (span,) = kept.spans
    assert span.parent_id == 0


async def test_a_refused_call_says_so(tmp_path, kept):
    with pytest.raises(grpc.aio.AioRpcError):
        await check(tmp_path, service="unknown", metadata=tracing.outgoing(CALLER))
    (span,) = kept.spans
    assert span.error == span.attributes["rpc.response.status_code"] == "NOT_FOUND"


async def test_without_a_tracer_nothing_stands_in_between(tmp_path):
    assert tracing.active() is None
    await check(tmp_path, metadata=tracing.outgoing(CALLER))


def test_log_lines_say_which_trace_they_belong_to():
    token = CURRENT.set(CALLER)
    try:
        with capture_logs(processors=[logs._with_trace]) as lines:
            logs.get("test").info("something")
    finally:
        CURRENT.reset(token)
    with capture_logs(processors=[logs._with_trace]) as others:
        logs.get("test").info("something")
    assert (lines[0]["trace_id"], lines[0]["span_id"]) == (f"{CALLER.trace_id:032x}", f"{CALLER.span_id:016x}")
    assert "trace_id" not in others[0]
