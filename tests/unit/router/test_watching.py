"""What waits for a slow watcher is bounded: it coalesces, and then it is a snapshot."""

from __future__ import annotations

import asyncio

from penstock_router.watching import Watchers
from penstock_routing.health import Key


def watcher(limit=4):
    made = Watchers(limit).add("s")
    made.anew = False
    return made


def test_the_same_thing_is_told_once():
    one = watcher()
    for _ in range(100):
        assert one.changed(keys=[Key("a", "m")], accounts=["a"])
    assert one.keys == {Key("a", "m")}
    assert one.accounts == {"a"}


def test_too_much_becomes_a_snapshot():
    one = watcher()
    assert not one.changed(keys=[Key("a", str(n)) for n in range(5)])
    assert one.anew
    assert one.keys == set()
    assert one.changed(keys=[Key("a", str(n)) for n in range(1000)])
    assert one.keys == set()


async def test_waits_for_news_or_the_heartbeat():
    one = watcher()
    assert not await one.wait(0.01)
    one.changed(accounts=["a"])
    assert await one.wait(5.0)
    assert not await one.wait(0.01)


async def test_closing_wakes():
    one = watcher()
    waiting = asyncio.create_task(one.wait(5.0))
    await asyncio.sleep(0)
    one.close()
    assert await waiting
    assert one.closed


def test_all_of_them():
    watchers = Watchers(4)
    one, other = watchers.add("s"), watchers.add("t")
    assert len(watchers) == 2
    for each in watchers:
        watchers.remove(each)
    watchers.remove(one)
    assert set(watchers) == set()
    assert other.session == "t"
