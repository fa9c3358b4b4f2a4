from __future__ import annotations

import asyncio

from penstock_auth import catalog_follower
from penstock_auth.catalog_follower import CatalogFollower
from penstock_auth.changes import ChangeHub, ChangeKind
from penstock_auth.declared_keys import Recorded
from penstock_auth.errors import DatabaseDown
from penstock_auth.key_book import KeyBook
from penstock_catalog.documents import AuthCatalog, DeclaredKey, Plan


class Database:
    """SQL that is down for the first few calls and refuses nobody."""

    def __init__(self, down: int) -> None:
        self.down = down
        self.refused: tuple[str, ...] = ()

    async def write(self, work, *, repeatable):
        assert repeatable
        if self.down:
            self.down -= 1
            raise DatabaseDown("gone")
        return Recorded(self.refused)


class Source:
    def __init__(self, *documents) -> None:
        self.documents = documents

    async def changes(self):
        for document in self.documents:
            yield document


def declared(number: int, **more) -> DeclaredKey:
    return DeclaredKey(name="n", id=f"k{number}", prefix="p", digest=f"{number:064x}", project="p", plan="team", **more)


async def follow(monkeypatch, database, *documents):
    monkeypatch.setattr(catalog_follower, "_PAUSE_SECONDS", 0.0)
    keys, hub = KeyBook(database, monotonic=lambda: 0.0), ChangeHub()
    follower = CatalogFollower(Source(*documents), database, keys, hub, lambda: 1)
    with hub.watch() as watcher:
        async with asyncio.timeout(30):
            await follower.run()
        heard = []
        while (numbered := await watcher.next(0)).change.kind is not ChangeKind.HEARTBEAT:
            heard.append(numbered.change)
    return follower, keys, heard


async def test_a_catalog_is_in_force_only_when_sql_has_its_prices(monkeypatch):
    document = AuthCatalog(plans=(Plan(name="team"),)).sealed()
    follower, keys, heard = await follow(monkeypatch, Database(down=3), document)
    assert follower.loaded.is_set()
    assert keys.catalog.version == document.version
    assert [change.kind for change in heard] == [ChangeKind.EVERYTHING]


async def test_edges_hear_of_what_changed_and_of_everything_when_it_is_much(monkeypatch):
    first = AuthCatalog(plans=(Plan(name="team"),), api_keys=(declared(1),)).sealed()
    second = AuthCatalog(plans=(Plan(name="team"),), api_keys=(declared(1, mode="Revoked"),)).sealed()
    third = AuthCatalog(api_keys=tuple(declared(n) for n in range(300))).sealed()
    _, keys, heard = await follow(monkeypatch, Database(down=0), first, second, third)
    assert [(change.kind.value, change.subject) for change in heard] == [
        ("everything", ""),
        ("key", f"{1:064x}"),
        ("everything", ""),
    ]
    assert len(keys.catalog.declared) == 300


async def test_refused_keys_are_not_in_force(monkeypatch):
    database = Database(down=0)
    database.refused = ("k1",)
    document = AuthCatalog(api_keys=(declared(1), declared(2))).sealed()
    _, keys, _ = await follow(monkeypatch, database, document)
    assert [key.id for key in keys.catalog.declared.values()] == ["k2"]


async def test_plans_are_in_force_also_while_sql_is_down(monkeypatch):
    plans = Plan(name="team", max_concurrent_requests=9), Plan(name="gone"), Plan(name="small")
    first = AuthCatalog(plans=plans, api_keys=(declared(1), declared(2))).sealed()
    lowered = Plan(name="team", max_concurrent_requests=1)
    moved = declared(2).model_copy(update={"plan": "small"})
    second = AuthCatalog(plans=(lowered, plans[2]), api_keys=(declared(1), moved)).sealed()
    database = Database(down=0)
    monkeypatch.setattr(catalog_follower, "_PAUSE_SECONDS", 0.0)
    keys, hub = KeyBook(database, monotonic=lambda: 0.0), ChangeHub()

    class Outage:
        async def changes(self):
            yield first
            database.down = 10**9
            yield second
            await asyncio.Event().wait()

    following = asyncio.create_task(CatalogFollower(Outage(), database, keys, hub, lambda: 1).run())
    async with asyncio.timeout(30):
        with hub.watch() as watcher:
            told = [(await watcher.next(30)).change for _ in range(4)]
    following.cancel()
    assert [(change.kind.value, change.subject) for change in told] == [
        ("everything", ""),
        ("plan", "team"),
        ("plan", "gone"),
        ("key", f"{2:064x}"),
    ]
    assert keys.catalog.version == first.version
    assert dict(keys.catalog.plans) == {"team": lowered, "small": plans[2]}
    assert [key.plan for key in keys.catalog.declared.values()] == ["team", "small"]


async def test_what_is_revoked_ends_also_while_sql_is_down(monkeypatch):
    """The last catalog comes while an earlier one still waits for SQL; what it adds waits too."""
    ends = 2_000_000_000_000
    first = AuthCatalog(api_keys=tuple(declared(n) for n in (1, 2, 3, 4))).sealed()
    second = AuthCatalog(api_keys=(declared(1), declared(2), declared(3), declared(4), declared(5))).sealed()
    third = AuthCatalog(
        api_keys=(declared(1, mode="Revoked"), declared(3, expires_at_ms=ends), declared(4), declared(5))
    ).sealed()
    database, more = Database(down=0), asyncio.Event()
    monkeypatch.setattr(catalog_follower, "_PAUSE_SECONDS", 0.0)
    keys, hub = KeyBook(database, monotonic=lambda: 0.0), ChangeHub()

    class Outage:
        async def changes(self):
            yield first
            database.down = 10**9
            yield second
            yield third
            await more.wait()

    follower = CatalogFollower(Outage(), database, keys, hub, lambda: 1)
    following = asyncio.create_task(follower.run())
    async with asyncio.timeout(30):
        with hub.watch() as watcher:
            told = {(await watcher.next(30)).change.subject for _ in range(4)}
        assert told == {"", *(f"{n:064x}" for n in (1, 2, 3))}
        assert keys.catalog.version == first.version
        states = {key.id: (key.state, key.expires_at_ms) for key in keys.catalog.declared.values()}
        assert states == {"k1": ("Disabled", 0), "k2": ("Withdrawn", 0), "k3": ("Active", ends), "k4": ("Active", 0)}
        database.down = 0
        more.set()
        await following
    assert keys.catalog.version == third.version
    assert {key.id for key in keys.catalog.declared.values()} == {"k1", "k3", "k4", "k5"}
