from __future__ import annotations

import asyncio

from penstock_auth import changes
from penstock_auth.changes import Change, ChangeHub, ChangeKind, Numbered

DEMO = Change(ChangeKind.PROJECT, "demo")


async def test_every_watcher_hears_everything_in_order():
    hub = ChangeHub()
    hub.publish(DEMO)  # Nobody listens.
    with hub.watch() as one, hub.watch() as two:
        assert await one.next(0) == Numbered(1, Change(ChangeKind.HEARTBEAT))
        for name in ("a", "b"):
            hub.publish(Change(ChangeKind.PLAN, name))
        for watcher in (one, two):
            assert [(await watcher.next()).seq for _ in range(2)] == [2, 3]
            assert await watcher.next(0) == Numbered(3, Change(ChangeKind.HEARTBEAT))


async def test_a_heartbeat_never_runs_ahead_of_what_was_sent():
    hub = ChangeHub()
    with hub.watch() as watcher:
        hub.publish(DEMO)
        hub.publish(DEMO)
        assert (await watcher.next()).seq == 1
        hub.poke()
        assert await watcher.next() == Numbered(2, DEMO)


async def test_who_cannot_keep_up_is_told_everything(monkeypatch):
    monkeypatch.setattr(changes, "_QUEUE_LIMIT", 3)
    hub = ChangeHub()
    with hub.watch() as watcher:
        for _ in range(5):
            hub.publish(DEMO)
        assert await watcher.next() == Numbered(4, Change(ChangeKind.EVERYTHING))
        assert await watcher.next() == Numbered(5, DEMO)
        assert len(watcher._queue) == 0


async def test_a_poke_and_a_change_wake_at_once():
    hub = ChangeHub()
    with hub.watch() as watcher:
        for wake in (hub.poke, lambda: hub.publish(DEMO)):
            waiting = asyncio.create_task(watcher.next(60))
            await asyncio.sleep(0)
            wake()
            async with asyncio.timeout(30):
                await waiting


async def test_streams_end_with_the_process():
    hub = ChangeHub()
    with hub.watch() as watcher:
        waiting = asyncio.create_task(watcher.next(60))
        await asyncio.sleep(0)
        hub.end()
        async with asyncio.timeout(30):
            await waiting
        assert watcher.ended
    with hub.watch() as late:
        assert late.ended
    assert not hub._watchers
