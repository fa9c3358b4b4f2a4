"""What is over or spare goes back in time, without traffic, and all of it in a drain."""

from __future__ import annotations

import asyncio
import hashlib
import time

from penstock.auth.v1 import auth_pb2
from tests.unit.edge.admitting import DIGEST, edge_with
from tests.unit.edge.fake_auth import FakeAuth, until


async def test_spent_leases_and_idle_spare_go_back_without_traffic(tmp_path):
    auth = FakeAuth()
    auth.life_ms = 200
    async with edge_with(auth, tmp_path) as edge:
        admitted = await edge.admit()
        held = auth.held
        await until(lambda: auth.returned.get("L1") == 1)
        assert held["s1", DIGEST].slots == 1
        assert held["s1", DIGEST].input_tokens == 10
        edge.admission.ended(admitted)
        await until(lambda: held["s1", DIGEST].slots == 0)
        assert held["s1", DIGEST].input_tokens == 10
        edge.admission.settled(admitted, recorded=True)
        await until(lambda: held["s1", DIGEST].input_tokens == 0)
        assert held["s1", DIGEST].micro_usd == 0
        calls = len(auth.allows)
        await asyncio.sleep(0.5)
        assert len(auth.allows) == calls, "an idle key asks nothing"


async def test_scarce_slots_go_back_at_once(tmp_path):
    auth = FakeAuth()
    auth.limits = [
        auth_pb2.LimitState(name="c", unit="ConcurrentRequests", amount=10, remaining=2),
        auth_pb2.LimitState(name="t", unit="TotalTokens", amount=10, remaining=2, window_ms=60_000, reset_ms=60_000),
    ]
    async with edge_with(auth, tmp_path) as edge:
        admitted = await edge.admit()
        edge.admission.ended(admitted)
        await until(lambda: auth.held["s1", DIGEST].slots == 0, 1.0)
        edge.admission.settled(admitted)
        await until(lambda: auth.held["s1", DIGEST].input_tokens == 0, 1.0)


async def test_drain_returns_every_lease(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        for i in range(5):
            edge.done(await edge.admit(digest=hashlib.sha256(str(i).encode()).digest()))
        await edge.admission.give_all_back(2.0)
        assert len(auth.returned) == auth.leases == 5
        assert not any(edge.admission.lent().values())
        assert await edge.session.end(5.0)
        assert auth.declares[-1].final


async def test_a_drain_without_auth_ends_in_time(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        edge.done(await edge.admit())
        auth.allow_delay = 60
        start = time.monotonic()
        await edge.admission.give_all_back(0.2)
        assert time.monotonic() - start < 20.0
