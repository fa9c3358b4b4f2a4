#!/usr/bin/env python3
"""What a request costs between the client's socket and the upstream's, in process, without any socket.

Everything in between is real: both ends' HTTP, keys, allowances, estimates, selection, spool, settlement, reports,
metrics. Auth and the router grant all that they are asked for. Two trees compare by their PYTHONPATH, as do sources and
compiled modules, tried in turn: on a machine that others use, only such pairs mean anything.
"""

# ruff: noqa: ARG002 -- what stands in for others takes what they take
from __future__ import annotations

import argparse
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
from unittest import mock

import uvloop
from prometheus_client import CollectorRegistry
from uvicorn.server import ServerState

from penstock.auth.v1 import auth_pb2
from penstock.router.v1 import router_pb2
from penstock_catalog import api_key
from penstock_edge.admission import Admission
from penstock_edge.changes import Changes
from penstock_edge.dialects.anthropic import DIALECT
from penstock_edge.dispatch import Dispatcher, Pace
from penstock_edge.estimates import Estimates
from penstock_edge.metrics import EdgeMetrics
from penstock_edge.outcomes import Reporter
from penstock_edge.protocol import EdgeProtocol
from penstock_edge.routes.inference import Door, Inference
from penstock_edge.session import Session
from penstock_edge.settlement import Settlement
from penstock_edge.snapshot import RouterView
from penstock_edge.spool import Spool
from penstock_edge.upstream import UpstreamClient
from penstock_edge.upstream.dialing import Dialer
from penstock_routing import Policy, Pool

KEY = api_key.generate("psk_", secrets.token_bytes).text
TEXT = 'The quick brown fox, ä "jumps" over\n the lazy dog. '
ROUNDS = 8
SETTLE_SECONDS = 0.5
"""What the batches are given to go out."""
WARM = 200


