"""Questions to auth: one at a time for each key, repeated word for word until they are answered."""

from __future__ import annotations

import asyncio
import time

import grpc

from penstock.auth.v1 import auth_pb2
from penstock_edge.admission_policy import AdmissionPolicy
from penstock_edge.key_facts import KeyFacts
from penstock_edge.records import Admitted
from tests.unit.edge.admitting import DIGEST, denial, edge_with
from tests.unit.edge.fake_auth import FakeAuth, facts, serving, until


async def test_concurrent_requests_share_one_question(tmp_path):
    auth = FakeAuth()
    auth.allow_delay = 0.05
    async with edge_with(auth, tmp_path) as edge:
        answers = await asyncio.gather(*(edge.admit() for _ in range(200)))
        assert all(isinstance(a, Admitted) for a in answers)
        assert len(auth.allows) <= 4
        spent = [a.seq for a in auth.allows]
        assert spent == sorted(set(spent))


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


async def test_a_question_that_auth_refuses_is_asked_anew_with_another_number(tmp_path):
    auth = FakeAuth()
    auth.allow_script = [grpc.StatusCode.ABORTED]
    async with edge_with(auth, tmp_path) as edge:
        assert isinstance(await edge.admit(), Admitted)
        assert [a.seq for a in auth.allows] == [1, 2]


async def test_an_error_of_our_own_ends_no_service(tmp_path, monkeypatch):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        hearing = edge.admission._asking._hearing
        real, broken = hearing.take_in, [True]

        def take_in(*args):
            if broken:
                broken.pop()
                raise RuntimeError("a fault")
            return real(*args)

        monkeypatch.setattr(hearing, "take_in", take_in)
        refused = await edge.admit(seconds=0.2)
        assert refused.reason == "AUTH_UNAVAILABLE"
        assert isinstance(await edge.admit(), Admitted)
