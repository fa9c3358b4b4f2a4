"""Both stores against a brute-force world of edges, crashes, losses, repeated and lost messages, and odd clocks.

Seeds are fixed; `HYPOTHESIS_PROFILE=deep` draws new ones and goes on for much longer (a failure prints how to repeat).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from penstock_auth.counters import NOTHING, Amounts, Kind
from penstock_auth.counters_memory import MemoryCounters
from penstock_auth.counters_redis import RedisCounters
from tests.contract.counters.conftest import flush
from tests.contract.counters.model import CREDIT, KEYS, LIMITS, MAX_SLOTS, Edge, World

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
SETTINGS = settings(
    max_examples=2_000 if DEEP else 40,
    stateful_step_count=60 if DEEP else 20,
    derandomize=not DEEP,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

EDGES = range(4)
KIND = [Kind.REQUESTS, Kind.REQUESTS, Kind.REQUESTS, Kind.COUNT_TOKENS]
TRANSIT = [0, 1, 20, 49, 300]
PASSING = [1, 10, 49, 50, 51, 100, 500, 1_000, 3_000, 6_000, 6_050, 12_000, 31_000]
BOTH = [False, True]
ACTS: list[tuple[int, Callable[..., None], dict[str, list[Any]]]] = []


def act(weight: int, **options: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a rule, and let random walks take it so often with any of these options."""

    def made(function: Callable[..., None]) -> Callable[..., None]:
        ACTS.append((weight, function, {name: list(values) for name, values in options.items()}))
        return rule(**{name: st.sampled_from(list(values)) for name, values in options.items()})(function)

    return made


