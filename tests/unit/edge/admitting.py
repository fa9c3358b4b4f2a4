"""The books' front half before a scripted auth."""

from __future__ import annotations

import hashlib
import random
import time
from contextlib import AsyncExitStack, asynccontextmanager

from penstock.auth.v1 import auth_pb2, auth_pb2_grpc
from penstock_chassis import rpc
from penstock_edge.admission import Admission
from penstock_edge.admission_policy import AdmissionPolicy
from penstock_edge.changes import Changes
from penstock_edge.observer import Unobserved
from penstock_edge.records import Admitted, Need
from penstock_edge.session import Session
from tests.unit.edge.fake_auth import running, serving, until

DIGEST = hashlib.sha256(b"a key").digest()


QUICK = AdmissionPolicy(
    first_pause_seconds=0.01,
    last_pause_seconds=0.05,
    degraded_after_seconds=0.3,
    closed_after_seconds=0.6,
    probe_seconds=0.05,
    call_seconds=0.5,
)


class Edge:
    """The books' front half as main composes it, on one channel."""

    def __init__(self, path, *, policy=QUICK, clock=time.monotonic, session_id="s1"):
        self.channel = rpc.channel(f"unix:{path}")
        stub = auth_pb2_grpc.AuthServiceStub(self.channel)
        self.session = Session(
            stub, edge="edge-0", session_id=session_id, catalog_version=lambda: "v7", clock=clock, heartbeat_seconds=0.2
        )
        self.changes = Changes(
            stub, session_id=session_id, clock=clock, rng=random.random, saw_epoch=self.session.saw_epoch
        )
        self.admission = Admission(
            stub,
            self.session,
            self.changes,
            clock=clock,
            rng=random.random,
            observer=Unobserved(),
            catalog_version=lambda: "v7",
            policy=policy,
        )

    def runners(self):
        return self.session.run(self.admission), self.changes.run(self.admission), self.admission.run()

    async def ready(self):
        await until(lambda: self.session.answered and self.changes.live(time.monotonic()))

    async def admit(self, need=None, seconds=2.0, digest=DIGEST):
        return await self.admission.admit(digest, need or Need(10, 20, 30), time.monotonic() + seconds)

    def try_admit(self, need=None, digest=DIGEST):
        return self.admission.try_admit(digest, need or Need(10, 20, 30), time.monotonic())

    def asks(self):
        """Say whether a small request would have to ask auth; if not, it spends one of the few that were lent."""
        answer = self.try_admit()
        if isinstance(answer, Admitted):
            self.done(answer, recorded=False)
        return answer is None

    async def heard(self, auth):
        """Wait until this edge has heard of all changes so far."""
        await until(lambda: self.changes._seq == auth.change_seq)

    def done(self, admitted, *, recorded=True):
        self.admission.ended(admitted)
        self.admission.settled(admitted, recorded=recorded)


@asynccontextmanager
async def edge_with(auth, tmp_path, **options):
    async with AsyncExitStack() as stack:
        if auth is not None:
            await stack.enter_async_context(serving(auth, tmp_path / "auth.sock"))
        edge = Edge(tmp_path / "auth.sock", **options)
        stack.push_async_callback(edge.channel.close)
        await stack.enter_async_context(running(*edge.runners()))
        if auth is not None:
            await edge.ready()
        yield edge


def denial(reason, **fields):
    return auth_pb2.Denial(reason=reason, **{"valid_ms": 1000, "reset_ms": 1000, **fields})
