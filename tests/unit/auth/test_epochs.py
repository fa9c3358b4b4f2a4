from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from penstock_auth.counters import EpochState, StoreDown
from penstock_auth.epochs import EpochWatch
from penstock_auth.errors import DatabaseDown


class Store:
    def __init__(self) -> None:
        self.answer: EpochState | Exception = state()

    async def epoch(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Book:
    def __init__(self) -> None:
        self.given_up: list[str] = []
        self.swept: list[int] = []
        self.down = False

    async def lost(self, sessions):
        if self.down:
            raise DatabaseDown("gone")
        self.given_up += sessions

    async def sweep(self, silent_since_ms):
        self.swept.append(silent_since_ms)


def state(epoch="e1", waiting=(), lost=(), live=(), dropped=()):
    return EpochState(epoch, 0, 0, frozenset(waiting), frozenset(lost), frozenset(live), frozenset(dropped))


def watch():
    store, book, clock, heard = Store(), Book(), [0], []
    made = EpochWatch(store, book, now_ms=lambda: clock[0], on_new_epoch=lambda: heard.append(1))
    return made, store, book, clock, heard


async def test_a_new_epoch_is_told_once():
    made, store, _, _, heard = watch()
    assert (made.id, made.answering) == ("", False)
    for epoch in ("e1", "e1", "e2"):
        store.answer = state(epoch, live=["a"])
        await made.look()
    assert (made.id, made.live, made.answering, len(heard)) == ("e2", {"a"}, True, 2)


async def test_a_silent_store_keeps_what_was_known():
    made, store, *_ = watch()
    await made.look()
    with capture_logs() as lines:
        for problem in (StoreDown("x"), TimeoutError()):
            store.answer = problem
            await made.look()
    assert (made.id, made.answering) == ("e1", False)
    assert [line["event"] for line in lines] == ["store_silent"]


async def test_lost_sessions_are_written_down_and_dropped_ones_said_once():
    made, store, book, *_ = watch()
    store.answer = state(lost=["a"], dropped=["b"])
    with capture_logs() as lines:
        await made.look()
        await made.look()
    assert book.given_up == ["a"]
    assert [line["event"] for line in lines].count("edge_sessions_lost") == 1
    assert [line["session"] for line in lines if line["event"] == "edge_session_dropped"] == ["b"]
    book.down = True
    store.answer = state(lost=["c"])
    with capture_logs() as lines:
        await made.look()
    assert lines[-1]["event"] == "sessions_unwritten"


async def test_only_silence_that_auth_was_there_to_hear_counts():
    made, _, book, clock, _ = watch()
    clock[0] = 900_000
    await made.look()
    assert book.swept == []
    clock[0] = 900_001
    await made.look()
    await made.look()
    assert book.swept == [1]


async def test_it_polls():
    made, *_ = watch()
    task = asyncio.create_task(made.run())
    async with asyncio.timeout(30):
        while not made.answering:
            await asyncio.sleep(0)
    task.cancel()
