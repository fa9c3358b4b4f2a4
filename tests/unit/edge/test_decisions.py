"""What is decided here: by denials that still hold, by a key's time, and in an outage by its plan."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time

import grpc
import pytest

from penstock.auth.v1 import auth_pb2
from penstock_edge.key_facts import KeyFacts
from penstock_edge.records import Admitted, Need, Refused
from tests.unit.edge.admitting import DIGEST, QUICK, denial, edge_with
from tests.unit.edge.fake_auth import FakeAuth, facts, until


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


async def test_a_session_that_cannot_declare_itself_is_an_outage_though_no_question_fails(tmp_path):
    """A new auth has answered, so the old outage is over; then it does not take our declaration, and nothing is asked."""
    auth = FakeAuth()
    auth.key = facts(on_store_outage="Degraded")
    async with edge_with(auth, tmp_path) as edge:
        edge.done(await edge.admit())
        auth.change(everything=True)
        await until(edge.asks)
        auth.declare_down = True
        auth.epoch = "e2"
        admitted = await edge.admit(seconds=0.4)
        assert edge.admission.outage.since is None
        assert isinstance(admitted, Admitted)
        assert admitted.degraded
        edge.done(admitted)


async def test_keys_of_a_project_share_its_limits_in_an_outage(tmp_path):
    auth = FakeAuth()
    auth.key = facts(on_store_outage="Degraded")
    auth.limits = [
        auth_pb2.LimitState(
            name="all", unit="Requests", amount=100, remaining=6, window_ms=60_000, reset_ms=60_000, scope="Project"
        )
    ]
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(3)]
    async with edge_with(auth, tmp_path) as edge:
        for digest in digests:
            edge.done(await edge.admit(digest=digest))
        auth.change(everything=True)
        await until(lambda: edge.try_admit(digest=digests[0]) is None)
        auth.allow_script = [grpc.StatusCode.UNAVAILABLE] * 10_000
        auth.declare_down = True
        answers = [await edge.admit(seconds=0.4, digest=digest) for _ in range(4) for digest in digests]
        admitted = [a for a in answers if isinstance(a, Admitted)]
        assert len(admitted) == 6
        for a in admitted:
            edge.done(a)
        await asyncio.sleep(0)
    books = edge.admission._books
    for digest in digests:
        books.forget(books.get(digest))
    assert not books._parts


async def test_outage_degraded_never_lends_credit(tmp_path):
    auth = FakeAuth()
    auth.key = facts(on_store_outage="Degraded", credit_required=True)
    async with edge_with(auth, tmp_path) as edge:
        first = await edge.admit(Need(10, 10, 100))
        lent = edge.admission._books.get(DIGEST).allowance.holdings.spare.micro_usd
        assert lent > 0
        auth.allow_script = [grpc.StatusCode.UNAVAILABLE] * 10_000
        auth.declare_down = True
        edge.admission._books.get(DIGEST).allowance.holdings.spare_until = 0
        within = await edge.admit(Need(10, 10, 100), seconds=0.4)
        assert isinstance(within, Admitted)
        assert within.degraded
        beyond = await edge.admit(Need(10, 10, lent), seconds=0.4)
        assert beyond.reason == "AUTH_UNAVAILABLE"
        edge.done(first)


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


async def test_expired_keys_are_refused_here(tmp_path):
    auth = FakeAuth()
    auth.key = facts(expires_at_ms=1_700_000_000_000)
    async with edge_with(auth, tmp_path) as edge:
        refused = await edge.admit()
        assert refused.reason == "EXPIRED"
        assert not any(edge.admission.held().values())


async def test_in_an_outage_the_clock_ends_a_key_for_every_question(tmp_path):
    auth = FakeAuth()
    auth.key = facts(expires_at_ms=1_700_000_060_000)
    async with edge_with(auth, tmp_path) as edge:
        edge.done(await edge.admit())
        auth.allow_script = [grpc.StatusCode.UNAVAILABLE] * 1000
        edge.admission.time.at = lambda _: 1_700_000_060_000
        auth.change(everything=True)
        await until(edge.asks)
        assert (await edge.admission.identify(DIGEST, time.monotonic() + 0.2)).reason == "EXPIRED"


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


async def test_who_was_refused_is_nobody_when_the_refusal_is_old(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        auth.allow_script = [denial("DENIAL_REASON_DISABLED", valid_ms=50)] * 2
        assert (await edge.admit()).reason == "DISABLED"
        await asyncio.sleep(0.1)
        assert (await edge.admission.identify(DIGEST, time.monotonic() + 1)).reason == "DISABLED"
        assert len(auth.allows) == 2
        await asyncio.sleep(0.1)
        auth.allow_script = [grpc.StatusCode.UNAVAILABLE] * 1000
        assert (await edge.admission.identify(DIGEST, time.monotonic() + 0.2)).reason == "DISABLED"
        auth.allow_script = []
        await until(lambda: edge.admission.outage.since is None)
        # A grant of either kind says that the key is good again.
        assert isinstance(await edge.admit(Need(kind="count_tokens")), Admitted)
        assert isinstance(await edge.admission.identify(DIGEST, time.monotonic() + 1), KeyFacts)


@pytest.mark.parametrize("known", [True, False])
async def test_a_recovery_takes_no_limit_away_for_an_outage(tmp_path, known):
    """An auth that does not know this session yet says nothing of limits; then it goes."""
    auth = FakeAuth()
    auth.key = facts(on_store_outage="Degraded")
    auth.limits = [
        auth_pb2.LimitState(
            name="rpm", unit="Requests", amount=100, remaining=4, window_ms=60_000, reset_ms=60_000, scope="Key"
        )
    ]
    async with edge_with(auth, tmp_path) as edge:
        if known:
            edge.done(await edge.admit())
            auth.change(everything=True)
            await until(edge.asks)
        auth.limits = []
        gone = [grpc.StatusCode.UNAVAILABLE] * 10_000
        auth.allow_script = [denial("DENIAL_REASON_RECOVERING", valid_ms=20), *gone]
        auth.declare_down = True
        answers = [await edge.admit(seconds=0.4) for _ in range(12)]
        assert sum(isinstance(a, Admitted) for a in answers) == (4 if known else 0)


@pytest.mark.parametrize("what", [{"key_sha256": DIGEST}, {"project": "acme"}, {"everything": True}])
async def test_while_the_store_is_down_auth_is_asked_what_became_of_a_key(tmp_path, what):
    """No request of another key may be asked about instead, and a revoked key does not go on for as long as it lasts."""
    auth = FakeAuth()
    auth.key = facts(on_store_outage="Degraded")
    policy = dataclasses.replace(QUICK, degraded_after_seconds=0.1)
    async with edge_with(auth, tmp_path, policy=policy) as edge:
        edge.done(await edge.admit())
        down = denial("DENIAL_REASON_STORE_DOWN")
        book = edge.admission._books.get(DIGEST)
        auth.answer_always = down
        auth.declare_down = True
        book.allowance.changed_at = time.monotonic()
        assert (await edge.admit(seconds=0.4)).degraded
        auth.key = facts(on_store_outage="Closed")
        edge.admission._decisions._probe_at = float("inf")
        auth.change(**what)
        await edge.heard(auth)
        await until(lambda: isinstance(edge.try_admit(), Refused))
        assert edge.try_admit().reason == "STORE_DOWN"
