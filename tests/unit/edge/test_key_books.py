"""Keys that are known, and those that auth does not know: as many as there is room for."""

from __future__ import annotations

import asyncio
import hashlib
import time

from penstock_edge.admission_policy import AdmissionPolicy
from penstock_edge.records import Admitted
from tests.unit.edge.admitting import DIGEST, denial, edge_with
from tests.unit.edge.fake_auth import FakeAuth, until


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
        await until(lambda: not edge.admission._asking.tasks)


async def test_too_many_keys_that_hold_something(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path, policy=AdmissionPolicy(max_keys=3)) as edge:
        answers = [await edge.admit(digest=hashlib.sha256(str(i).encode()).digest()) for i in range(7)]
        assert [isinstance(a, Admitted) for a in answers] == [True] * 6 + [False]
        assert answers[-1].reason == "AUTH_UNAVAILABLE"
        assert (await edge.admission.identify(b"new", time.monotonic() + 1)).reason == "AUTH_UNAVAILABLE"


async def test_questions_about_a_key_that_was_forgotten_go_on_with_higher_numbers(tmp_path):
    """Auth answers no older number, and a number that it knows as it did before."""
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        for _ in range(2):
            edge.done(await edge.admit())
            auth.change(key_sha256=DIGEST)
            await edge.heard(auth)
        auth.allow_script = [denial("DENIAL_REASON_UNKNOWN_KEY", valid_ms=5000)]
        assert (await edge.admit()).reason == "UNKNOWN_KEY"
        await until(lambda: edge.admission._books.get(DIGEST) is None)
        last = max(a.seq for a in auth.allows)
        auth.change(key_sha256=DIGEST)
        await edge.heard(auth)
        assert isinstance(await edge.admit(), Admitted)
        assert auth.allows[-1].seq == last + 1
