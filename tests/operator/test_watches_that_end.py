"""kopf goes on without a watch that the API has refused once; the operator does not."""

import asyncio
import contextlib
import threading

import pytest

from penstock_catalog.cluster_access import ClusterAccess
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


async def test_a_watch_that_ends_is_noticed():
    async with watches(len(WATCHED)) as tasks, asyncio.timeout(10):
        looking = asyncio.create_task(handlers._until_deaf(threading.Event()))
        await asyncio.sleep(0.5)
        assert not looking.done(), "all are there"
        tasks[0].cancel()
        await looking


async def test_so_is_one_that_never_began():
    async with watches(len(WATCHED) - 1), asyncio.timeout(10):
        await handlers._until_deaf(threading.Event())


async def test_nobody_looks_any_more_when_all_is_to_end():
    stop = threading.Event()
    async with watches(len(WATCHED)), asyncio.timeout(10):
        looking = asyncio.create_task(handlers._until_deaf(stop))
        stop.set()
        await looking


async def test_kopf_that_does_not_end_holds_up_nobody(monkeypatch):
    """It loses a watch and then waits for ever: the next life begins, and the old one is cancelled."""
    lives: list[asyncio.Task[None]] = []

    async def deaf(**_):
        lives.append(asyncio.current_task())
        await asyncio.Event().wait()

    monkeypatch.setattr(handlers.kopf, "operator", deaf)
    monkeypatch.setattr(handlers, "_STOP_SECONDS", 0.1)
    access = ClusterAccess("https://nowhere.invalid", "ns", token=lambda: "", tls=lambda: None)
    watching = handlers.Watching(access, "ns", tell=lambda *_: None, begun=lambda: None)
    running = asyncio.create_task(watching.run())
    async with asyncio.timeout(20):
        while len(lives) < 3:
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert lives[0].cancelled()
