"""Calls over a real socket, and what is counted of them."""

import asyncio
from pathlib import Path

import grpc
import pytest
from prometheus_client import REGISTRY

from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_chassis import rpc

SERVICE = "penstock.router.v1.RouterService"


class Router(router_pb2_grpc.RouterServiceServicer):
    async def Watch(self, request, context):
        yield router_pb2.Update(seq=1)
        if request.edge == "lasting":
            await asyncio.sleep(3600)

    async def Report(self, request, context):
        if request.seq == 1:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such session")
        if request.seq == 2:
            raise ValueError("a mistake")
        return router_pb2.ReportResponse(accepted_seq=request.seq)

    async def WatchObserved(self, request, context):
        await context.write(router_pb2.Observed())


def counted(method: str, code: str) -> float:
    labels = {"method": f"{SERVICE}/{method}", "code": code}
    return REGISTRY.get_sample_value("penstock_rpc_calls_total", labels) or 0.0


def timed(method: str) -> float:
    labels = {"method": f"{SERVICE}/{method}"}
    return REGISTRY.get_sample_value("penstock_rpc_call_seconds_count", labels) or 0.0


@pytest.fixture
async def router(tmp_path: Path):
    server = rpc.RpcServer(f"unix:{tmp_path / 'router.sock'}")
    router_pb2_grpc.add_RouterServiceServicer_to_server(Router(), server.server)
    await server.begin()
    async with rpc.channel(server.address) as channel:
        yield router_pb2_grpc.RouterServiceStub(channel)
    await server.end(0)


@pytest.mark.parametrize(("seq", "code"), [(1, "NOT_FOUND"), (2, "UNKNOWN"), (3, "OK")])
async def test_a_call_counts_under_its_code_and_is_timed(router, seq, code):
    before, calls = counted("Report", code), timed("Report")
    try:
        await router.Report(router_pb2.ReportRequest(seq=seq), timeout=30)
        said = "OK"
    except grpc.aio.AioRpcError as error:
        said = error.code().name
    assert said == code
    # The caller may hear of the end before the server has counted it.
    async with asyncio.timeout(10):
        while timed("Report") == calls:
            await asyncio.sleep(0.01)
    assert counted("Report", code) == before + 1
    assert timed("Report") == calls + 1


async def test_a_stream_counts_when_it_ends_and_is_not_timed(router):
    before = counted("Watch", "OK")
    assert [update.seq async for update in router.Watch(router_pb2.WatchRequest(), timeout=30)] == [1]
    assert counted("Watch", "OK") == before + 1
    assert timed("Watch") == 0


async def test_a_stream_whose_caller_leaves_is_cancelled(router):
    before = counted("Watch", "CANCELLED")
    call = router.Watch(router_pb2.WatchRequest(edge="lasting"), timeout=30)
    await call.read()
    call.cancel()
    async with asyncio.timeout(10):
        while counted("Watch", "CANCELLED") == before:
            await asyncio.sleep(0.01)


async def test_a_stream_that_writes_by_itself_goes_on(router):
    before = counted("WatchObserved", "OK")
    assert len([said async for said in router.WatchObserved(router_pb2.WatchObservedRequest(), timeout=30)]) == 1
    assert counted("WatchObserved", "OK") == before + 1
