"""Shares are split anew where something is new, and nowhere else: a turn costs what has happened, not what there is."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from penstock_catalog.documents import Account, Capacity, RouterCatalog
from penstock_router import lending
from penstock_router.desired import Desired
from penstock_router.lending import Lending
from penstock_router.sessions import Sessions
from penstock_router.store_memory import MemoryStore
from penstock_routing.shares import Demand

ACCOUNTS = tuple(f"a{number}" for number in range(10))


def desired(slots=12):
    return Desired(
        RouterCatalog(
            accounts=tuple(
                Account(
                    name=name,
                    provider="Anthropic",
                    base_url="http://x",
                    api_key="k",
                    credential_hash="h",
                    models=("m",),
                    limits=Capacity(max_concurrent_requests=slots),
                )
                for name in ACCOUNTS
            )
        )
    )


class Counting(Lending):
    """Counts the books that are looked at."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.looked = []

    def _draft(self, account, *args):
        self.looked.append(account)
        return super()._draft(account, *args)


class World:
    def __init__(self):
        self.now = 1000.0
        self.sessions = Sessions()
        self.desired = desired()
        self.lending = Counting(MemoryStore(lambda: self.now), silent_seconds=30.0)

    def join(self, name):
        self.sessions.join(name, f"edge-{name}", {}, self.now).watches += 1

    async def turn(self):
        """Return which books one turn looked at."""
        self.lending.looked.clear()
        await self.lending.sync(self.desired, self.sessions, self.now)
        return sorted(self.lending.looked)

    async def rest(self):
        """Turn until there is nothing left to do."""
        for _ in range(20):
            for session in self.sessions:
                for account, offer in self.lending.offers(session.name).items():
                    self.sessions.acknowledge(session, account, offer.version)
            if not await self.turn():
                return
        pytest.fail("it never rests")

    def slots(self, account):
        holdings = self.lending.books[account].holdings
        return {name: holding.newest().share.slots for name, holding in holdings.items()}


@pytest.fixture
async def world():
    made = World()
    for name in ("s", "t", "u"):
        made.join(name)
    await made.rest()
    return made


async def test_a_turn_without_news_looks_at_no_account(world):
    assert await world.turn() == []
    assert all(sum(world.slots(account).values()) == 12 for account in ACCOUNTS)


async def test_demand_is_a_matter_of_its_account_alone(world):
    session = world.sessions.get("s")
    world.sessions.want(session, "a3", Demand(slots=9))
    assert await world.turn() == ["a3"]
    await world.rest()
    assert world.slots("a3")["s"] > 4
    assert world.slots("a4") == {"s": 4, "t": 4, "u": 4}
    world.sessions.want(session, "a3", Demand(slots=9))
    assert await world.turn() == [], "that is what it said before"


@pytest.mark.parametrize(
    "happens",
    [
        lambda world: world.join("v"),
        lambda world: world.sessions.end("s"),
        lambda world: setattr(world, "desired", desired(slots=30)),
    ],
)
async def test_who_comes_and_goes_and_new_limits_are_everybodys_matter(world, happens):
    happens(world)
    assert await world.turn() == sorted(ACCOUNTS)


async def test_who_was_cut_off_for_a_moment_comes_back_with_what_it_had(world):
    """Or else a router that is late would be asked again by everybody, and be later still."""
    world.sessions.part("s", world.now)
    assert await world.turn() == []
    held = world.lending.offers("s")
    world.sessions.join("s", "edge-s", held, world.now).watches += 1
    assert await world.turn() == []
    world.sessions.part("s", world.now)
    older = held | {"a3": replace(held["a3"], version=held["a3"].version - 1)}
    world.sessions.join("s", "edge-s", older, world.now).watches += 1
    assert await world.turn() == ["a3"]


async def test_each_account_hears_of_life_once_in_five_seconds_and_not_all_at_once(world):
    seen, most = [], 0
    for _ in range(20):
        world.now += 0.25
        looked = await world.turn()
        await world.rest()
        seen += looked
        most = max(most, len(looked))
    assert sorted(seen) == sorted(ACCOUNTS)
    assert most < len(ACCOUNTS) / 2


async def test_a_session_that_falls_silent_is_buried_in_time(world):
    for name in ("t", "u"):
        world.sessions.get(name).watches += 1
    world.sessions.part("s", world.now)
    began = world.now
    while any("s" in world.slots(account) for account in ACCOUNTS):
        world.now += 0.25
        world.sessions.ended.update(world.sessions.expire(world.now, 30.0))
        await world.turn()
        assert world.now - began < 40.5
    assert world.now - began >= 30.0


async def test_a_turn_of_many_accounts_lets_others_speak(world, monkeypatch):
    monkeypatch.setattr(lending, "_AT_ONCE", 3)
    world.join("v")
    turn = asyncio.create_task(world.turn())
    await asyncio.sleep(0)
    looked = len(world.lending.looked)
    assert 0 < looked < len(ACCOUNTS)
    # What is said meanwhile is not lost.
    first = world.lending.looked[0]
    world.sessions.want(world.sessions.get("s"), first, Demand(slots=9))
    world.join("w")
    assert await turn == sorted(ACCOUNTS)
    assert await world.turn() == sorted(ACCOUNTS)
    await world.rest()
    assert world.slots(first)["s"] > 4
    assert set(world.slots(first)) == {"s", "t", "u", "v", "w"}


async def test_what_the_books_changed_is_told_once(world):
    world.lending.changed()
    world.sessions.want(world.sessions.get("s"), "a3", Demand(slots=9))
    await world.turn()
    assert world.lending.changed() == {"a3"}
    assert world.lending.changed() == set()


async def test_nothing_is_learned_for_longer_because_the_clock_was_put_back(world):
    store = MemoryStore(lambda: world.now)
    world.now += 1e6
    world.lending = Counting(store, silent_seconds=30.0, learning_until=world.now + 30.0)
    await world.turn()
    world.now -= 1e6
    world.lending = Counting(store, silent_seconds=30.0)
    await world.rest()
    assert set(world.slots("a3").values()) == {0}
    world.now += 31.0
    await world.turn()
    assert sum(world.slots("a3").values()) == 12
