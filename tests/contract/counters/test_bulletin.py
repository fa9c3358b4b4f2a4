"""The bulletin beside both stores of counters: the newest changes, by number, as often as they are posted."""

from __future__ import annotations

import pytest

from penstock_auth.bulletin import KEY, LIFE_MS, MOST, Posted
from penstock_auth.changes import Change, ChangeKind
from penstock_auth.counters import StoreDown
from penstock_auth.counters_redis import RedisCounters
from tests.contract.counters.conftest import Truth, flush
from tests.ports import free_port
from tests.servers import RedisServer


def posted(number: int) -> Posted:
    kind = (ChangeKind.KEY, ChangeKind.PROJECT, ChangeKind.PLAN)[number % 3]
    return Posted(number, Change(kind, f"{number:064x}"))


async def test_changes_are_there_once_by_number(desk):
    board = desk.store.bulletin
    assert await board.read() == []
    await board.post([], 0)
    await board.post([posted(10), posted(11)], 0)
    await board.post([posted(9), posted(10)], 0)
    assert await board.read() == [posted(9), posted(10), posted(11)]
    everything = Posted(12, Change(ChangeKind.EVERYTHING))
    await board.post([everything], 10)
    assert await board.read() == [posted(10), posted(11), everything]


async def test_only_the_newest_stay(desk):
    board = desk.store.bulletin
    await board.post([posted(number) for number in range(MOST + 20)], 0)
    await board.post([posted(3)], 0)
    assert await board.read() == [posted(number) for number in range(20, MOST + 20)]


async def test_a_board_on_which_nobody_posts_ends(redis_url):
    flush(redis_url)
    store = RedisCounters(redis_url, Truth(), deadline_seconds=10.0)
    await store.bulletin.post([posted(1)], 0)
    server = RedisServer(int(redis_url.rpartition(":")[2].removesuffix("/0")), None)
    assert LIFE_MS - 60_000 < int(server.command("PTTL", KEY).strip(b":\r\n")) <= LIFE_MS
    await store.close()


async def test_a_store_that_is_not_there_is_down():
    store = RedisCounters(f"redis://127.0.0.1:{free_port()}", Truth())
    for call in (store.bulletin.read(), store.bulletin.post([posted(1)], 0)):
        with pytest.raises(StoreDown):
            await call
    await store.close()