def _request(size: int, *, stream: bool = False) -> bytes:
    messages = [{"role": "user", "content": TEXT * (size // len(TEXT))}]
    body = json.dumps({"model": "claude-mock", "max_tokens": 256, "stream": stream, "messages": messages}).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nx-api-key: {KEY}\r\n"
    return f"{head}anthropic-version: 2023-06-01\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _answer() -> bytes:
    usage = {"input_tokens": 25, "output_tokens": 60}
    content = [{"type": "text", "text": TEXT * 6}]
    body = json.dumps({"type": "message", "role": "assistant", "content": content, "usage": usage}).encode()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nrequest-id: req_up\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _chunk(kind: str, data: str) -> bytes:
    """Return one event as one chunk of a body."""
    event = f'event: {kind}\ndata: {{"type":"{kind}",{data}}}\n\n'.encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


def _apart(request: bytes) -> list[bytes]:
    """Return head and body one after the other, as most clients send them."""
    head, end, body = request.partition(b"\r\n\r\n")
    return [head + end, body]


SMALL, LARGE = _request(900), _request(100_000)
REQUESTS = {
    "unary 1 KB": ([SMALL], 2_000),
    "unary 1 KB, its body after its head": (_apart(SMALL), 2_000),
    "unary 100 KB": ([LARGE], 400),
    "unary 100 KB, its body after its head": (_apart(LARGE), 400),
}
ANSWER = _answer()
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + _chunk(
    "message_start", '"message":{"usage":{"input_tokens":5}}'
)
CHUNK = _chunk("content_block_delta", '"index":0,"delta":{"type":"text_delta","text":" tok @1234567890123456"}')
CHUNKS = 20_000
STREAM_END = _chunk("message_delta", '"usage":{"output_tokens":60}') + _chunk("message_stop", '"x":1') + b"0\r\n\r\n"


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


class Peer(asyncio.Transport):
    """The other end of one of the edge's connections: takes what is written, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.Protocol | None = None
        self.answers = self.writes = self.bytes = 0

    def say(self, data: bytes) -> None:
        if self.protocol is not None:
            self.protocol.data_received(data)

    def write(self, data):
        self.answers += data.startswith(b"HTTP/1.1 200 ")
        self.writes += 1
        self.bytes += len(data)

    def writelines(self, data):
        for piece in data:
            self.write(piece)

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return False

    def pause_reading(self):
        pass

    resume_reading = close = abort = pause_reading


class Gateway:
    """An edge's parts between one client and one upstream."""

    def __init__(self, folder: Path) -> None:
        clock, rng, stub = time.monotonic, random.random, Granting()
        metrics, estimates, view = EdgeMetrics(CollectorRegistry()), Estimates(), _view(stub)
        session = Session(stub, edge="e", session_id="es", catalog_version=lambda: "v", clock=clock)
        changes = Changes(stub, session_id="es", clock=clock, rng=rng, saw_epoch=session.saw_epoch)
        changes.heard_at = clock() + 1e6
        admission = Admission(
            stub, session, changes, clock=clock, rng=rng, observer=metrics, catalog_version=lambda: "v"
        )
        spool = Spool.start(folder, "e", "es", now_ms=_now_ms(), observer=metrics)
        settlement = Settlement(stub.settle, spool, admission, session_id="es", observer=metrics, rng=rng)
        reporter = Reporter(stub.report, view, session_id="es", clock=clock, observer=metrics)
        books = {"admission": admission, "spool": spool, "settlement": settlement, "reporter": reporter}
        parts = {"view": view, "estimates": estimates, "metrics": metrics}
        dispatcher = Dispatcher(client=UpstreamClient(), policy=Policy(), pace=Pace(), rng=rng, **parts, **books)
        self._inference = Inference(
            view=view,
            estimates=estimates,
            admission=admission,
            dispatcher=dispatcher,
            session="es",
            max_body_bytes=1 << 25,
            admit_seconds=2.0,
        )
        self._work = (session.run(admission), admission.run(), settlement.run(), reporter.run())
        self._tasks: list[asyncio.Task[None]] = []
        self.client, self.upstream = Peer(), Peer()

    async def open(self) -> None:
        """Start the work behind, and connect both peers."""
        self._tasks = [asyncio.create_task(part) for part in self._work]
        serve = self._inference.at(Door(DIALECT, DIALECT.head))
        app = SimpleNamespace(find=lambda _url: (serve, b""))
        config = SimpleNamespace(loaded_app=app, root_path="", limit_concurrency=None, timeout_keep_alive=600)
        self.client.protocol = EdgeProtocol(config, ServerState(), {})
        self.client.protocol.connection_made(self.client)

        async def dial(_dialer: Dialer, make, _deadline: float):
            self.upstream.protocol = made = make()
            made.connection_made(self.upstream)
            return made

        with mock.patch.object(Dialer, "dial", dial):
            self.client.say(SMALL)
            await asyncio.sleep(SETTLE_SECONDS)
        self.upstream.say(ANSWER)
        await asyncio.sleep(SETTLE_SECONDS)
        for _ in range(WARM):
            await self.ask([SMALL])
        await asyncio.sleep(0)

    async def ask(self, pieces: list[bytes]) -> None:
        """Take one request to its answer; where the allowance has to be filled up first, that is waited for."""
        sent = self.upstream.writes
        for piece in pieces[:-1]:
            self.client.say(piece)
            await asyncio.sleep(0)
        self.client.say(pieces[-1])
        while self.upstream.writes == sent:  # noqa: ASYNC110 -- what writes there has no event
            await asyncio.sleep(0)
        self.upstream.say(ANSWER)

    async def close(self) -> None:
        """End the work behind."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def must_have_answered(self, count: int) -> None:
        """Exit when fewer requests came through than were sent."""
        if self.client.answers != count:
            sys.exit(f"{self.client.answers} of {count} requests were answered")
        self.client.answers = 0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _view(stub: Granting) -> RouterView:
    view = RouterView(stub, Pool(Policy()), session_id="es", edge="e", clock=time.monotonic, rng=random.random)
    snapshot = router_pb2.Snapshot(catalog_version="v")
    facts = {"provider": "Anthropic", "base_url": "http://127.0.0.1:9", "api_key": "k", "models": ["claude-mock"]}
    snapshot.accounts.add(name="a", weight=100, mode="Active", allow_private_address=True, **facts)
    model = snapshot.models.add(name="claude-mock", owned_by="anthropic", context_tokens=200_000)
    model.prices.add(digest="0123456789abcdef", input=3_000_000, output=15_000_000)
    view.apply(router_pb2.Update(snapshot=snapshot), time.monotonic())
    return view


async def requests(gateway: Gateway, rounds: int) -> None:
    """Measure requests."""
    for name, (pieces, count) in REQUESTS.items():
        best = beside = float("inf")
        for _ in range(rounds):
            begun = time.process_time()
            for _ in range(count):
                await gateway.ask(pieces)
            served = time.process_time()
            await asyncio.sleep(SETTLE_SECONDS)
            best = min(best, (served - begun) / count)
            beside = min(beside, (time.process_time() - begun) / count)
            gateway.must_have_answered(count)
        print(f"{name}: {best * 1e6:.1f} µs, {beside * 1e6:.1f} with what is done in batches")


async def chunks(gateway: Gateway, rounds: int) -> None:
    """Measure chunks of a stream."""
    client, upstream = gateway.client, gateway.upstream
    request, best = _request(900, stream=True), float("inf")
    for _ in range(rounds):
        client.say(request)
        upstream.say(STREAM)
        upstream.say(CHUNK)
        await asyncio.sleep(0)
        before = client.bytes
        begun = time.process_time()
        for _ in range(CHUNKS):
            upstream.say(CHUNK)
        await asyncio.sleep(0)
        best = min(best, (time.process_time() - begun) / CHUNKS)
        if client.bytes - before != CHUNKS * len(CHUNK):
            sys.exit(f"{client.bytes - before} bytes of {CHUNKS} chunks came through")
        upstream.say(STREAM_END)
        await asyncio.sleep(SETTLE_SECONDS)
        gateway.must_have_answered(1)
    print(f"chunk of a stream: {best * 1e6:.1f} µs")


async def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(Path(folder))
        await gateway.open()
        gateway.must_have_answered(1 + WARM)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        await requests(gateway, rounds)
        await chunks(gateway, rounds)
        await gateway.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="the least of them counts")
    uvloop.run(main(arguments.parse_args().rounds))
