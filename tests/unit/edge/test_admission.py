from __future__ import annotations

import asyncio
import dataclasses
import gc
import hashlib
import random
import time
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest

from penstock.auth.v1 import auth_pb2, auth_pb2_grpc
from penstock_chassis import rpc
from penstock_edge.admission import Admission, AdmissionPolicy
from penstock_edge.changes import Changes
from penstock_edge.observer import Unobserved
from penstock_edge.records import Admitted, KeyFacts, Need, Refused
from penstock_edge.session import Session
from tests.unit.edge.fake_auth import FakeAuth, facts, running, serving, until

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


async def test_concurrent_requests_share_one_question(tmp_path):
    auth = FakeAuth()
    auth.allow_delay = 0.05
    async with edge_with(auth, tmp_path) as edge:
        answers = await asyncio.gather(*(edge.admit() for _ in range(200)))
        assert all(isinstance(a, Admitted) for a in answers)
        assert len(auth.allows) <= 4
        spent = [a.seq for a in auth.allows]
        assert spent == sorted(set(spent))


async def test_waiters_are_served_in_order(tmp_path):
    auth = FakeAuth()
    auth.allow_delay = 0.02
    order = []
    async with edge_with(auth, tmp_path) as edge:

        async def one(i):
            await edge.admit(Need(10 * (i % 7 + 1), 20, 30))
            order.append(i)

        await asyncio.gather(*(one(i) for i in range(50)))
        assert order == list(range(50))


async def test_a_lost_answer_is_asked_for_with_the_same_number(tmp_path):
    auth = FakeAuth()
    auth.allow_script = ["lose", grpc.StatusCode.UNAVAILABLE, "ok"]
    async with edge_with(auth, tmp_path) as edge:
        assert isinstance(await edge.admit(), Admitted)
        assert [a.seq for a in auth.allows] == [1, 1, 1]
        assert len({a.SerializeToString(deterministic=True) for a in auth.allows}) == 1
        assert auth.leases == 1


async def test_a_restart_of_auth_is_absorbed(tmp_path):
    auth = FakeAuth()
    async with edge_with(None, tmp_path, policy=AdmissionPolicy()) as edge:
        asking = asyncio.ensure_future(edge.admit(seconds=5))
        await asyncio.sleep(0.5)
        async with serving(auth, tmp_path / "auth.sock"):
            assert isinstance(await asking, Admitted)
            edge.channel  # noqa: B018 -- asking for it is the test


@pytest.mark.parametrize("reason", ["REQUESTS", "TOKENS", "CREDIT", "CONCURRENCY", "TOO_LARGE"])
async def test_denials_are_answered_from_until_they_end(tmp_path, reason):
    auth = FakeAuth()
    auth.allow_script = [
        denial(f"DENIAL_REASON_{reason}", limit="rpm", unit="", amount=100, reset_ms=700, valid_ms=200)
    ]
    async with edge_with(auth, tmp_path) as edge:
        refused = await edge.admit()
        assert isinstance(refused, Refused)
        assert (refused.reason, refused.limit, refused.amount) == (reason, "rpm", 100)
        assert refused.key is not None
        again = edge.try_admit()
        assert isinstance(again, Refused)
        assert again.reason == reason
        assert 0 < again.reset_ms <= 700
        assert len(auth.allows) == 1
        await asyncio.sleep(0.25)
        assert isinstance(await edge.admit(), Admitted)


async def test_a_denial_for_size_lets_smaller_requests_ask(tmp_path):
    auth = FakeAuth()
    auth.allow_script = [denial("DENIAL_REASON_TOKENS", unit="TotalTokens", valid_ms=1000)]
    async with edge_with(auth, tmp_path) as edge:
        assert isinstance(await edge.admit(Need(1000, 1000, 5)), Refused)
        assert isinstance(edge.try_admit(Need(1500, 500, 1)), Refused)
        assert edge.try_admit(Need(100, 10, 1)) is None
        assert isinstance(await edge.admit(Need(100, 10, 1)), Admitted)


