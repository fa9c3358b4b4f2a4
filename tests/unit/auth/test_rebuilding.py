"""A project is rebuilt once for all who wait; the end gives up what is under way."""

from __future__ import annotations

import asyncio

import pytest

from penstock_auth.rebuilding import Rebuilding


async def test_once_for_all_who_wait_and_again_afterwards():
    done = []

    async def rebuild(project):
        await asyncio.sleep(0)
        done.append(project)

    rebuilding = Rebuilding(rebuild)
    await asyncio.gather(*(rebuilding.wait(project) for project in "aab"))
    assert sorted(done) == ["a", "b"]
    await rebuilding.wait("a")
    assert done.count("a") == 2


async def test_the_end_gives_up_what_is_under_way():
    rebuilding = Rebuilding(lambda project: asyncio.Event().wait())
    waiting = asyncio.create_task(rebuilding.wait("a"))
    await asyncio.sleep(0)
    await rebuilding.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
