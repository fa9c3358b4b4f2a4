"""Who ends first, and who waits for others."""

from __future__ import annotations

import asyncio

import pytest

from penstock_chassis import ending
from penstock_chassis.ending import Ending


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ending"


async def due(waiting: Ending, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        await waiting.due.wait()


async def a_while() -> None:
    """Longer than a signal may be ahead of the supervisor's word."""
    await asyncio.sleep(ending.HEARSAY_SECONDS + 0.5)


async def test_without_a_file_a_signal_is_the_end():
    waiting = Ending(None, 30.0)
    assert not waiting.due.is_set()
    waiting.told()
    assert waiting.due.is_set()


async def test_others_end_first(file):
    waiting = Ending(file, 60.0)
    file.write_text(ending.FIRST)
    waiting.told()
    await a_while()
    assert not waiting.due.is_set()
    file.write_text(ending.ALL)
    await due(waiting)


async def test_the_supervisor_may_hear_of_it_a_little_later(file, monkeypatch):
    monkeypatch.setattr(ending, "HEARSAY_SECONDS", 30.0)
    waiting = Ending(file, 60.0)
    waiting.told()
    await asyncio.sleep(0.1)
    file.write_text(ending.FIRST)
    monkeypatch.setattr(ending, "HEARSAY_SECONDS", 0.0)
    await asyncio.sleep(0.5)
    assert not waiting.due.is_set()


async def test_a_signal_for_one_process_alone_is_its_end(file):
    waiting = Ending(file, 60.0)
    waiting.told()
    await due(waiting)


async def test_a_second_signal_insists(file):
    waiting = Ending(file, 60.0)
    file.write_text(ending.FIRST)
    waiting.told()
    waiting.told()
    assert waiting.due.is_set()


async def test_nothing_is_put_off_for_ever(file):
    waiting = Ending(file, 0.2)
    file.write_text(ending.FIRST)
    waiting.told()
    await due(waiting)