async def test_all_who_wait_hear_a_denial_at_once(tmp_path):
    auth = FakeAuth()
    auth.allow_delay = 0.05
    auth.allow_script = [denial("DENIAL_REASON_REQUESTS")]
    async with edge_with(auth, tmp_path) as edge:
        answers = await asyncio.gather(*(edge.admit() for _ in range(50)))
        assert {a.reason for a in answers} == {"REQUESTS"}
        assert len(auth.allows) == 1


async def test_unknown_keys_are_remembered_apart(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path, policy=AdmissionPolicy(max_unknown_keys=10)) as edge:
        for i in range(30):
            auth.allow_script = [denial("DENIAL_REASON_UNKNOWN_KEY", valid_ms=5000)]
            answer = await edge.admit(digest=hashlib.sha256(str(i).encode()).digest())
            assert answer.reason == "UNKNOWN_KEY"
        await until(lambda: edge.admission.keys == 0)
        assert len(edge.admission._books._unknown) == 10
        known = hashlib.sha256(b"29").digest()
        assert edge.try_admit(digest=known).reason == "UNKNOWN_KEY"
        assert (await edge.admission.identify(known, time.monotonic() + 1)).reason == "UNKNOWN_KEY"
        auth.change(key_sha256=known)
        await edge.heard(auth)
        assert edge.try_admit(digest=known) is None


