"""Nothing is spent that may have been revoked."""

from __future__ import annotations

import asyncio
import time

from penstock_edge.records import Admitted, Need
from tests.unit.edge.admitting import DIGEST, Edge, denial, edge_with
from tests.unit.edge.fake_auth import FakeAuth, running, serving, until


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


async def test_a_change_while_a_key_is_asked_about_for_the_first_time_is_about_it_too(tmp_path):
    for what in ({"project": "acme"}, {"plan": "pro"}):
        auth = FakeAuth()
        auth.allow_delay = 0.2
        folder = tmp_path / next(iter(what))
        folder.mkdir()
        async with edge_with(auth, folder) as edge:
            asking = asyncio.create_task(edge.admit())
            await until(lambda auth=auth: auth.allows)
            auth.change(**what)
            await edge.heard(auth)
            assert isinstance(await asking, Admitted)
            assert len(auth.allows) == 2, "what was answered before the change is not used"


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
