"""Answers of auth, and those who wait for them."""

from __future__ import annotations

import asyncio
import hashlib
import time

from penstock_edge.records import Admitted, Need
from tests.unit.edge.admitting import Edge, denial, edge_with
from tests.unit.edge.fake_auth import FakeAuth, running, serving, until


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


async def test_all_who_wait_hear_a_denial_at_once(tmp_path):
    auth = FakeAuth()
    auth.allow_delay = 0.05
    auth.allow_script = [denial("DENIAL_REASON_REQUESTS")]
    async with edge_with(auth, tmp_path) as edge:
        answers = await asyncio.gather(*(edge.admit() for _ in range(50)))
        assert {a.reason for a in answers} == {"REQUESTS"}
        assert len(auth.allows) == 1


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


async def test_what_auth_says_without_its_store_ends_no_outage_of_the_store(tmp_path):
    auth = FakeAuth()
    async with edge_with(auth, tmp_path) as edge:
        auth.declare_down = True
        auth.answer_always = denial("DENIAL_REASON_STORE_DOWN")
        assert (await edge.admit(seconds=0.1)).reason == "STORE_DOWN"
        since = edge.admission.outage.since
        auth.epoch, auth.answer_always = "", None
        auth.allow_script = [denial("DENIAL_REASON_UNKNOWN_KEY")]
        assert (await edge.admit(digest=hashlib.sha256(b"a stranger").digest())).reason == "UNKNOWN_KEY"
        assert edge.admission.outage.since == since is not None
        auth.epoch = "e1"
        assert isinstance(await edge.admit(), Admitted)
        assert edge.admission.outage.since is None
