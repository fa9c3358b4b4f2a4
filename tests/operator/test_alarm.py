"""Changes wake the loop at once, news before long, and a crowd of news no more often than it can bear."""

from __future__ import annotations

import asyncio
import time

import pytest

from penstock_operator.alarm import Alarm


async def waited(alarm, until=30.0):
    begun = time.monotonic()
    await alarm.wait(begun + until)
    return time.monotonic() - begun


async def test_a_ring_wakes_at_once():
    alarm = Alarm()
    alarm.turned(5.0)
    alarm.ring()
    assert await waited(alarm) < 0.2
    alarm.quieten()
    asyncio.get_running_loop().call_later(0.05, alarm.ring)
    assert 0.04 < await waited(alarm) < 0.4


async def test_a_nudge_waits_until_the_loop_has_rested():
    alarm = Alarm()
    alarm.nudge()
    assert await waited(alarm) < 0.2
    alarm.quieten()
    alarm.turned(0.1)
    alarm.nudge()
    assert 0.4 < await waited(alarm) < 1.5


async def test_a_ring_does_not_wait_for_a_nudge():
    alarm = Alarm()
    alarm.turned(20.0)
    alarm.nudge()
    asyncio.get_running_loop().call_later(0.05, alarm.ring)
    assert await waited(alarm) < 1.0


@pytest.mark.parametrize("nudged", [True, False])
async def test_it_has_an_end(nudged):
    alarm = Alarm()
    alarm.turned(20.0)
    if nudged:
        alarm.nudge()
    assert 0.05 < await waited(alarm, 0.1) < 1.0
    assert alarm.pending == nudged
