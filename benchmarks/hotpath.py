#!/usr/bin/env python3
"""What serving a request costs between the client's connection and the upstream's, in process, without any socket.

Everything in between is real: keys, allowances, estimates, selection, spool, settlement, reports, metrics. Auth and the
router grant all that they are asked for, the upstream has its answer ready. Two trees compare by their PYTHONPATH, tried
in turn: on a machine that others use, only such pairs mean anything.
"""

# ruff: noqa: ARG002 -- what stands in for others takes what they take
from __future__ import annotations

import asyncio
import gc
import json
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import uvloop
from prometheus_client import CollectorRegistry

from penstock.auth.v1 import auth_pb2
from penstock.router.v1 import router_pb2
from penstock_catalog import api_key
from penstock_edge.admission import Admission
from penstock_edge.changes import Changes
from penstock_edge.dialects.anthropic import DIALECT
from penstock_edge.dialects.dialect import Head
from penstock_edge.direct_turn import DirectTurn, Line
from penstock_edge.dispatch import Dispatcher, Pace
from penstock_edge.estimates import Estimates
from penstock_edge.flow import Flow
from penstock_edge.metrics import EdgeMetrics
from penstock_edge.outcomes import Reporter
from penstock_edge.passage import NativePassage
from penstock_edge.providers.anthropic import WIRE
from penstock_edge.relay import StreamRelay
from penstock_edge.routes.inference import Door, Inference
from penstock_edge.session import Session
from penstock_edge.settlement import Settlement
from penstock_edge.snapshot import RouterView
from penstock_edge.spool import Spool
from penstock_edge.upstream import Call, Deadlines
from penstock_edge.usage import UsageMeter
from penstock_routing import Policy, Pool

KEY = api_key.generate("psk_", secrets.token_bytes).text
TEXT = 'The quick brown fox, ä "jumps" over\n the lazy dog. '
ANSWER = json.dumps(
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": TEXT * 6}],
        "usage": {"input_tokens": 25, "output_tokens": 60},
    }
).encode()
# As the parser hands them over: names and values in turn.
ANSWER_FIELDS = [
    *(b"content-type", b"application/json"),
    *(b"request-id", b"req_up"),
    *(b"content-length", b"%d" % len(ANSWER)),
]
HEADERS = [
    (b"host", b"127.0.0.1"),
    (b"content-type", b"application/json"),
    (b"x-api-key", KEY.encode()),
    (b"anthropic-version", b"2023-06-01"),
    (b"content-length", b"1000"),
]
ROUNDS = 8