class Machine(RuleBasedStateMachine):
    """Rules are what may happen; `World.check` says what may not."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.troubles = 0

    def run(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def edge(self, number: int) -> Edge | None:
        living = self.world.edges
        return living[number % len(living)] if living else None

    @initialize(edges=st.integers(1, 3), seed=st.integers(0, 2**32))
    def begin(self, edges: int, seed: int, acts: int = 60) -> None:
        """Start edges and let a lot happen, so that even short examples meet a busy store."""
        if self.url:
            flush(self.url)
        self.new_store()
        for _ in range(edges):
            self.run(self.world.start())
        self.walk_on(Random(seed), acts)

    def new_store(self) -> None:
        if self.url:
            self.world.store = RedisCounters(self.url, self.world, clock=self.world.clock, deadline_seconds=10.0)
        else:
            self.world.store = MemoryCounters(self.world, clock=self.world.clock)
        self.run(self.world.store.open())

    @act(
        4, number=EDGES, key=KEYS, kind=KIND, need=range(7), more=range(9), early=BOTH,
        stale=range(4), there=TRANSIT, back=TRANSIT, fate=["ok", "ok", "ok", "lost", "unheard"],
        hold=[NOTHING, Amounts(1, 20, 10, 5), Amounts(2, 40, 30, 20), Amounts(1, 0, 0, 1)],
        spare=[NOTHING, Amounts(2, 30, 30, 30)], tries=range(3),
    )  # fmt: skip
    def ask(self, number, key, kind, need, more, early, stale, there, back, fate, hold, spare, tries) -> None:
        """An edge asks; messages travel, get lost, are repeated."""
        edge = self.edge(number)
        if edge is None or edge.cut_off:
            return
        want = Amounts(*(getattr(hold, n) + getattr(spare, n) for n in Amounts.__slots__))
        asks = {"need_requests": need, "want_requests": need + more, "need": hold, "want": want}
        call = self.world.compose(edge, key, kind, early=early, stale=stale, **asks)
        for attempt in range(tries + 1):
            sent = self.world.now
            self.run(self.world.pass_ms(there))
            last = attempt == tries
            if fate == "lost" and not last:
                continue
            result = self.run(self.world.store.allow(call))
            self.run(self.world.pass_ms(back))
            if last and fate == "ok" and edge in self.world.edges:
                self.world.take_in(edge, call, result, sent)
        if not edge.in_step:
            self.run(self.world.declare(edge))
        for _ in range(need if fate == "ok" else 0):
            self.world.open(edge, key, kind, hold if kind is Kind.REQUESTS else NOTHING)

    @act(2, number=EDGES, key=KEYS, kind=KIND, count=range(1, 9))
    def burst(self, number, key, kind, count) -> None:
        """Requests that hold nothing and are over at once."""
        edge = self.edge(number)
        for _ in range(count if edge else 0):
            self.world.open(edge, key, kind, NOTHING)

    @act(2, number=EDGES, key=KEYS, hold=[Amounts(0, 20, 10, 5), Amounts(0, 5, 5, 1)])
    def open(self, number, key, hold) -> None:
        """A request on what was lent to spare."""
        edge = self.edge(number)
        if edge:
            self.world.open(edge, key, Kind.REQUESTS, hold)

    @act(2, number=EDGES, count=range(1, 6), percent=[0, 30, 100])
    def close(self, number, count, percent) -> None:
        edge = self.edge(number)
        for request in [r for r in edge.requests if r.open][:count] if edge else []:
            self.world.close(request, percent)

    @act(3, number=EDGES, count=range(1, 10), fate=["ok", "ok", "ok", "died", "unheard"])
    def settle(self, number, count, fate) -> None:
        edge = self.edge(number)
        if edge is None or edge.cut_off:
            return
        ready = [r for r in edge.requests if not r.open and not r.acknowledged and r.kind is Kind.REQUESTS]
        self.run(self.world.settle(ready[:count], applied=fate != "died", acknowledged=fate == "ok"))

    @act(2, ms=PASSING)
    def wait(self, ms) -> None:
        self.run(self.world.pass_ms(ms))

    @act(2, place=range(21))
    def late_duplicate(self, place) -> None:
        """A call of some seconds ago comes once more; nobody hears the answer."""
        recent = [call for at, call in self.world.sent if at > self.world.now - 15_000]
        if recent:
            self.run(self.world.store.allow(recent[-1 - place % len(recent)]))

    @act(1, place=range(4))
    def late_declaration(self, place) -> None:
        recent = [told for at, told in self.world.declared if at > self.world.now - 15_000]
        if recent:
            self.run(self.world.store.declare(recent[-1 - place % len(recent)]))

    @act(
        4, number=EDGES, key=KEYS, kind=KIND, rounds=range(2, 13), more=[0, 3, 20],
        spend=["now", "late", "some"], there=TRANSIT, both=BOTH,
    )  # fmt: skip
    def press(self, number, key, kind, rounds, more, spend, there, both) -> None:
        """Edges that ask for all they can get, again as soon as they are told to, and spend it as late as they may."""
        edges = [self.edge(number), *([self.edge(number + 1)] if both else [])]
        for turn in range(rounds):
            edge = edges[turn % len(edges)]
            if edge is None or edge.cut_off or edge not in self.world.edges:
                continue
            self.run(self.press_once(edge, key, kind, more, spend, there))

    async def press_once(self, edge, key, kind, more, spend, there) -> None:
        world = self.world
        call = world.compose(edge, key, kind, early=spend == "some", stale=0, need_requests=1, want_requests=1 + more)
        sent = world.now
        await world.pass_ms(there)
        result = await world.store.allow(call)
        world.take_in(edge, call, result, sent)
        if not edge.in_step:
            await world.declare(edge)
        if result.denial:
            await world.pass_ms(min(result.denial.reset_ms or 1, 2_000))
        elif spend == "late":
            await world.pass_ms(min(max(0, sent + result.grant.life_ms - 1 - world.now), 3_000))
        while world.open(edge, key, kind, NOTHING) and spend != "some":
            pass

    @act(3, number=EDGES, key=KEYS, rounds=range(1, 9), hold=[Amounts(1, 30, 10, 9), Amounts(1, 4, 1, 1)])
    def stream(self, number, key, rounds, hold) -> None:
        """Streams that stay open, as many as there may be, from all edges in turn."""
        for turn in range(rounds):
            edge = self.edge(number + turn)
            if edge is None or edge.cut_off:
                continue
            call = self.world.compose(
                edge, key, Kind.REQUESTS, early=False, stale=1, need_requests=1, want_requests=1, need=hold, want=hold
            )
            result = self.run(self.world.store.allow(call))
            self.world.take_in(edge, call, result, self.world.now)
            if not edge.in_step:
                self.run(self.world.declare(edge))
            self.world.open(edge, key, Kind.REQUESTS, hold)

    @act(1)
    def replay(self) -> None:
        if self.world.dead:
            self.run(self.world.replay(self.world.dead[0]))

    @act(1)
    def mend(self) -> None:
        """Who was cut off comes back; what never spoke up is marked lost."""
        for edge in self.world.edges:
            if edge.cut_off:
                edge.cut_off = False
                self.run(self.world.heartbeat(edge))
        self.run(self.world.mark_lost())

    @act(
        2, what=["join", "crash", "cut off", "loss", "loss", "loss unnoticed", "crash and loss", "step back"],
        number=EDGES, ms=[1, 400, 3_000, 20_000], heartbeat=BOTH, answered=BOTH,
    )  # fmt: skip
    def trouble(self, what, number, ms, heartbeat, answered) -> None:
        """Trouble comes rarely enough that there is something to spoil."""
        if self.world.grants < 12 * (self.troubles + 1):
            return
        self.troubles += 1
        edge = self.edge(number)
        if "crash" in what:
            self.world.crash(edge)
            self.run(self.world.start())
            edge = self.edge(number)
        if what == "join" and len(self.world.edges) < 3:
            self.run(self.world.start())
        if what == "cut off":
            edge.cut_off = True
        if what == "step back":
            # It is never set forward again: that opens windows early.
            self.world.step -= ms
        if "loss" in what:
            self.lose(unnoticed="unnoticed" in what)
            if edge and not edge.cut_off and heartbeat:
                heard = self.run(self.world.store.touch_session(edge.session))
                self.world.reach(edge, heard.epoch, heard.store_time_ms, self.world.now)
                self.run(self.world.declare(edge, answered=answered))

    def walk_on(self, random: Random, acts: int) -> None:
        """Do many things at random: denser than rules drawn one by one."""
        weights = [weight for weight, _, _ in ACTS]
        for _ in range(acts):
            _, function, options = random.choices(ACTS, weights)[0]
            getattr(self, function.__name__)(**{name: random.choice(values) for name, values in options.items()})

    def lose(self, *, unnoticed: bool) -> None:
        """Make the store forget everything; of a flush that another process made, this auth may not know yet."""
        if self.url:
            flush(self.url)
            self.world.store._view_ms = self.world.store._view_ms if unnoticed else 0
        else:
            self.new_store()
        self.world.lost_memory()

    def teardown(self) -> None:
        """After all is over and long enough: everything can be lent again."""
        try:
            if hasattr(self.world, "store"):
                self.run(self.recover())
                self.run(self.world.store.close())
        finally:
            self.loop.close()

    async def recover(self) -> None:
        world = self.world
        for edge in world.edges:
            edge.cut_off = False
            await world.heartbeat(edge)
            for request in edge.requests:
                if request.open:
                    world.close(request, 100)
            ready = [r for r in edge.requests if not r.acknowledged and r.kind is Kind.REQUESTS]
            await world.settle(ready, applied=True, acknowledged=True)
            for key in KEYS:
                await world.store.allow(world.compose(edge, key, Kind.REQUESTS, early=True, stale=0))
        await world.pass_ms(-world.step if world.step < 0 else 0)
        await world.pass_ms(31_000)
        await world.mark_lost()
        await world.start()
        await world.pass_ms(31_000 + 123_000)
        edge = world.edges[-1]
        for key, requests in zip(KEYS, (8, 4), strict=True):
            money = max(0, min(30, world.balances[-1].micro_usd // 2))
            hold = Amounts(MAX_SLOTS, 45, 55, money)
            call = world.compose(edge, key, Kind.REQUESTS, early=True, stale=0, need_requests=requests, need=hold)
            result = await world.store.allow(call)
            assert result.grant, (result.denial, key, CREDIT, LIMITS)


def machine_of(kind: str, request: pytest.FixtureRequest) -> type[Machine]:
    url = request.getfixturevalue("redis_url") if kind == "redis" else ""
    return type(f"{kind.title()}Machine", (Machine,), {"url": url})


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_no_limit_is_ever_exceeded(kind, request):
    run_state_machine_as_test(machine_of(kind, request), settings=SETTINGS)


@pytest.mark.parametrize(("kind", "seeds"), [("memory", 2000 if DEEP else 40), ("redis", 500 if DEEP else 15)])
def test_no_limit_is_exceeded_in_long_walks(kind, seeds, request):
    for seed in range(seeds):
        machine = machine_of(kind, request)()
        print(f"seed {seed}")
        machine.begin(1 + seed % 3, seed, acts=600)
        machine.teardown()
