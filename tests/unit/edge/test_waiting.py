"""The short wait for an account that is about to have room, on the event loop."""

from __future__ import annotations

import asyncio

import pytest

from penstock_edge.waiting import WaitingLine
from penstock_routing import NoneLeft

SOON = NoneLeft(throttled=True, soonest_seconds=0.01, reasons={"a": "RequestsSpent"})
FULL = NoneLeft(throttled=True, soonest_seconds=1.0, reasons={"a": "SlotsFull"})
LATE = NoneLeft(throttled=True, soonest_seconds=60, reasons={"a": "Throttled"})


class Bench:
    """A line, and room in an account."""

    def __init__(self, places=10, seconds=2.0):
        self.given_back = []
        self.line = WaitingLine(places, seconds, self.given_back.append)
        self.room = 0
        self.served = []
        self.refusal = SOON

    def ask(self, name):
        def ask(now):
            if self.room <= 0:
                return self.refusal
            self.room -= 1
            self.served.append(name)
            return name

        return ask

    def wait(self, name, project="p", *, line="m", first=None):
        return asyncio.create_task(self.line.wait(line, first, self.ask(name), project=project))


async def test_it_asks_again_when_there_may_be_room():
    bench = Bench()
    task = bench.wait("a", first=SOON)
    await asyncio.sleep(0.03)
    bench.room = 1
    assert await asyncio.wait_for(task, 0.5) == "a"


async def test_a_finished_request_wakes_at_once_not_the_timer():
    bench = Bench()
    bench.refusal = FULL
    loop = asyncio.get_running_loop()
    task = bench.wait("a", first=FULL)
    await asyncio.sleep(0)
    bench.room = 1
    began = loop.time()
    bench.line.changed()
    await task
    assert loop.time() - began < 0.05


async def test_a_distant_return_is_not_waited_for():
    bench = Bench(seconds=1.0)
    assert bench.line.hopeless(LATE)
    assert not bench.line.hopeless(SOON)
    task = bench.wait("a", first=SOON)
    bench.refusal = LATE
    assert await asyncio.wait_for(task, 0.5) is LATE


async def test_the_wait_ends():
    loop = asyncio.get_running_loop()
    began = loop.time()
    bench = Bench(seconds=0.1)
    answer = await bench.wait("a", first=SOON)
    assert answer.reasons == SOON.reasons
    assert loop.time() - began < 0.5
    assert (bench.line.waiting, bench.line.busy("m"), bench.line.refusal("m")) == (0, False, None)


async def test_places_are_bounded():
    bench = Bench(4, 0.2)
    tasks = [bench.wait(name, name) for name in "abcd"]
    await asyncio.sleep(0.02)
    assert (bench.line.waiting, bench.line.busy("m"), bench.line.busy("n")) == (4, True, False)
    answer = await asyncio.wait_for(bench.wait("e", "e"), 0.1)
    assert answer.reasons == SOON.reasons
    assert bench.line.waiting == 4
    await asyncio.gather(*tasks)


async def test_first_come_first_served():
    bench = Bench()
    tasks = []
    for name in "abcde":
        tasks.append(bench.wait(name))
        await asyncio.sleep(0)
    for _ in range(5):
        bench.room += 1
        await asyncio.sleep(0.02)
    await asyncio.gather(*tasks)
    assert bench.served == list("abcde")


async def test_a_project_with_few_is_not_behind_one_with_many():
    bench = Bench()
    tasks = [bench.wait(f"many{number}", "many") for number in range(5)]
    tasks.append(bench.wait("few", "few"))
    await asyncio.sleep(0)
    for _ in range(6):
        bench.room += 1
        bench.line.changed()
        await asyncio.sleep(0.001)
    await asyncio.gather(*tasks)
    assert "few" in bench.served[:3]


async def test_somebody_who_leaves_makes_room_for_the_next():
    bench = Bench()
    first, second = bench.wait("a", first=SOON), bench.wait("b")
    await asyncio.sleep(0)
    first.cancel()
    bench.room = 1
    assert await second == "b"
    await asyncio.gather(first, return_exceptions=True)
    assert (bench.line.waiting, bench.line.busy("m"), bench.given_back) == (0, False, [])


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_who_leaves_in_the_very_moment_gives_it_back(turns):
    bench = Bench()
    task = bench.wait("a", first=SOON)
    await asyncio.sleep(0)
    bench.room = 1
    bench.line.changed()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    (answer,) = await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.03)
    # Served, given back, or never taken; not lost.
    assert (answer == "a") + (bench.given_back == ["a"]) + (bench.room == 1) == 1
    assert bench.line.waiting == 0
