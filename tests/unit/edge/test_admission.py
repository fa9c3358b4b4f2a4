"""Admission as its callers see it: who is let in, who waits, and what is kept of them."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from penstock.auth.v1 import auth_pb2
from penstock_edge.admission_policy import AdmissionPolicy
from penstock_edge.amounts import NOTHING, Amounts
from penstock_edge.key_facts import KeyFacts
from penstock_edge.records import Admitted, Need
from tests.unit.edge.admitting import DIGEST, edge_with
from tests.unit.edge.fake_auth import FakeAuth, until


async def test_first_request_asks_and_the_next_ones_do_not(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        assert edge.try_admit() is None
        first = await edge.admit()
        assert isinstance(first, Admitted)
        assert first.key.project == "acme"
        assert first.admitted_at_ms >= 1_700_000_000_000
        assert not first.degraded
        second = edge.try_admit()
        assert isinstance(second, Admitted)
        assert len(auth.allows) == 1
        assert auth.allows[0].epoch == "e1"
        assert auth.allows[0].catalog_version == "v7"
        assert edge.admission.held()["slots"] == 2
        assert edge.admission.held()["micro_usd"] == 60
        edge.done(first)
        edge.done(second)
        edge.done(second)
        assert not any(edge.admission.held().values())


async def test_count_tokens_has_leases_of_its_own(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        need = Need(kind="count_tokens")
        one, other = await asyncio.gather(edge.admit(need), edge.admit())
        assert isinstance(one, Admitted)
        assert isinstance(other, Admitted)
        assert {a.kind for a in auth.allows} == {auth_pb2.LEASE_KIND_REQUESTS, auth_pb2.LEASE_KIND_COUNT_TOKENS}
        assert edge.admission.held()["slots"] == 1
        edge.done(one)
        assert edge.admission.held()["slots"] == 1
        edge.done(other)
        assert edge.admission.lent()["count_tokens"] > 0


async def test_identify_debits_nothing(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        assert edge.admission.known(DIGEST) is None
        key = await edge.admission.identify(DIGEST, time.monotonic() + 1)
        assert isinstance(key, KeyFacts)
        assert key.key_id == "k1"
        assert auth.allows[0].need_requests == auth.allows[0].want_requests == 0
        assert auth.leases == 0
        assert await edge.admission.identify(DIGEST, time.monotonic() + 1) == key
        assert edge.admission.known(DIGEST) == key
        assert len(auth.allows) == 1
        await asyncio.gather(*(edge.admission.identify(b"x" * 32, time.monotonic() + 1) for _ in range(10)))
        assert len(auth.allows) == 2


async def test_a_new_epoch_is_declared_before_anything_else(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        first, second, counted = (
            await edge.admit(),
            await edge.admit(),
            await edge.admit(Need(kind="count_tokens")),
        )
        edge.done(second, recorded=False)
        edge.done(counted)
        before = len(auth.allows)
        auth.epoch = "e2"
        await until(lambda: edge.session.epoch == "e2")
        complete = [d for d in auth.declares if d.complete and d.epoch == "e2"]
        assert len(complete) == 1
        (key,) = complete[0].keys
        assert key.key_sha256 == DIGEST
        assert key.holding.slots >= 1
        assert key.holding.input_tokens >= 10
        kinds = [(a.kind, a.requests) for a in key.admissions]
        assert sum(n for kind, n in kinds if kind == auth_pb2.LEASE_KIND_REQUESTS) == 2
        assert sum(n for kind, n in kinds if kind == auth_pb2.LEASE_KIND_COUNT_TOKENS) == 1
        assert {lease.lease_id for lease in key.leases} <= {"L1", "L2", "L3"}
        assert len(auth.allows) == before
        third = await edge.admit(Need(10_000, 10, 10))
        assert isinstance(third, Admitted)
        assert auth.allows[-1].epoch == "e2"
        edge.done(first)
        edge.done(third)


async def test_a_caller_that_left_holds_nothing(tmp_path):
    auth = FakeAuth()
    auth.allow_delay = 0.05
    async with edge_with(auth, tmp_path) as edge:
        tasks = [asyncio.ensure_future(edge.admit()) for _ in range(20)]
        await asyncio.sleep(0.01)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        admitted = [a for a in answers if isinstance(a, Admitted)]
        assert len(admitted) == 10
        assert edge.admission.held()["slots"] == 10
        for a in admitted:
            edge.done(a)
        assert not any(edge.admission.held().values())


async def test_a_caller_that_leaves_as_its_answer_comes_holds_nothing(tmp_path, monkeypatch):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        asking = edge.admission._asking
        serve = asking.serve

        def leaving(book):
            serve(book)
            book.first("requests").future.add_done_callback(lambda _: task.cancel())

        monkeypatch.setattr(asking, "serve", leaving)
        task = asyncio.ensure_future(edge.admit())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(auth.allows) == 1
        assert not any(edge.admission.held().values())
        assert edge.admission.lent()["requests"] > 0


async def test_waiters_are_bounded(tmp_path):
    async with edge_with(None, tmp_path, policy=AdmissionPolicy(max_waiters_per_key=5)) as edge:
        answers = await asyncio.gather(*(edge.admit(seconds=0.2) for _ in range(8)))
        assert {a.reason for a in answers} == {"AUTH_UNAVAILABLE"}
        assert len(edge.admission._books.get(DIGEST).row("requests")) <= 5


async def test_admitting_is_cheap(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        await edge.admit()
        allowance = edge.admission._books.get(DIGEST).allowance
        allowance.requests.leases[0].units = allowance.requests.units = 10**6
        allowance.holdings.granted(Amounts(*[10**9] * 4), NOTHING)
        need, now = Need(10, 20, 30), time.monotonic()
        gc.disable()
        try:
            best = 1.0
            for _ in range(5):
                start = time.perf_counter()
                for _ in range(1000):
                    admitted = edge.admission.try_admit(DIGEST, need, now)
                    edge.admission.ended(admitted)
                    edge.admission.settled(admitted, recorded=True)
                best = min(best, (time.perf_counter() - start) / 1000)
        finally:
            gc.enable()
        print(f"{best * 1e6:.1f} µs")
        assert best < 60e-6
