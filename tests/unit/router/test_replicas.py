"""Several routers at one Redis: one truth about health, and one limit; and what happens without it."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal

import pytest

from penstock.router.v1 import router_pb2
from penstock_catalog.documents import Capacity
from penstock_chassis.secret import Secret
from penstock_routing import outcomes as o
from tests.servers import redis_server


@pytest.fixture(scope="module")
def redis():
    with redis_server() as running:
        yield running


@pytest.fixture
async def pair(harness, redis):
    redis.command("FLUSHALL")
    settings = {"redis_url": Secret(redis.url), "run_dir": None, "redis_deadline_seconds": 2.0}
    return await harness.router(**settings), await harness.router(**settings)


async def test_a_cooldown_reaches_the_other_routers_edges(harness, tools, pair):
    one, other = await harness.edge(pair[0], "s1"), await harness.edge(pair[1], "s2")
    await one.report(tools.outcome(o.THROTTLED, retry_after_ms=900_000))
    await tools.until(other.cooldown)
    assert 800_000 < other.cooldown().remaining_ms <= 900_000


async def test_failures_of_two_routers_add_up(harness, tools, pair):
    one, other = await harness.edge(pair[0], "s1"), await harness.edge(pair[1], "s2")
    await one.report(tools.outcome(o.UNSTABLE, request_id="r1", project="p"))
    await tools.until(lambda: not pair[0].router.conditions.dirty)
    # Suspicion alone may send a probe; nobody answers at that address, which is a failed one and would do as well.
    await other.report(
        tools.outcome(o.UNSTABLE, request_id="r2", project="q"), tools.outcome(o.UNSTABLE, request_id="r3", project="q")
    )
    for edge in (one, other):
        await tools.until(edge.cooldown)


async def test_one_trial_for_one_edge_of_all(harness, tools, pair):
    edges = [await harness.edge(pair[n % 2], f"s{n}") for n in range(4)]
    await edges[0].report(tools.outcome(o.THROTTLED, retry_after_ms=1000))
    await tools.until(lambda: all(edge.cooldown() and edge.cooldown().trial_session for edge in edges))
    await tools.until(lambda: len({edge.cooldown().trial_session for edge in edges}) == 1)


async def test_a_return_is_everybodys(harness, tools, pair):
    one, other = await harness.edge(pair[0], "s1"), await harness.edge(pair[1], "s2")
    await one.report(tools.outcome(o.THROTTLED, retry_after_ms=1000))
    await tools.until(lambda: one.cooldown() and one.cooldown().trial_session)
    for number in range(4):
        await one.report(tools.outcome(o.OK, request_id=f"t{number}", first_byte_ms=1))
    await tools.until(lambda: one.cooldown() is None and other.cooldown() is None)


async def test_the_limit_holds_over_both(harness, tools, pair):
    harness.write(tools.catalog(tools.account("a", limits=Capacity(max_concurrent_requests=10))))
    await tools.until(lambda: all(service.router.desired.limited("a") for service in pair))
    edges = [await harness.edge(pair[n % 2], f"s{n}") for n in range(4)]
    for turn in range(12):
        for n, edge in enumerate(edges):
            await edge.report(demand={"slots_wanted": 10 if n == turn % 4 else 1})
        await asyncio.sleep(0.05)
        assert sum(edge.slots() for edge in edges) <= 10
    await tools.until(lambda: sum(edge.slots() for edge in edges) >= 8)
    await edges[0].report(final=True)
    await edges[0].leave()
    await tools.until(lambda: "s0" not in pair[1].router.lending.books["a"].holdings)


async def test_an_edge_that_moves_to_another_router_keeps_its_share(harness, tools, redis):
    redis.command("FLUSHALL")
    harness.write(tools.catalog(tools.account("a", limits=Capacity(max_concurrent_requests=10))))
    told = {
        "redis_url": Secret(redis.url),
        "run_dir": None,
        "redis_deadline_seconds": 2.0,
        "session_silent_seconds": 0.5,
    }
    pair = [await harness.router(**told), await harness.router(**told)]
    before = await harness.edge(pair[0], "s1")
    await before.report(demand={"slots_wanted": 10})
    after = await harness.edge(pair[1], "s1", shares=[router_pb2.ShareHeld(account=name, version=version, share=share) for name, (version, share) in before.shares.items()])  # fmt: skip
    await before.leave()
    assert (await before.report()).resync, "what it says is to be said where it watches"
    assert not (await after.report()).resync
    book = pair[1].router.lending.books["a"]
    held = book.holdings["s1"].newest()
    await tools.until(lambda: pair[0].router.sessions.get("s1") is None)
    for _ in range(20):
        await asyncio.sleep(0.02)
        for service in pair:
            assert service.router.lending.books["a"].holdings["s1"].newest() == held
    observed = [
        await anext(aiter(harness.stub(service).WatchObserved(router_pb2.WatchObservedRequest()))) for service in pair
    ]
    assert [set(one.edge_sessions) for one in observed] == [set(), {"s1"}]


async def test_a_restarted_router_reads_what_the_store_knows(harness, tools, pair, redis):
    one = await harness.edge(pair[0], "s1")
    await one.report(tools.outcome(o.THROTTLED, retry_after_ms=30_000))
    await tools.until(lambda: not pair[0].router.conditions.dirty)
    await harness.stop(pair[0])
    again = await harness.edge(
        await harness.router(redis_url=Secret(redis.url), run_dir=None, redis_deadline_seconds=2.0), "s1"
    )
    await tools.until(again.cooldown)


async def test_a_store_that_lost_everything_is_told_again(harness, tools, pair, redis):
    one = await harness.edge(pair[0], "s1")
    await one.report(tools.outcome(o.THROTTLED, retry_after_ms=30_000))
    await tools.until(lambda: not pair[0].router.conditions.dirty)
    redis.command("FLUSHALL")
    third = await harness.edge(
        await harness.router(redis_url=Secret(redis.url), run_dir=None, redis_deadline_seconds=2.0), "s3"
    )
    await tools.until(third.cooldown)


async def test_the_router_goes_on_when_the_store_is_frozen(harness, tools):
    harness.write(tools.catalog(tools.account("a", limits=Capacity(max_concurrent_requests=10)), tools.account("b")))
    with redis_server() as server:
        service = await harness.router(redis_url=Secret(server.url), run_dir=None)
        edge = await harness.edge(service, "s1")
        await tools.until(lambda: edge.slots() == 10)
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            await tools.until(lambda: service.metrics.store_failures.labels("redis")._value.get() >= 1)
            took = []
            # The quickest is what the router needs; the others may be the machine's.
            for name, model in itertools.product("ab", tools.MODELS):
                begun = asyncio.get_running_loop().time()
                row = tools.outcome(o.THROTTLED, name=name, model=model, request_id=name + model, retry_after_ms=1000)
                await edge.report(row)
                await tools.until(lambda name=name, model=model: edge.cooldown(name, model))
                took.append(asyncio.get_running_loop().time() - begun)
            assert min(took) < 0.5, took
            assert service.metrics.store_up.labels("redis")._value.get() == 0
            late = await harness.edge(service, "s2")
            assert late.slots() == 0  # Nobody may lend what another router may have lent.
            assert edge.slots() == 10
            await tools.until(lambda: edge.cooldown().trial_session)
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        await tools.until(lambda: service.metrics.store_up.labels("redis")._value.get() == 1)
        await edge.report()
        await tools.until(lambda: edge.slots() < 10)
        await edge.report()
        await tools.until(lambda: late.slots() > 0)


async def test_a_frozen_store_costs_a_turn_one_deadline_however_many_trials_are_due(harness, tools, monkeypatch):
    names = "abcdefgh"
    harness.write(tools.catalog(*map(tools.account, names)))
    with redis_server() as server:
        service = await harness.router(redis_url=Secret(server.url), run_dir=None)
        edge = await harness.edge(service, "s1")
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            await tools.until(lambda: service.metrics.store_up.labels("redis")._value.get() == 0)
            asked = []
            ask = service.store._call

            async def noted(call):
                asked.append(service.router._exchanging.locked())
                return await ask(call)

            monkeypatch.setattr(service.store, "_call", noted)
            await edge.report(
                *(tools.outcome(o.THROTTLED, name=name, request_id=name, retry_after_ms=1000) for name in names)
            )
            await tools.until(lambda: all(edge.cooldown(n) and edge.cooldown(n).trial_session for n in names))
            assert asked
            assert all(asked), "beside the exchange of each turn nobody asks a store that is down"
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        await tools.until(lambda: service.metrics.store_up.labels("redis")._value.get() == 1)
        await tools.until(lambda: not service.router.conditions.dirty)


async def test_the_router_starts_without_the_store(harness, tools):
    service = await harness.router(redis_url=Secret("redis://127.0.0.1:1/0"), run_dir=None)
    edge = await harness.edge(service, "s1")
    await edge.report(tools.outcome(o.OVERLOADED))
    await tools.until(edge.cooldown)
