"""The short wait for an account that is about to have room, on the event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from penstock_edge.waiting import WaitingLine
from penstock_routing import AccountFacts, Cooldown, NoneLeft, Pick, Pool, Share, Traits

NOBODY = frozenset()


class Bench:
    """A line before one account with so many slots."""

    def __init__(self, slots=1, places=10, seconds=2.0):
        self.pool = Pool()
        self.wanted = {}
        self.line = WaitingLine(self.pool, lambda: 0.5, places, seconds, self.want)
        self.pool.load([AccountFacts(name="a", models=("m", "n"))], time.monotonic())
        self.slots(slots)
        self.served = []
        self.version = 1

    def want(self, name, change):
        self.wanted[name] = self.wanted.get(name, 0) + change

    def slots(self, count, version=1):
        self.pool.set_share("a", version, Share(slots=count), time.monotonic())

    async def seek(self, name, project="p"):
        found = await self.line.seek(Traits(model="m", project=project, estimated_tokens=1000), NOBODY)
        if isinstance(found, Pick):
            self.served.append(name)
        return found

    def wait(self, name, project="p"):
        return asyncio.create_task(self.seek(name, project))

    def give(self, pick):
        self.pool.unused(pick, time.monotonic())


async def test_room_is_taken_at_once():
    assert isinstance(await Bench().seek("a"), Pick)


async def test_what_can_be_answered_at_once_is_and_nobody_passes_those_who_wait():
    bench = Bench()
    asked = Traits(model="m", project="p", estimated_tokens=1000)
    pick = bench.line.try_seek(asked, NOBODY, time.monotonic())
    assert isinstance(pick, Pick)
    # Full, but perhaps not for long: that is for `seek` to wait for.
    assert bench.line.try_seek(asked, NOBODY, time.monotonic()) is None
    assert bench.line.waiting == 0
    assert isinstance(bench.line.try_seek(asked, frozenset({"a"}), time.monotonic()), NoneLeft)
    waiting = bench.wait("b")
    await asyncio.sleep(0)
    bench.give(pick)
    assert bench.line.try_seek(asked, NOBODY, time.monotonic()) is None
    assert isinstance(await waiting, Pick)


async def test_a_finished_request_wakes_at_once_not_the_timer():
    bench = Bench()
    first = await bench.seek("a")
    task = bench.wait("b")
    await asyncio.sleep(0)
    assert (bench.line.waiting, bench.wanted) == (1, {"a": 1})
    loop = asyncio.get_running_loop()
    began = loop.time()
    bench.give(first)
    assert isinstance(await task, Pick)
    assert loop.time() - began < 0.05
    assert (bench.line.waiting, bench.wanted) == (0, {"a": 0})


async def test_a_larger_share_wakes():
    bench = Bench(0)
    task = bench.wait("a")
    await asyncio.sleep(0)
    bench.slots(1, version=2)
    assert isinstance(await asyncio.wait_for(task, 0.05), Pick)


async def test_time_wakes():
    bench = Bench(-1)
    bench.pool.set_cooldown(Cooldown(account="a", cls="Overloaded", remaining_seconds=0.05), time.monotonic())
    assert isinstance(await asyncio.wait_for(bench.wait("a"), 0.5), Pick)


async def test_a_distant_return_is_not_waited_for():
    bench = Bench(-1)
    bench.pool.set_cooldown(Cooldown(account="a", cls="Throttled", remaining_seconds=60), time.monotonic())
    found = await asyncio.wait_for(bench.wait("a"), 0.1)
    assert found.reasons == {"a": "Throttled"}


async def test_the_wait_ends():
    loop = asyncio.get_running_loop()
    began = loop.time()
    bench = Bench(0, seconds=0.1)
    found = await bench.seek("a")
    assert isinstance(found, NoneLeft)
    assert found.reasons == {"a": "SlotsFull"}
    assert 0.08 < loop.time() - began < 0.5
    assert bench.line.waiting == 0


async def test_places_are_bounded():
    bench = Bench(0, 4, 0.2)
    tasks = [bench.wait(name, name) for name in "abcd"]
    await asyncio.sleep(0.02)
    assert bench.line.waiting == 4
    assert isinstance(await asyncio.wait_for(bench.wait("e", "e"), 0.1), NoneLeft)
    assert bench.line.waiting == 4
    await asyncio.gather(*tasks)


async def test_first_come_first_served():
    bench = Bench()
    pick = await bench.seek("")
    tasks = []
    for name in "abcde":
        tasks.append(bench.wait(name))
        await asyncio.sleep(0)
    for task in tasks:
        bench.give(pick)
        pick = await asyncio.wait_for(task, 0.5)
    assert bench.served[1:] == list("abcde")


async def test_a_project_with_few_is_not_behind_one_with_many():
    bench = Bench()
    pick = await bench.seek("")
    tasks = [bench.wait(f"many{number}", "many") for number in range(5)]
    tasks.append(bench.wait("few", "few"))
    await asyncio.sleep(0)
    for _ in tasks:
        bench.give(pick)
        before = len(bench.served)
        while len(bench.served) == before:
            await asyncio.sleep(0.001)
        pick = next(task for task in tasks if task.done() and task not in bench.wanted).result()
        tasks = [task for task in tasks if not task.done() or task.result() is not pick]
        if "few" in bench.served:
            break
    assert "few" in bench.served[1:3]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_somebody_who_leaves_makes_room_for_the_next():
    bench = Bench()
    pick = await bench.seek("")
    first, second = bench.wait("a"), bench.wait("b")
    await asyncio.sleep(0)
    first.cancel()
    bench.give(pick)
    assert isinstance(await second, Pick)
    await asyncio.gather(first, return_exceptions=True)
    assert bench.line.waiting == 0
    assert bench.pool.in_flight("a") == 1


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_who_leaves_in_the_very_moment_gives_it_back(turns):
    bench = Bench()
    pick = await bench.seek("")
    task = bench.wait("a")
    await asyncio.sleep(0)
    bench.give(pick)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    (answer,) = await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.03)
    # Served, given back, or never taken; not lost.
    assert bench.pool.in_flight("a") == int(isinstance(answer, Pick))
    assert bench.line.waiting == 0


async def test_who_waits_for_a_trial_that_another_edge_has_is_told_to_the_router():
    bench = Bench()
    now = time.monotonic()
    bench.pool.router_seen(now)
    bench.pool.set_cooldown(
        Cooldown(account="a", model="m", cls="Overloaded", half_open=True, trial_session="other"), now
    )
    task = bench.wait("b")
    await asyncio.sleep(0)
    assert bench.wanted == {"a": 1}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert bench.wanted == {"a": 0}
