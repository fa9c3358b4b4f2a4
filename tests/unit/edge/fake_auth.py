"""An auth for the edge's books to talk to: a real gRPC server on a unix socket with scripted answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from contextlib import asynccontextmanager

import grpc

from penstock.auth.v1 import auth_pb2, auth_pb2_grpc
from penstock_chassis import rpc


def facts(**changes):
    row = {
        "key_id": "k1",
        "project": "acme",
        "plan": "pro",
        "models": ["*"],
        "over_budget": "Settled",
        "on_store_outage": "Closed",
        "price_multiplier_ppm": 1_000_000,
        "key_prefix": "psk_abc",
    }
    return auth_pb2.KeyFacts(**{**row, **changes})


class FakeAuth(auth_pb2_grpc.AuthServiceServicer):
    """Grants what is wanted, commits what is settled; everything can be scripted."""

    def __init__(self):
        self.epoch = "e1"
        self.key = facts()
        self.life_ms = 30_000
        self.edge_count = 1
        self.limits = []
        self.allows = []
        self.answers = {}
        self.allow_script = []  # each: a Denial, a StatusCode, "lose" (done, but the answer is lost), or "ok"
        self.answer_always = None  # a Denial that is not remembered by number: of a store that is down
        self.allow_delay = 0.0
        self.leases = 0
        self.returned = {}
        self.held = {}
        self.declares = []
        self.declare_down = False
        self.rows = {}
        self.settles = []
        self.settle_script = []  # "lose", a StatusCode, ("quarantine", id)
        self.watchers = set()
        self.change_seq = 0
        self.heartbeat = 0.05
        self.by_session = defaultdict(list)

    async def Allow(self, request, context):
        self.allows.append(request)
        if self.allow_delay:
            await asyncio.sleep(self.allow_delay)
        if self.answer_always is not None:
            return auth_pb2.AllowResponse(key=self.key, denial=self.answer_always)
        step = self.allow_script.pop(0) if self.allow_script else "ok"
        if isinstance(step, grpc.StatusCode):
            await context.abort(step, "scripted")
        place = (request.edge_session, request.key_sha256, request.seq)
        answer = self.answers.get(place)
        if answer is None:
            answer = self.answers[place] = self._decide(request, step)
        if step == "lose":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "lost")
        return answer

    def _decide(self, request, step):
        for back in request.returned:
            assert back.lease_id not in self.returned, "a lease came back twice"
            self.returned[back.lease_id] = back.spent
        answer = auth_pb2.AllowResponse(
            epoch=self.epoch, store_time_ms=1_700_000_000_000, edge_count=self.edge_count, limits=self.limits
        )
        if self.key is not None:
            answer.key.CopyFrom(self.key)
        keeping = request.keeping
        self.held[request.edge_session, request.key_sha256] = keeping
        if isinstance(step, auth_pb2.Denial):
            if step.reason == auth_pb2.DENIAL_REASON_UNKNOWN_KEY:
                answer.ClearField("key")
            answer.denial.CopyFrom(step)
            return answer
        grant = answer.allowance
        grant.life_ms = self.life_ms
        if request.want_requests:
            self.leases += 1
            grant.lease_id = f"L{self.leases}"
            grant.requests = request.want_requests
        grant.holding.slots = keeping.slots + request.want.slots
        grant.holding.input_tokens = keeping.input_tokens + request.want.input_tokens
        grant.holding.output_tokens = keeping.output_tokens + request.want.output_tokens
        grant.holding.micro_usd = keeping.micro_usd + request.want.micro_usd
        return answer

    async def Declare(self, request, context):
        if self.declare_down:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted")
        self.declares.append(request)
        return auth_pb2.DeclareResponse(epoch=self.epoch, store_time_ms=1_700_000_000_000)

    async def Settle(self, request, context):
        self.settles.append(request)
        step = self.settle_script.pop(0) if self.settle_script else "ok"
        if isinstance(step, grpc.StatusCode):
            await context.abort(step, "scripted")
        answer = auth_pb2.SettleResponse()
        for row in request.settlements:
            if isinstance(step, tuple) and step == ("poison", row.request_id):
                self.settle_script.append(step)
                await context.abort(grpc.StatusCode.INTERNAL, "poison")
            if isinstance(step, tuple) and step == ("quarantine", row.request_id):
                answer.results.add(request_id=row.request_id, quarantined="bad numbers")
                continue
            self.rows.setdefault(row.request_id, row)
            answer.results.add(request_id=row.request_id, committed=True)
        if isinstance(step, tuple) and step[0] == "poison":
            self.settle_script.append(step)
        if step == "lose":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "lost")
        return answer

    async def WatchChanges(self, request, context):
        queue = asyncio.Queue()
        self.watchers.add(queue)
        try:
            while True:
                try:
                    async with asyncio.timeout(self.heartbeat):
                        change = await queue.get()
                except TimeoutError:
                    change = auth_pb2.Change(seq=self.change_seq, epoch=self.epoch, heartbeat=True)
                yield change
        finally:
            self.watchers.discard(queue)

    def change(self, *, skip=0, **what):
        self.change_seq += 1 + skip
        for queue in self.watchers:
            queue.put_nowait(auth_pb2.Change(seq=self.change_seq, epoch=self.epoch, **what))


@asynccontextmanager
async def serving(servicer, path, add=auth_pb2_grpc.add_AuthServiceServicer_to_server):
    server = rpc.RpcServer(f"unix:{path}")
    add(servicer, server.server)
    await server.begin()
    try:
        yield server
    finally:
        await server.end(0)


@asynccontextmanager
async def running(*coroutines):
    """Run these until the block ends."""
    tasks = [asyncio.ensure_future(c) for c in coroutines]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def until(true, seconds=5.0):
    """Wait until `true()` holds."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)
