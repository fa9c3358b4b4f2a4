"""What waits for a transaction goes into the next one together, and everybody hears of their own."""

from __future__ import annotations

import asyncio

import pytest

from penstock_auth import gathering
from penstock_auth.errors import DatabaseDown
from penstock_auth.gathering import Gathering


class Writes:
    """Answers each batch with its own rows, when it is let."""

    def __init__(self):
        self.written = []
        self.free = asyncio.Event()
        self.free.set()
        self.fails = None

    async def __call__(self, batches):
        self.written.append([list(batch) for batch in batches])
        await self.free.wait()
        if self.fails is not None:
            raise self.fails
        return [ValueError(batch[0]) if batch[0] == "bad" else tuple(batch) for batch in batches]


@pytest.fixture
async def writes():
    return Writes()


async def held_up(gathered, writes, *batches):
    """Send a first batch, and the others while it is being written."""
    writes.free.clear()
    tasks = []
    for batch in (["first"], *batches):
        tasks.append(asyncio.create_task(gathered.add(batch)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return tasks


async def test_nobody_waits_for_company(writes):
    assert await Gathering(writes, 1).add(["a", "b"]) == ("a", "b")
    assert writes.written == [[["a", "b"]]]


async def test_one_after_the_other(writes):
    gathered = Gathering(writes, 1)
    assert [await gathered.add([each]) for each in "abc"] == [("a",), ("b",), ("c",)]


async def test_what_comes_meanwhile_is_written_together_and_answered_apart(writes):
    gathered = Gathering(writes, 1)
    tasks = await held_up(gathered, writes, ["a"], ["b", "c"], ["bad"])
    writes.free.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[:3] == [("first",), ("a",), ("b", "c")]
    assert isinstance(results[3], ValueError)
    assert writes.written == [[["first"]], [["a"], ["b", "c"], ["bad"]]]


async def test_as_many_writes_are_under_way_as_may_be(writes):
    tasks = await held_up(Gathering(writes, 2), writes, ["a"], ["b"], ["c"])
    assert writes.written == [[["first"]], [["a"]]]
    writes.free.set()
    await asyncio.gather(*tasks)
    assert writes.written[2:] == [[["b"], ["c"]]]


async def test_a_transaction_is_bounded_and_a_large_batch_has_its_own(writes):
    large = [str(number) for number in range(gathering.MOST_ROWS + 1)]
    tasks = await held_up(Gathering(writes, 1), writes, ["a"], large, ["b"])
    writes.free.set()
    await asyncio.gather(*tasks)
    assert writes.written == [[["first"]], [["a"]], [large], [["b"]]]


async def test_everybody_in_a_write_that_failed_hears_of_it_and_the_next_is_tried(writes):
    gathered = Gathering(writes, 1)
    tasks = await held_up(gathered, writes, ["a"], ["b"])
    writes.fails = DatabaseDown("down")
    writes.free.set()
    assert all(isinstance(each, DatabaseDown) for each in await asyncio.gather(*tasks, return_exceptions=True))
    writes.fails = None
    assert await gathered.add(["c"]) == ("c",)


async def test_who_has_gone_is_not_written_for_and_holds_nobody_up(writes):
    tasks = await held_up(Gathering(writes, 1), writes, ["gone"], ["b"])
    tasks[0].cancel()
    tasks[1].cancel()
    await asyncio.sleep(0)
    writes.free.set()
    assert await tasks[2] == ("b",)
    assert writes.written == [[["first"]], [["b"]]]


async def test_too_many_are_turned_away(writes, monkeypatch):
    monkeypatch.setattr(gathering, "MOST_WAITING", 2)
    gathered = Gathering(writes, 1)
    tasks = await held_up(gathered, writes, ["a"], ["b"])
    with pytest.raises(DatabaseDown):
        await gathered.add(["c"])
    writes.free.set()
    assert len(await asyncio.gather(*tasks)) == 3