def _body(size: int) -> bytes:
    messages = [{"role": "user", "content": TEXT * (size // len(TEXT))}]
    return json.dumps({"model": "claude-mock", "max_tokens": 256, "messages": messages}).encode()


CASES = {"unary 1 KB": (_body(900), 2_000), "unary 100 KB": (_body(100_000), 400)}


class Granting:
    """Auth and the router in one: whatever is asked for is granted, whatever is reported is taken."""

    def __init__(self) -> None:
        self._leases = 0

    async def Allow(self, request, timeout=None, metadata=None):  # noqa: N802 -- as gRPC's stubs
        limits = [auth_pb2.LimitState(name="minute", unit="Requests", amount=10**8, remaining=10**8, window_ms=60_000)]
        answer = auth_pb2.AllowResponse(epoch="e", store_time_ms=_now_ms(), edge_count=1, limits=limits)
        answer.key.CopyFrom(
            auth_pb2.KeyFacts(key_id="k", project="p", plan="pl", models=["*"], price_multiplier_ppm=1_000_000)
        )
        self._leases += 1
        grant = answer.allowance
        grant.life_ms, grant.lease_id, grant.requests = 30_000, f"L{self._leases}", max(1, request.want_requests)
        for name in ("slots", "input_tokens", "output_tokens", "micro_usd"):
            setattr(grant.holding, name, getattr(request.keeping, name) + getattr(request.want, name))
        return answer

    async def Declare(self, request, timeout=None):  # noqa: N802 -- as gRPC's stubs
        return auth_pb2.DeclareResponse(epoch="e", store_time_ms=_now_ms())

    async def settle(self, request, timeout=None):
        answer = auth_pb2.SettleResponse()
        for row in auth_pb2.SettleRequest.FromString(request).settlements:
            answer.results.add(request_id=row.request_id, committed=True)
        return answer

    async def report(self, request, timeout=None):
        return router_pb2.ReportResponse()


class Ready:
    """An upstream client whose answers are there already."""

    def __init__(self):
        self._loop = asyncio.get_running_loop()

    def try_send(self, target, request, deadlines, before):
        before()
        call = Call(self._loop, SimpleNamespace(abort=lambda: None), deadlines)
        call.status, call.fields, call.first_byte_at = 200, ANSWER_FIELDS, call.sent_at
        call.answered = call.head_done = True
        call.take(ANSWER)
        call.complete = True
        return call


class Nowhere(Line):
    """A client's connection; answers go nowhere."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport = self
        self.flow = Flow(self)

    def write(self, data):
        if not data.startswith(b"HTTP/1.1 200 "):
            sys.exit(repr(data))

    def pause_reading(self):
        pass

    def default_lines(self):
        return b""

    def turn_over(self):
        pass


def _turn(serve, body: bytes) -> DirectTurn:
    """Return a client's request whose body is there."""
    turn = DirectTurn(Nowhere(), serve, b"/v1/messages", HEADERS, b"", keep_alive=True)
    turn.feed(body)
    turn.finish()
    return turn


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _view(stub: Granting) -> RouterView:
    view = RouterView(stub, Pool(Policy()), session_id="es", edge="e", clock=time.monotonic, rng=random.random)
    snapshot = router_pb2.Snapshot(catalog_version="v")
    for number in range(2):
        facts = {"provider": "Anthropic", "base_url": "http://127.0.0.1:9", "api_key": "k", "models": ["claude-mock"]}
        snapshot.accounts.add(name=f"a{number}", weight=100, mode="Active", allow_private_address=True, **facts)
    model = snapshot.models.add(name="claude-mock", owned_by="anthropic", context_tokens=200_000)
    model.prices.add(digest="0123456789abcdef", input=3_000_000, output=15_000_000)
    view.apply(router_pb2.Update(snapshot=snapshot), time.monotonic())
    return view


async def requests(folder: Path) -> None:
    """Measure requests."""
    clock, rng, stub = time.monotonic, random.random, Granting()
    metrics, estimates, view = EdgeMetrics(CollectorRegistry()), Estimates(), _view(stub)
    session = Session(stub, edge="e", session_id="es", catalog_version=lambda: "v", clock=clock)
    changes = Changes(stub, session_id="es", clock=clock, rng=rng, saw_epoch=session.saw_epoch)
    changes.heard_at = clock() + 1e6
    admission = Admission(stub, session, changes, clock=clock, rng=rng, observer=metrics, catalog_version=lambda: "v")
    spool = Spool.start(folder, "e", "es", now_ms=_now_ms(), observer=metrics)
    settlement = Settlement(stub.settle, spool, admission, session_id="es", observer=metrics, rng=rng)
    reporter = Reporter(stub.report, view, session_id="es", clock=clock, observer=metrics)
    books = {"admission": admission, "spool": spool, "settlement": settlement, "reporter": reporter}
    parts = {"view": view, "estimates": estimates, "metrics": metrics}
    dispatcher = Dispatcher(client=Ready(), policy=Policy(), pace=Pace(), rng=rng, **parts, **books)
    inference = Inference(
        view=view,
        estimates=estimates,
        admission=admission,
        dispatcher=dispatcher,
        session="es",
        max_body_bytes=1 << 25,
        admit_seconds=2.0,
    )
    serve = inference.at(Door(DIALECT, DIALECT.head))
    work = [asyncio.create_task(part) for part in (session.run(admission), admission.run(), settlement.run())]
    work.append(asyncio.create_task(reporter.run()))
    await asyncio.sleep(0.05)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    for name, (body, count) in CASES.items():
        best = beside = float("inf")
        for _ in range(ROUNDS):
            begun = time.process_time()
            for _ in range(count):
                rest = serve(_turn(serve, body))
                if rest is not None:
                    await rest
            served = time.process_time()
            # What was left to be done by the batch.
            await asyncio.sleep(0.5)
            best = min(best, (served - begun) / count)
            beside = min(beside, (time.process_time() - begun) / count)
        print(f"{name}: {best * 1e6:.1f} µs, {beside * 1e6:.1f} with what is done in batches")
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)


def _event(kind: str, data: str) -> bytes:
    return f'event: {kind}\ndata: {{"type":"{kind}",{data}}}\n\n'.encode()


class Streaming:
    """A reply that takes everything at once, and nothing else of a client."""

    started = False

    def try_begin(self, status, headers):
        self.started = True
        return True

    def try_piece(self, data):
        return True

    def try_end(self, data):
        return True


async def chunks(count: int = 20_000) -> None:
    """Measure the relaying of chunks, from where the upstream's connection hands them over."""
    chunk = _event("content_block_delta", '"index":0,"delta":{"type":"text_delta","text":" tok @1234567890123456"}')
    end = _event("message_delta", '"usage":{"output_tokens":60}') + _event("message_stop", '"x":1')
    best = float("inf")
    for _ in range(ROUNDS):
        passage = NativePassage(DIALECT, WIRE, Head("m", True, 1, "", ()), b"", "r", counting=False)
        attempt = SimpleNamespace(passage=passage, meter=UsageMeter(), index=0, characters=0, failure=None)
        exchange = SimpleNamespace(
            reply=Streaming(), output_committed=False, delivered=-1, follower=None, error_forwarded=False
        )
        call = Call(asyncio.get_running_loop(), SimpleNamespace(abort=lambda: None), Deadlines(1, 1, 1, 1, True))
        call.take(_event("message_start", '"message":{"usage":{"input_tokens":5}}') + chunk)
        relaying = asyncio.create_task(StreamRelay(exchange, attempt, call, list, lambda: None).run())
        await asyncio.sleep(0)
        begun = time.process_time()
        for _ in range(count):
            call.take(chunk)
            call.wake()
        best = min(best, (time.process_time() - begun) / count)
        call.take(end)
        call.finish()
        await relaying
        if attempt.failure is not None or not attempt.characters:
            sys.exit("the stream did not come through")
    print(f"chunk of a stream: {best * 1e6:.1f} µs")


async def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        await requests(Path(folder))
    await chunks()


if __name__ == "__main__":
    uvloop.run(main())
