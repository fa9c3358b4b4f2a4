"""kopf goes on without a watch that the API has refused once; the operator does not."""

import asyncio
import contextlib
import threading

import pytest

from penstock_operator import handlers
from penstock_operator.kinds import WATCHED


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    monkeypatch.setattr(handlers, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(handlers, "_ALL_WATCHED_SECONDS", 0.3)


@contextlib.asynccontextmanager
async def watches(count: int):
    tasks = [asyncio.create_task(asyncio.sleep(3600), name=f"watcher for kind-{number}") for number in range(count)]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_watch_that_ends_ends_all():
    stop = threading.Event()
    async with watches(len(WATCHED)) as tasks, asyncio.timeout(10):
        looking = asyncio.create_task(handlers._stop_when_deaf(stop))
        await asyncio.sleep(0.5)
        assert not stop.is_set(), "all are there"
        tasks[0].cancel()
        await looking
        assert stop.is_set()


async def test_a_watch_that_never_began_ends_all_in_time():
    stop = threading.Event()
    async with watches(len(WATCHED) - 1), asyncio.timeout(10):
        await handlers._stop_when_deaf(stop)
        assert stop.is_set()
