"""Many requests at once, faults of every kind, clients that leave: nothing hangs, nothing leaks, every id closes once."""

from __future__ import annotations

import asyncio
import collections
import gc
import random

import httpx
import pytest

from penstock_edge.dispatch import Pace
from penstock_routing import Timeouts

REQUESTS = 500
AT_ONCE = 48


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_hangs_and_nothing_leaks(gateway, books, play, seed):
    rng = random.Random(seed)
    overloaded = play.event("error", error={"type": "overloaded_error", "message": "m"})
    cooling = [
        play.failure(529),
        play.failure(429, "rate_limit_error", retry_after="1"),
        play.stream([play.start(), overloaded]),
        play.stream([play.start(), play.block, play.text("abc"), overloaded]),
    ]
    bad = [
        play.cut,
        play.failure(500),
        play.failure(400, "invalid_request_error", "no"),
        play.answer(body=b"{"),
        play.stream([play.start(), play.block, play.text("abc")], end="cut"),
        play.stream([play.start()], end="cut"),
        play.stream([play.start(), play.block], end="hang"),
        play.hang,
    ]

    def script(faults):
        async def serve(request):
            if rng.random() < 0.3:
                return await rng.choice(faults)(request)
            good = play.stream(pause=0.001) if b'"stream":true' in request.body else play.answer(delay=0.002)
            return await good(request)

        return [serve]

    quick = Timeouts(connect=1, first_byte=0.3, idle=0.3, response=0.3)
    edge = await gateway(
        script(bad + cooling),
        script(bad),
        script(bad),
        timeouts=quick,
        pace=Pace(keepalive=0.05, wait=0.3, total=3, stall=1),
    )
    place = asyncio.Semaphore(AT_ONCE)
    seen = collections.Counter()

    async def one():
        async with place:
            patience = rng.uniform(0.005, 0.2) if rng.random() < 0.25 else 8.0
            try:
                async with asyncio.timeout(patience):
                    answer = await edge.post(stream=rng.random() < 0.5)
                    seen[answer.status_code] += 1
            except (TimeoutError, httpx.HTTPError):
                seen["left"] += 1
                assert patience < 8.0

    async with asyncio.timeout(60):
        await asyncio.gather(*(one() for _ in range(REQUESTS)))
    await asyncio.sleep(0.3)
    assert seen[200] > REQUESTS // 3
    assert seen[500] == 0
    assert (books.holds, books.slots, len(edge.dispatcher.active)) == (0, 0, 0)
    assert [edge.pool.in_flight(name) for name in "abc"] == [0, 0, 0]
    assert collections.Counter(c.request_id for c in books.finished) == collections.Counter(
        dict.fromkeys(books.opened_records, 1)
    )
    sent = {r.headers["x-request-id"][0] for u in edge.upstreams for r in u.requests}
    assert sent == set(books.opened_records)
    for closed in books.finished:
        assert [a.index for a in closed.attempts] == list(range(len(closed.attempts)))
        assert closed.state != "complete" or closed.attempts[closed.delivered].cls == "Ok"


async def garbage(churn):
    """Return what `churn`, which is given a number of rounds, leaves to the collector."""
    await churn(9)
    gc.collect()
    gc.disable()
    try:
        await churn(15)
        await asyncio.sleep(0.05)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return collections.Counter(
            type(o).__name__ for o in gc.garbage if type(o).__module__.startswith("penstock_edge")
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def test_requests_leave_no_garbage_behind(gateway, books, play):
    """Cycles wait for a collector that runs seldom: under churn that is memory that grows."""
    edge = await gateway([play.answer()])

    async def churn(rounds):
        for number in range(rounds):
            edge.upstreams[0].scripts = [play.answer() if number % 3 else play.stream()]
            if number % 3 == 2:
                edge.upstreams[0].scripts = [play.hang]
                request = asyncio.create_task(edge.post(stream=number % 2 == 0))
                await asyncio.sleep(0.02)
                request.cancel()
                await asyncio.gather(request, return_exceptions=True)
            else:
                await edge.post(stream=number % 3 == 0)
            await asyncio.sleep(0.005)
        books.finished.clear()
        books.opened_records.clear()
        books.outcomes.clear()

    assert not await garbage(churn)


@pytest.mark.parametrize("warm", [False, True])
async def test_nor_do_upstreams_that_fail(gateway, books, play, crashing, warm):
    pieces = [play.start(), play.block, play.text("abc"), 0.01]
    faults = [
        play.cut,
        play.failure(500),
        play.stream(pieces, end="cut"),
        play.stream(pieces[:1], end="cut"),
        play.stream([*pieces, play.event("error", error={"type": "api_error", "message": "m"})]),
        play.stream([*pieces, play.text("crash")], end="hang"),
        play.answer(body=b"abc", headers={"content-type": "text/event-stream", "content-encoding": "br"}),
    ]
    edge = await gateway([play.answer()])

    async def churn(rounds):
        for number in range(rounds):
            edge.upstreams[0].scripts = [play.answer()]
            assert (await edge.post()).status_code == 200
            if not warm:
                cool(edge)
            edge.upstreams[0].scripts = [faults[number % len(faults)]]
            await edge.events()
            await asyncio.sleep(0.005)
        books.finished.clear()
        books.opened_records.clear()
        books.outcomes.clear()

    assert not await garbage(churn)


def cool(edge):
    """Let no connection be idle: the next request begins in a task."""
    for pool in edge.client._pools.values():
        while pool.idle:
            pool.give_up_oldest()
