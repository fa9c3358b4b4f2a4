"""The exchange of conditions with a store that others change, lose or fill with what we cannot read."""

from __future__ import annotations

import pytest

from penstock_router.conditions import KIND, Conditions
from penstock_router.store_memory import MemoryStore
from penstock_router.stores import Change, StoreDown
from penstock_routing import Outcome, Policy
from penstock_routing import outcomes as o
from penstock_routing.condition import HEALTHY, Phase
from penstock_routing.health import Key

A_M = Key("a", "m")


class Shared(MemoryStore):
    """A memory store that several routers share, and that can be down."""

    shared = True
    down = False

    async def read(self, kind):
        if self.down:
            raise StoreDown("down")
        return await super().read(kind)

    async def write(self, kind, changes):
        if self.down:
            raise StoreDown("down")
        return await super().write(kind, changes)


class Replica(Conditions):
    """One router's conditions."""

    def fail(self, cls, *, now=0.0, request_id="r", **more):
        self.changed(
            self.health.observe(
                Outcome(
                    request_id=request_id,
                    project="p",
                    account="a",
                    model="m",
                    cls=cls,
                    sent_at=now,
                    ended_at=now,
                    **more,
                ),
                now,
            )
        )

    def phase(self, now=1.0):
        condition = self.health.conditions.get(A_M)
        return condition.phase(now) if condition else Phase.HEALTHY


@pytest.fixture
def store():
    return Shared(lambda: 0.0)


@pytest.fixture
def pair(store):
    return Replica(store, Policy()), Replica(store, Policy())


async def test_what_one_learns_the_other_knows(pair):
    one, other = pair
    one.fail(o.OVERLOADED)
    assert await one.sync() == 0
    assert one.dirty == set()
    await other.sync()
    assert other.phase() is Phase.COOLING


async def test_of_two_changes_at_once_the_longer_deadline_stays(pair):
    one, other = pair
    await one.sync()
    await other.sync()
    one.fail(o.THROTTLED, retry_after=5.0)
    other.fail(o.THROTTLED, retry_after=500.0)
    for _ in range(2):
        await one.sync()
        await other.sync()
    assert one.health.conditions[A_M].until() == other.health.conditions[A_M].until() == 500.0


async def test_a_conflict_is_said_and_mended(pair, store):
    one, other = pair
    one.fail(o.OVERLOADED)
    await one.sync()
    await other.sync()
    one.fail(o.OVERLOADED, now=10.0, request_id="r2")
    other.fail(o.THROTTLED, now=10.0, request_id="r3", retry_after=100.0)
    await one.sync()
    stale = dict(other._versions)
    assert (await store.write(KIND, [Change("a\nm\n", stale[A_M], b"x")])) == {}
    await other.sync()
    await one.sync()
    assert one.health.conditions[A_M].until() == 110.0


async def test_without_the_store_what_changed_waits(pair, store):
    one, other = pair
    store.down = True
    one.fail(o.OVERLOADED)
    with pytest.raises(StoreDown):
        await one.sync()
    assert one.phase() is Phase.COOLING
    store.down = False
    await one.sync()
    await other.sync()
    assert other.phase() is Phase.COOLING


async def test_what_the_store_lost_goes_back_in(pair, store):
    one, other = pair
    one.fail(o.OVERLOADED)
    await one.sync()
    store._kinds.clear()
    await one.sync()
    await other.sync()
    assert one.phase() is other.phase() is Phase.COOLING


async def test_forgotten_everywhere(pair, store):
    one, _ = pair
    one.fail(o.OVERLOADED)
    await one.sync()
    one.keep({}, 0.0)
    await one.sync()
    assert (await store.read(KIND)).rows == {}


@pytest.mark.parametrize("served", [{}, {"a": ["other"]}, {"a": ["m"]}])
async def test_what_one_forgets_no_other_brings_back(served):
    now = [0.0]
    store = Shared(lambda: now[0])
    one, other = Replica(store, Policy()), Replica(store, Policy())
    one.fail(o.OVERLOADED)
    one.health.conditions[A_M].step = HEALTHY  # Long over, so that nothing remembers it.
    for each in (one, other):
        each.keep({"a": ["m"]}, now[0])
        await each.sync()
    now[0] = 5000.0
    for turn in range(6):
        # They look at different times, as routers do that did not start at once.
        first, second = (one, other) if turn % 2 else (other, one)
        first.keep(served, now[0])
        for each in (first, second, first, second):
            await each.sync()
        now[0] += 30.0
    assert (await store.read(KIND)).rows == {}
    assert one.health.conditions == other.health.conditions == {}


async def test_what_cannot_be_read_is_left_alone(pair, store):
    await store.write(KIND, [Change("a\nm\n", 0, b"rubbish"), Change("too\nmany\nparts\nhere", 0, b"x")])
    await pair[0].sync()
    assert pair[0].health.conditions == {}


async def test_one_offer_wins(pair):
    one, other = pair
    one.fail(o.OVERLOADED)
    await one.sync()
    await other.sync()
    assert await one.offer(A_M, "s1", 40.0, 11.0)
    assert not await other.offer(A_M, "s2", 40.0, 11.0)
    await other.sync()
    assert other.health.conditions[A_M].trial_session == "s1"
    assert not await other.offer(Key("nobody"), "s2", 40.0, 11.0)


async def test_an_offer_without_the_store_is_none(pair, store):
    one, _ = pair
    one.fail(o.OVERLOADED)
    await one.sync()
    store.down = True
    with pytest.raises(StoreDown):
        await one.offer(A_M, "s1", 40.0, 11.0)
    assert one.health.conditions[A_M].trial_session == ""