async def test_a_changed_key_is_asked_for_anew(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        for what in ({"key_sha256": DIGEST}, {"project": "acme"}, {"plan": "pro"}, {"everything": True}):
            admitted = await edge.admit()
            assert isinstance(admitted, Admitted)
            edge.done(admitted)
            assert not edge.asks()
            auth.change(**what)
            await edge.heard(auth)
            assert edge.asks()
        before = len(auth.allows)
        auth.change(project="another")
        auth.change(plan="another")
        admitted = await edge.admit()
        await asyncio.sleep(0.1)
        assert isinstance(edge.try_admit(), Admitted)
        assert len(auth.allows) == before + 1


async def test_a_revoked_key_loses_what_it_was_lent(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        admitted = await edge.admit()
        assert not edge.asks()
        auth.change(key_sha256=DIGEST)
        await edge.heard(auth)
        assert edge.asks()
        auth.allow_script = [denial("DENIAL_REASON_DISABLED", valid_ms=5000)]
        assert (await edge.admit()).reason == "DISABLED"
        assert edge.try_admit().reason == "DISABLED"
        assert (await edge.admission.identify(DIGEST, time.monotonic() + 1)).reason == "DISABLED"
        edge.done(admitted)


async def test_without_the_stream_old_allowances_are_not_used(tmp_path):
    auth = FakeAuth()
    now = [1000.0]
    async with serving(auth, tmp_path / "auth.sock"):
        edge = Edge(tmp_path / "auth.sock", clock=lambda: now[0])
        async with running(edge.session.run(edge.admission)):
            await until(lambda: edge.session.answered)
            edge.changes.heard_at = now[0]
            assert isinstance(await edge.admission.admit(DIGEST, Need(1, 1, 1), now[0] + 2), Admitted)
            now[0] += 1.9
            edge.session.reached(now[0])
            second = edge.admission.try_admit(DIGEST, Need(1, 1, 1), now[0])
            assert isinstance(second, Admitted)
            edge.done(second, recorded=False)
            now[0] += 0.2
            edge.session.reached(now[0])
            assert edge.admission.try_admit(DIGEST, Need(1, 1, 1), now[0]) is None
            edge.changes.heard_at = now[0]
            assert isinstance(edge.admission.try_admit(DIGEST, Need(1, 1, 1), now[0]), Admitted)
        await edge.channel.close()


async def test_an_edge_that_cannot_reach_auth_opens_nothing_new(tmp_path):
    auth = FakeAuth()
    now = [1000.0]
    async with serving(auth, tmp_path / "auth.sock"):
        edge = Edge(tmp_path / "auth.sock", clock=lambda: now[0])
        async with running(edge.session.run(edge.admission)):
            await until(lambda: edge.session.answered)
            edge.changes.heard_at = now[0]
            assert isinstance(await edge.admission.admit(DIGEST, Need(1, 1, 1), now[0] + 2), Admitted)
        now[0] += 20.5
        edge.changes.heard_at = now[0]
        assert edge.admission.try_admit(DIGEST, Need(1, 1, 1), now[0]) is None
        await edge.channel.close()


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


async def test_a_busy_key_asks_ahead(tmp_path):
    auth = FakeAuth()
    auth.life_ms = 10_000
    async with edge_with(auth, tmp_path) as edge:
        waited = 0
        for _ in range(600):
            admitted = edge.try_admit()
            if admitted is None:
                waited += 1
                admitted = await edge.admit()
            assert isinstance(admitted, Admitted)
            edge.done(admitted)
            await asyncio.sleep(0.002)
        assert waited <= 10
        assert len(auth.allows) <= 60


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


async def test_answers_of_an_undeclared_epoch_are_thrown_away(tmp_path):
    auth = FakeAuth()
    auth.heartbeat = 60
    async with serving(auth, tmp_path / "auth.sock"):
        edge = Edge(tmp_path / "auth.sock")
        async with running(edge.session.run(edge.admission)):
            await until(lambda: edge.session.answered)
            edge.changes.heard_at = time.monotonic() + 100
            auth.epoch = "e2"
            admitted = await edge.admit()
            assert isinstance(admitted, Admitted)
            assert [d.epoch for d in auth.declares if d.complete] == ["e1", "e2"]
            assert [a.epoch for a in auth.allows] == ["e1", "e2"]
            # The lease of the answer that was thrown away goes back unspent.
            assert [(x.lease_id, x.spent) for x in auth.allows[1].returned] == [("L1", 0)]
        await edge.channel.close()


async def test_recovery_is_waited_for(tmp_path):
    auth = FakeAuth()
    auth.allow_script = [denial("DENIAL_REASON_RECOVERING", valid_ms=100)] * 2
    async with edge_with(auth, tmp_path) as edge:
        start = time.monotonic()
        assert isinstance(await edge.admit(), Admitted)
        assert time.monotonic() - start > 0.15
        auth.allow_script = [denial("DENIAL_REASON_RECOVERING", valid_ms=200)] * 20
        auth.change(everything=True)
        await until(edge.asks)
        refused = await edge.admit(seconds=0.3)
        assert refused.reason == "RECOVERING"
        assert refused.reset_ms > 0


async def test_outage_closed_and_back(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        assert isinstance(await edge.admit(), Admitted)
        auth.change(everything=True)
        await until(edge.asks)
        auth.allow_script = [grpc.StatusCode.UNAVAILABLE] * 1000
        auth.declare_down = True
        refused = await edge.admit(seconds=0.5)
        assert refused.reason == "AUTH_UNAVAILABLE"
        assert refused.reset_ms == 1000
        await asyncio.sleep(0.3)
        at_once = edge.try_admit()
        assert at_once.reason == "AUTH_UNAVAILABLE"
        auth.allow_script = []
        auth.declare_down = False
        await until(lambda: edge.admission.outage.since is None)
        assert isinstance(await edge.admit(), Admitted)


async def test_a_store_that_is_down_is_asked_again_with_the_same_number(tmp_path):
    auth = FakeAuth()
    auth.key = facts(on_store_outage="Degraded")
    async with edge_with(auth, tmp_path) as edge:
        down = auth_pb2.AllowResponse(key=auth.key, denial=denial("DENIAL_REASON_STORE_DOWN"))
        auth.answers["s1", DIGEST, 1] = down
        auth.declare_down = True
        refused = await edge.admit(seconds=0.3)
        assert refused.reason == "STORE_DOWN"
        assert {a.seq for a in auth.allows} == {1}
        key = await edge.admission.identify(DIGEST, time.monotonic() + 0.2)
        assert isinstance(key, KeyFacts)
        del auth.answers["s1", DIGEST, 1]
        auth.declare_down = False
        await until(lambda: edge.admission.outage.since is None)
        assert isinstance(await edge.admit(), Admitted)


async def test_outage_degraded_spends_the_known_remainder_over_the_edges(tmp_path):
    auth = FakeAuth()
    auth.key = facts(on_store_outage="Degraded")
    auth.edge_count = 2
    auth.limits = [
        auth_pb2.LimitState(
            name="rpm", unit="Requests", amount=100, remaining=20, window_ms=60_000, reset_ms=60_000, scope="Key"
        )
    ]
    async with edge_with(auth, tmp_path) as edge:
        first = await edge.admit()
        assert {s.name for s in first.limits()} == {"rpm"}
        assert 20 <= first.limits()[0].remaining <= 100
        auth.change(everything=True)
        await until(edge.asks)
        auth.allow_script = [grpc.StatusCode.UNAVAILABLE] * 10_000
        auth.declare_down = True
        answers = [await edge.admit(seconds=0.4) for _ in range(14)]
        admitted = [a for a in answers if isinstance(a, Admitted)]
        assert len(admitted) == 10
        assert all(a.degraded for a in admitted)
        assert {a.reason for a in answers if isinstance(a, Refused)} == {"AUTH_UNAVAILABLE"}
        for a in admitted:
            edge.done(a)


async def test_outage_degraded_never_lends_credit(tmp_path):
    auth = FakeAuth()
    auth.key = facts(on_store_outage="Degraded", credit_required=True)
    async with edge_with(auth, tmp_path) as edge:
        first = await edge.admit(Need(10, 10, 100))
        lent = edge.admission._books.get(DIGEST).allowance.spare.micro_usd
        assert lent > 0
        auth.allow_script = [grpc.StatusCode.UNAVAILABLE] * 10_000
        auth.declare_down = True
        edge.admission._books.get(DIGEST).allowance.spare_until = 0
        within = await edge.admit(Need(10, 10, 100), seconds=0.4)
        assert isinstance(within, Admitted)
        assert within.degraded
        beyond = await edge.admit(Need(10, 10, lent), seconds=0.4)
        assert beyond.reason == "AUTH_UNAVAILABLE"
        edge.done(first)


async def test_expired_keys_are_refused_here(tmp_path):
    auth = FakeAuth()
    auth.key = facts(expires_at_ms=1_700_000_000_000)
    async with edge_with(auth, tmp_path) as edge:
        refused = await edge.admit()
        assert refused.reason == "EXPIRED"
        assert not any(edge.admission.held().values())


@pytest.mark.parametrize(("reason", "said"), [("DISABLED", "DISABLED"), ("EXPIRED", "EXPIRED"), (None, "EXPIRED")])
async def test_of_a_key_whose_time_is_over_auth_says_what_it_is_now(tmp_path, reason, said):
    """What a key was before a rotation is as good as disabled then; an auth whose clock is behind changes nothing."""
    auth = FakeAuth()
    auth.key = facts(expires_at_ms=1_700_000_060_000)
    async with edge_with(auth, tmp_path) as edge:
        begun, passed = time.monotonic(), [0]
        edge.admission.time.at = lambda now: 1_700_000_000_000 + int((now - begun) * 1000) + passed[0]
        edge.done(await edge.admit())
        assert isinstance(await edge.admission.identify(DIGEST, time.monotonic() + 1), KeyFacts)
        asked = len(auth.allows)
        if reason is not None:
            auth.allow_script = [denial(getattr(auth_pb2, f"DENIAL_REASON_{reason}"), valid_ms=5000)]
        passed[0] = 60_000 - int((time.monotonic() - begun) * 1000)
        await asyncio.sleep(0.3)
        for _ in range(5):
            assert (await edge.admit()).reason == said
        if reason is not None:
            assert (await edge.admission.identify(DIGEST, time.monotonic() + 1)).reason == said
            assert len(auth.allows) - asked == 1
        assert len(auth.allows) - asked <= 3
        assert edge.admission.held()["slots"] == 0


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


async def test_waiters_are_bounded(tmp_path):
    async with edge_with(None, tmp_path, policy=AdmissionPolicy(max_waiters_per_key=5)) as edge:
        answers = await asyncio.gather(*(edge.admit(seconds=0.2) for _ in range(8)))
        assert {a.reason for a in answers} == {"AUTH_UNAVAILABLE"}
        assert len(edge.admission._books.get(DIGEST).waiters["requests"]) <= 5


async def test_keys_are_bounded_and_leave_nothing_behind(tmp_path):
    auth = FakeAuth()
    auth.life_ms = 50
    async with edge_with(auth, tmp_path, policy=AdmissionPolicy(max_keys=20)) as edge:
        for i in range(100):
            admitted = await edge.admit(digest=hashlib.sha256(str(i).encode()).digest())
            edge.done(admitted)
            await asyncio.sleep(0.01)
        assert edge.admission.keys <= 40
        assert sum(len(v) for v in edge.admission._books._projects.values()) == edge.admission.keys
        await until(lambda: not edge.admission._tasks)


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


async def test_admitting_is_cheap(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        await edge.admit()
        edge.admission._books.get(DIGEST).allowance.requests.leases[0].units = 10**6
        edge.admission._books.get(DIGEST).allowance.requests.units = 10**6
        edge.admission._books.get(DIGEST).allowance.lent = type(edge.admission._books.get(DIGEST).allowance.lent)(
            *[10**9] * 4
        )
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


async def test_a_question_that_auth_refuses_is_asked_anew_with_another_number(tmp_path):
    auth = FakeAuth()
    auth.allow_script = [grpc.StatusCode.ABORTED]
    async with edge_with(auth, tmp_path) as edge:
        assert isinstance(await edge.admit(), Admitted)
        assert [a.seq for a in auth.allows] == [1, 2]


async def test_too_many_keys_that_hold_something(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path, policy=AdmissionPolicy(max_keys=3)) as edge:
        answers = [await edge.admit(digest=hashlib.sha256(str(i).encode()).digest()) for i in range(7)]
        assert [isinstance(a, Admitted) for a in answers] == [True] * 6 + [False]
        assert answers[-1].reason == "AUTH_UNAVAILABLE"
        assert (await edge.admission.identify(b"new", time.monotonic() + 1)).reason == "AUTH_UNAVAILABLE"


async def test_a_drain_without_auth_ends_in_time(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        edge.done(await edge.admit())
        auth.allow_delay = 60
        start = time.monotonic()
        await edge.admission.give_all_back(0.2)
        assert time.monotonic() - start < 20.0


async def test_an_error_of_our_own_ends_no_service(tmp_path, monkeypatch):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        real, broken = edge.admission._take_in, [True]

        def take_in(*args):
            if broken:
                broken.pop()
                raise RuntimeError("a fault")
            return real(*args)

        monkeypatch.setattr(edge.admission, "_take_in", take_in)
        refused = await edge.admit(seconds=0.2)
        assert refused.reason == "AUTH_UNAVAILABLE"
        assert isinstance(await edge.admit(), Admitted)


async def test_outage_without_anything_known(tmp_path):
    async with edge_with(None, tmp_path) as edge:
        refused = await edge.admission.identify(DIGEST, time.monotonic() + 0.1)
        assert refused.reason == "AUTH_UNAVAILABLE"


async def test_counting_during_an_outage(tmp_path):
    auth = FakeAuth()
    auth.key = facts(on_store_outage="Degraded", credit_required=True)
    async with edge_with(auth, tmp_path) as edge:
        edge.done(await edge.admit())
        auth.change(everything=True)
        await until(edge.asks)
        auth.allow_script = [grpc.StatusCode.UNAVAILABLE] * 10_000
        auth.declare_down = True
        counted = await edge.admit(Need(kind="count_tokens"), seconds=0.4)
        assert isinstance(counted, Admitted)
        assert counted.degraded
        # A slot of a degraded request is given back like any other.
        auth.key = facts(on_store_outage="Degraded")
        edge.admission._books.get(DIGEST).allowance.facts = dataclasses.replace(counted.key, credit_required=False)
        degraded = await edge.admit(seconds=0.4)
        assert degraded.degraded
        edge.done(degraded)
        assert edge.admission._books.get(DIGEST).allowance.remainder._open == 0
        await asyncio.sleep(0.4)
        before = len(auth.allows)
        for _ in range(50):
            answer = edge.try_admit()
            assert answer.degraded
            edge.done(answer)
            await asyncio.sleep(0.005)
        assert 1 <= len(auth.allows) - before <= 12, "few questions go out during an outage"
