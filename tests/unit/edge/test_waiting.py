"""The short wait for an account that is about to have room."""

from __future__ import annotations

import asyncio

from penstock_edge.waiting import WaitingLine
from penstock_routing import NoneLeft

SOON = NoneLeft(throttled=True, soonest_seconds=0.01, reasons={"a": "slots"})
LATE = NoneLeft(throttled=True, soonest_seconds=60, reasons={"a": "Throttled"})


async def test_it_tries_until_there_is_room():
    answers = [SOON, SOON, "pick"]
    assert await WaitingLine(10, 1.0).wait("m", SOON, lambda: answers.pop(0)) == "pick"


async def test_a_distant_return_is_not_waited_for():
    line = WaitingLine(10, 1.0)
    assert await line.wait("m", LATE, lambda: "pick") is LATE
    answers = [SOON, LATE]
    assert await line.wait("m", SOON, lambda: answers.pop(0)) is LATE


async def test_the_wait_ends():
    loop = asyncio.get_running_loop()
    began = loop.time()
    line = WaitingLine(10, 0.1)
    assert await line.wait("m", SOON, lambda: SOON) is SOON
    assert loop.time() - began < 0.5
    assert (line.waiting, line.busy("m")) == (0, False)


async def test_places_are_bounded():
    line = WaitingLine(2, 0.2)
    tasks = [asyncio.create_task(line.wait("m", SOON, lambda: SOON)) for _ in range(2)]
    await asyncio.sleep(0.02)
    assert (line.waiting, line.busy("m"), line.busy("n")) == (2, True, False)
    assert await line.wait("m", SOON, lambda: "pick") is SOON
    await asyncio.gather(*tasks)


async def test_first_come_first_served():
    line = WaitingLine(10, 2.0)
    room = 0
    served = []

    def pick(name):
        nonlocal room
        if room <= 0:
            return SOON
        room -= 1
        served.append(name)
        return name

    tasks = []
    for name in "abcde":
        tasks.append(asyncio.create_task(line.wait("m", SOON, lambda name=name: pick(name))))
        await asyncio.sleep(0.005)
    for _ in range(5):
        room += 1
        await asyncio.sleep(0.03)
    await asyncio.gather(*tasks)
    assert served == list("abcde")


async def test_somebody_who_leaves_makes_room_for_the_next():
    line = WaitingLine(10, 2.0)
    room = False
    first = asyncio.create_task(line.wait("m", SOON, lambda: SOON))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(line.wait("m", SOON, lambda: "pick" if room else SOON))
    await asyncio.sleep(0.01)
    first.cancel()
    room = True
    assert await second == "pick"
    await asyncio.gather(first, return_exceptions=True)
    assert (line.waiting, line.busy("m")) == (0, False)
