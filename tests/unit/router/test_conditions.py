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
    assert await one.sync(0.0) == 0
    assert one.dirty == set()
    await other.sync(0.0)
    assert other.phase() is Phase.COOLING


async def test_of_two_changes_at_once_the_longer_deadline_stays(pair):
    one, other = pair
    await one.sync(0.0)
    await other.sync(0.0)
    one.fail(o.THROTTLED, retry_after=5.0)
    other.fail(o.THROTTLED, retry_after=500.0)
    for _ in range(2):
        await one.sync(0.0)
        await other.sync(0.0)
    assert one.health.conditions[A_M].until() == other.health.conditions[A_M].until() == 500.0


async def test_a_conflict_is_said_and_mended(pair, store):
    one, other = pair
    one.fail(o.OVERLOADED)
    await one.sync(0.0)
    await other.sync(0.0)
    one.fail(o.OVERLOADED, now=10.0, request_id="r2")
    other.fail(o.THROTTLED, now=10.0, request_id="r3", retry_after=100.0)
    await one.sync(0.0)
    stale = dict(other._versions)
    assert (await store.write(KIND, [Change("a\nm\n", stale[A_M], b"x")])) == {}
    await other.sync(0.0)
    await one.sync(0.0)
    assert one.health.conditions[A_M].until() == 110.0


async def test_without_the_store_what_changed_waits(pair, store):
    one, other = pair
    store.down = True
    one.fail(o.OVERLOADED)
    with pytest.raises(StoreDown):
        await one.sync(0.0)
    assert one.phase() is Phase.COOLING
    store.down = False
    await one.sync(0.0)
    await other.sync(0.0)
    assert other.phase() is Phase.COOLING


async def test_what_the_store_lost_goes_back_in(pair, store):
    one, other = pair
    one.fail(o.OVERLOADED)
    await one.sync(0.0)
    store._kinds.clear()
    await one.sync(0.0)
    await other.sync(0.0)
    assert one.phase() is other.phase() is Phase.COOLING


async def test_forgotten_everywhere(pair, store):
    one, _ = pair
    one.fail(o.OVERLOADED)
    await one.sync(0.0)
    one.keep({}, 0.0)
    await one.sync(0.0)
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
        await each.sync(now[0])
    now[0] = 5000.0
    for turn in range(6):
        # They look at different times, as routers do that did not start at once.
        first, second = (one, other) if turn % 2 else (other, one)
        first.keep(served, now[0])
        for each in (first, second, first, second):
            await each.sync(now[0])
        now[0] += 30.0
    assert (await store.read(KIND)).rows == {}
    assert one.health.conditions == other.health.conditions == {}


async def test_what_cannot_be_read_is_left_alone(pair, store):
    await store.write(KIND, [Change("a\nm\n", 0, b"rubbish"), Change("too\nmany\nparts\nhere", 0, b"x")])
    await pair[0].sync(0.0)
    assert pair[0].health.conditions == {}


async def test_one_offer_wins(pair):
    one, other = pair
    one.fail(o.OVERLOADED)
    await one.sync(0.0)
    await other.sync(0.0)
    assert await one.offer(A_M, "s1", 40.0, 11.0)
    assert not await other.offer(A_M, "s2", 40.0, 11.0)
    await other.sync(0.0)
    assert other.health.conditions[A_M].trial_session == "s1"
    assert not await other.offer(Key("nobody"), "s2", 40.0, 11.0)


async def test_an_offer_without_the_store_is_none(pair, store):
    one, _ = pair
    one.fail(o.OVERLOADED)
    await one.sync(0.0)
    store.down = True
    with pytest.raises(StoreDown):
        await one.offer(A_M, "s1", 40.0, 11.0)
    assert one.health.conditions[A_M].trial_session == ""


async def test_no_account_stays_out_longer_because_a_clock_was_put_back(store):
    one = Replica(store, Policy())
    one.fail(o.UNSTABLE, now=1e6, request_id="r1")
    one.fail(o.OVERLOADED, now=1e6)
    one.fail(o.CREDENTIAL_INVALID, now=1e6)
    await one.sync(1e6)
    again = Replica(store, Policy())
    await again.sync(1000.0)
    assert again.phase(1009.0) is Phase.COOLING
    assert again.phase(1011.0) is Phase.HALF_OPEN
    assert again.health.due_probes(1016.0) == {"a"}
    again.fail(o.OK, now=1012.0)
    again.fail(o.OK, now=1013.0)
    assert again.health.conditions[A_M].step == 1
    late = Replica(store, Policy())
    await late.sync(1e6 - 30.0)
    assert late.health.conditions[A_M].until() == 1e6 + 10.0, "clocks differ by so much"
