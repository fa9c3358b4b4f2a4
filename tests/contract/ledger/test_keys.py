"""Keys, projects, credit, sessions, audit and the log of changes on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from penstock_auth import audit, bulletin, change_log, credit, keys, projects
from penstock_auth import sessions as sessions_module
from penstock_auth.bulletin import MemoryBulletin, Posted
from penstock_auth.changes import Change, ChangeKind
from penstock_auth.counters import StoreDown
from penstock_auth.declared_keys import record_declared
from penstock_auth.errors import Conflict, DatabaseDown, Invalid, KeyInDoubt, NotFound, TooMany
from penstock_auth.key_book import KeyBook
from penstock_auth.keys import KeyOrder, KeyState
from penstock_auth.plans import view
from penstock_auth.sessions import SessionBook
from penstock_auth.spend import read_spend
from penstock_auth.truth import SqlTruth
from penstock_catalog import api_key
from penstock_catalog.documents import AuthCatalog, DeclaredKey, Plan, PlanLimit
from tests.contract.ledger.books import NOW, settlement


def new_text(seed: int = 1) -> api_key.ApiKey:
    return api_key.generate("psk_", lambda count: bytes((seed * 7 + n) % 256 for n in range(count)))


async def rotate(books, key_id, made, overlap=0, *, most=100):
    return await books.database.write(lambda c: keys.rotate(c, key_id, made, overlap, lambda _: most, books.now))


async def test_a_key_is_found_by_digest_and_its_text_is_nowhere(books, database_url):
    made = new_text()
    await books.database.write(lambda c: keys.create(c, KeyOrder("fresh", "team", "ci"), made, 10, NOW))
    found = await books.database.read(lambda c: keys.find_by_digest(c, made.digest))
    assert (found.id, found.project, found.plan, found.name, found.prefix) == (
        made.id,
        "fresh",
        "team",
        "ci",
        made.shown,
    )
    assert found.state_at(NOW) is KeyState.ACTIVE
    assert await books.database.read(lambda c: projects.get(c, "fresh"))
    assert await books.database.read(lambda c: keys.find_by_digest(c, b"?" * 32)) is None

    def everything(c):
        return str([c.execute(text(f"SELECT * FROM {name}")).all() for name in ("api_keys", "audit", "projects")])

    assert made.text[-38:] not in await books.database.read(everything)


@pytest.mark.parametrize(
    "order",
    [
        KeyOrder("", "team"),
        KeyOrder("-x", "team"),
        KeyOrder("x" * 64, "team"),
        KeyOrder("\u212aelvin", "team"),  # no K, though it looks like one
        KeyOrder("p", "team", name="n" * 300),
        KeyOrder("p", "team", name="a\0"),
        KeyOrder("p", "team", expires_at_ms=NOW),
        KeyOrder("p", "team", expires_at_ms=2**62),
        KeyOrder("p", "team", spend_limit_micro=-1),
        KeyOrder("p", "team", spend_limit_micro=2**60),
        KeyOrder("p", "team", spend_limit_period="Week"),
    ],
)
async def test_orders_that_make_no_sense(books, order):
    with pytest.raises(Invalid):
        await books.database.write(lambda c: keys.create(c, order, new_text(), 10, NOW))
    assert await books.database.read(lambda c: projects.get(c, order.project or "p")) is None


async def test_a_plan_bounds_the_keys_in_use(books):
    async def create(seed, **more):
        order = KeyOrder("full", "team", **more)
        return await books.database.write(lambda c: keys.create(c, order, new_text(seed), 2, NOW))

    first = await create(1)
    await create(2)
    with pytest.raises(TooMany, match="2 keys"):
        await create(3)
    await books.database.write(lambda c: keys.disable(c, first.id))
    await create(4, expires_at_ms=NOW + 5)
    with pytest.raises(TooMany):
        await create(5)


async def test_disable_and_expiry(books):
    key = await books.add_key("e", expires_at_ms=NOW + 10)
    assert key.state_at(NOW + 9) is KeyState.ACTIVE
    assert key.state_at(NOW + 10) is KeyState.EXPIRED
    for _ in range(2):
        assert (await books.database.write(lambda c: keys.disable(c, "e"))).state_at(NOW) is KeyState.DISABLED
    with pytest.raises(NotFound, match="no key with this id"):
        await books.database.write(lambda c: keys.disable(c, "nobody"))
    with pytest.raises(NotFound):
        await books.database.read(lambda c: keys.get(c, "nobody"))


@pytest.mark.parametrize(("overlap", "old_state"), [(0, KeyState.DISABLED), (60, KeyState.ACTIVE)])
async def test_rotation_keeps_the_facts_and_what_was_spent(books, overlap, old_state):
    await books.add_key(
        "old", name="ci", spend_limit_micro=10**6, spend_limit_period="Month", expires_at_ms=NOW + 10**9
    )
    await books.settle(settlement(key_id="old"))
    made = new_text()
    new, old = await rotate(books, "old", made, overlap)
    same = {"id": "", "digest": b"", "prefix": "", "state": "", "expires_at_ms": 0, "counted_as": ""}
    assert replace(new, **same) == replace(old, **same)
    assert (new.expires_at_ms, new.state, new.counted_as) == (NOW + 10**9, "Active", "old")
    assert old.state_at(NOW) is old_state
    assert old.state_at(NOW + 60_000) is KeyState.DISABLED
    spent = await books.database.read(lambda c: read_spend(c, ["old", new.id], NOW))
    assert spent[new.id].micro_usd == spent["old"].micro_usd == 4500
    await books.settle(settlement("later", key_id=new.id))
    await books.assert_balanced()
    with pytest.raises(Conflict, match="rotate the key that" if overlap else "disabled; create a new key"):
        await rotate(books, "old", new_text(3))


async def test_all_texts_of_a_rotated_key_share_what_is_left_of_its_spend_limit(books):
    first = await books.add_key("first", spend_limit_micro=10**6)
    second, _ = await rotate(books, "first", new_text(1), 60)
    third, _ = await rotate(books, second.id, new_text(2), 60)
    assert [each.counter for each in (first, second, third)] == ["first", f"first/{second.id}", f"first/{third.id}"]
    for key in (first, second, third):
        await books.settle(settlement(f"req-{key.id}", key_id=key.id))
    spent = await books.database.read(lambda c: read_spend(c, ["first", second.id, third.id], NOW))
    assert {each.micro_usd for each in spent.values()} == {3 * 4500}
    await books.assert_balanced()


async def test_a_plan_bounds_the_keys_that_rotations_leave_in_use(books):
    newest = "k1"
    for seed in (1, 2):
        newest = (await rotate(books, newest, new_text(seed), 60, most=2))[0].id
    with pytest.raises(TooMany, match="without an overlap"):
        await rotate(books, newest, new_text(3), 60, most=2)
    newest = (await rotate(books, newest, new_text(4), most=2))[0].id
    books.now += 60_000
    assert (await rotate(books, newest, new_text(5), 60, most=2))[1].id == newest


async def test_a_key_in_its_overlap_takes_no_place_of_another(books):
    async def create(seed):
        await books.database.write(lambda c: keys.create(c, KeyOrder("one", "team"), new_text(seed), 1, NOW))

    await create(1)
    await rotate(books, new_text(1).id, new_text(2), 60, most=1)
    with pytest.raises(TooMany):
        await create(3)
    await books.database.write(lambda c: keys.disable(c, new_text(2).id))
    await create(3)


async def test_rotation_refuses_absurd_overlaps(books):
    with pytest.raises(Invalid):
        await rotate(books, "k1", new_text(), -1)


def declared(key_id: str = "d1", **changes) -> DeclaredKey:
    facts = {
        "name": "ci",
        "id": key_id,
        "prefix": f"psk_{key_id}",
        "digest": key_id.encode().hex().ljust(64, "0"),
        "project": "declared",
        "plan": "team",
    }
    return DeclaredKey(**(facts | changes))


async def test_declared_keys_are_known_to_the_ledger_also_when_withdrawn(books):
    async def record(*each):
        return await books.database.write(lambda c: record_declared(c, each, NOW))

    assert (await record(declared(), declared("d2"))).refused == ()
    assert (await record(declared(plan="other"))).refused == ()
    assert [(k.id, k.plan, k.state) for k in await books.database.read(lambda c: keys.list_keys(c, "declared"))] == [
        ("d1", "other", "Active"),
        ("d2", "team", "Withdrawn"),
    ]
    batch = await books.settle(settlement(project="declared", key_id="d2"))
    assert batch.fresh == {"req_1"}
    assert (await record(declared(), declared("d2", mode="Revoked"))).refused == ()
    states = {k.id: k.state for k in await books.database.read(lambda c: keys.list_keys(c, "declared"))}
    assert states == {"d1": "Active", "d2": "Disabled"}
    with pytest.raises(Conflict, match="APIKey resource 'ci'"):
        await books.database.write(lambda c: keys.disable(c, "d1"))
    with pytest.raises(Conflict):
        await rotate(books, "d1", new_text())


async def test_declared_keys_never_take_anothers_place(books):
    own = await books.add_key("mine")
    bad = [
        declared("mine"),
        declared("thief", digest=own.digest.hex()),
        declared("nameless", project="-no-"),
        declared("fine"),
    ]
    recorded = await books.database.write(lambda c: record_declared(c, bad, NOW))
    assert recorded.refused == ("mine", "nameless", "thief")
    assert (await books.database.read(lambda c: keys.find_by_digest(c, own.digest))).id == "mine"


async def test_credit_is_a_list_whose_sum_is_the_balance(books):
    async def add(amount, kind="topup", key="", note=""):
        return await books.database.write(
            lambda c: credit.add_entry(
                c, project="demo", kind=kind, amount_micro=amount, note=note, idempotency_key=key, now_ms=NOW
            )
        )

    first, fresh = await add(1000, key="one", note="invoice 1")
    assert fresh
    assert (await add(1000, key="one")) == (first, False)
    with pytest.raises(Conflict, match="idempotency key"):
        await add(2000, key="one")
    await add(-300, "adjustment")
    await add(50, "refund")
    await add(-50, "expiry")
    await books.settle(settlement())
    entries, balance = await books.database.read(lambda c: credit.list_entries(c, "demo", 3))
    assert balance == 700 - 4500
    assert [(e.kind, e.amount_micro, e.balance_micro) for e in entries] == [
        ("charge", -4500, -3800),
        ("expiry", -50, 700),
        ("refund", 50, 750),
    ]
    assert entries[0].request_id == "req_1"
    await books.assert_balanced()


async def test_an_idempotency_key_that_two_projects_use_at_once_is_a_conflict_for_one(books):
    await books.database.write(lambda c: projects.ensure(c, "other", NOW))
    both = threading.Barrier(2)

    def add(c, project):
        made = credit.add_entry(
            c, project=project, kind="topup", amount_micro=5, note="", idempotency_key="same", now_ms=NOW
        )
        with contextlib.suppress(threading.BrokenBarrierError):  # The other one waits for this one's commit.
            both.wait(1)
        return made

    writes = [books.database.write(lambda c, name=name: add(c, name)) for name in ("demo", "other")]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sorted(type(each).__name__ for each in results) == ["Conflict", "tuple"]
    await books.assert_balanced()


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "charge"},
        {"kind": ""},
        {"amount_micro": 0},
        {"amount_micro": -5},
        {"amount_micro": 10**16},
        {"kind": "expiry"},
        {"note": "n" * 501},
        {"idempotency_key": "i" * 200},
    ],
)
async def test_entries_that_make_no_sense(books, wrong):
    entry = {"project": "demo", "kind": "topup", "amount_micro": 5, "note": "", "idempotency_key": "", "now_ms": NOW}
    with pytest.raises(Invalid):
        await books.database.write(lambda c: credit.add_entry(c, **(entry | wrong)))


async def test_a_balance_stays_where_every_store_is_exact(books):
    for _ in range(9):
        await books.top_up(10**15)
    with pytest.raises(Invalid, match="balance"):
        await books.top_up(10**15)
    assert await books.balance() == 9 * 10**15


async def test_credit_needs_a_project(books):
    entry = {"kind": "topup", "amount_micro": 5, "note": "", "idempotency_key": "", "now_ms": NOW}
    with pytest.raises(NotFound):
        await books.database.write(lambda c: credit.add_entry(c, project="nobody", **entry))
    with pytest.raises(NotFound):
        await books.database.read(lambda c: credit.list_entries(c, "nobody", 5))


async def test_audit_is_newest_first(books):
    await books.database.write(lambda c: [audit.note(c, "a" * 500, f"act.{n}", "s\0", NOW + n) for n in range(3)])
    entries = await books.database.read(lambda c: audit.list_audit(c, 2))
    assert [(e.action, e.subject, len(e.actor)) for e in entries] == [("act.2", "s?", 128), ("act.1", "s?", 128)]


async def test_sessions_are_waited_for_until_they_end_or_are_lost(books):
    book = SessionBook(books.database, lambda: books.now)
    for name in ("a", "b", "c"):
        await book.seen(name, "edge-0")
    await book.ended("b")
    await book.ended("never-seen", "edge-9")
    assert sorted(await book.unclean()) == ["a", "c"]
    await book.lost(["a"])
    assert await book.unclean() == ["c"]
    await book.seen("a")  # It lives after all.
    assert sorted(await book.unclean()) == ["a", "c"]
    books.now += 60_000
    await book.seen("c")
    await book.sweep(books.now - 30_000)
    assert await book.unclean() == ["c"]


async def test_a_dead_session_is_not_waited_for_until_a_time_that_a_wrong_clock_noted(books):
    book = SessionBook(books.database, lambda: books.now)
    books.now = NOW + 3_600_000
    await book.seen("a")
    books.now = NOW  # The clock was put right.
    await book.seen("a")
    books.now = NOW + 60_000
    await book.sweep(books.now - 30_000)
    assert await book.unclean() == []


class Down:
    """A database that never answers, and counts how often it was asked."""

    shared = False

    def __init__(self):
        self.asked = 0

    async def read(self, *_, **__):
        self.asked += 1
        raise DatabaseDown("gone")

    write = read


async def test_a_session_is_written_seldom_and_never_lent_to_unwritten(books):
    book = SessionBook(books.database, lambda: books.now)
    await book.seen("a")
    down = Down()
    book._database = down
    await book.seen("a")
    assert down.asked == 0
    books.now += 10_000
    await book.seen("a")  # Known to SQL, so its silence there can wait.
    assert down.asked == 1
    with pytest.raises(DatabaseDown):
        await book.seen("new")


class Frozen(Down):
    """A database that keeps each call waiting for as long as it is willing to wait."""

    def __init__(self):
        super().__init__()
        self.patience = []
        self.waiting = asyncio.Event()

    async def read(self, *_, seconds=None, **__):
        self.patience.append(seconds)
        await self.waiting.wait()
        raise DatabaseDown("no answer in time")

    write = read


async def test_of_many_calls_of_a_known_session_one_waits_a_moment_for_a_frozen_database(books):
    book = SessionBook(books.database, lambda: books.now)
    await book.seen("a")
    book._database = frozen = Frozen()
    books.now += 10_000
    first = asyncio.create_task(book.seen("a"))
    await asyncio.sleep(0)
    for _ in range(5):
        await book.seen("a")
    assert frozen.patience == [1.0]
    frozen.waiting.set()
    await first
    await book.seen("a")
    books.now += 10_000
    await book.seen("a")
    assert frozen.patience == [1.0, 1.0]


async def test_a_known_key_waits_a_moment_for_a_frozen_database_and_not_each_time(books):
    clock = [0.0]
    book = KeyBook(books.database, monotonic=lambda: clock[0])
    key = await books.add_key("cached")
    await book.find(key.digest)
    book._database = frozen = Frozen()
    frozen.waiting.set()
    clock[0] = 60.0
    for _ in range(5):
        assert (await book.find(key.digest)).id == "cached"
    assert frozen.patience == [1.0]
    clock[0] = 62.0
    await book.find(key.digest)
    assert frozen.patience == [1.0, 1.0]
    book._database = books.database
    await books.database.write(lambda c: keys.disable(c, "cached"))
    book.doubt(key.digest)
    assert (await book.find(key.digest)).state == "Disabled"
    book._database = frozen
    clock[0] = 1000.0
    with pytest.raises(DatabaseDown):
        await book.find(key.digest)
    assert frozen.patience == [1.0, 1.0, None]


async def test_what_counters_are_told_after_a_loss(books):
    plan = Plan(name="team", limits=(PlanLimit(name="m", unit="Requests", amount=5, window_ms=60_000),))
    book = KeyBook(books.database, monotonic=lambda: 0.0)
    book.catalog = view(AuthCatalog(plans=(plan,)).sealed())
    sessions = SessionBook(books.database, lambda: books.now)
    await sessions.seen("a")
    truth = SqlTruth(books.database, sessions, book, lambda: books.now)
    await books.settle(settlement("in"), settlement("out", admitted_at_ms=NOW - 10**7))
    assert list(await truth.unclean_sessions()) == ["a"]
    history = await truth.history("demo")
    assert [row.request_id for row in history.rows] == ["in"]
    assert history.limits["k1"][0].window_ms == 60_000


async def test_counters_hear_that_sql_is_down(books):
    sessions = SessionBook(Down(), lambda: NOW)
    truth = SqlTruth(Down(), sessions, KeyBook(Down(), monotonic=lambda: 0.0), lambda: NOW)
    for ask in (truth.unclean_sessions(), truth.history("demo")):
        with pytest.raises(StoreDown, match="ledger"):
            await ask


async def test_sessions_beyond_what_is_remembered_and_spend_of_keys_that_are_not_there(books, monkeypatch):
    monkeypatch.setattr(sessions_module, "_REMEMBERED", 2)
    book = SessionBook(books.database, lambda: books.now)
    for number in range(5):
        await book.seen(f"s{number}")
    assert list(book._written) == ["s3", "s4"]
    await books.add_key("k2")
    await books.settle(settlement("a"), settlement("b", key_id="k2"))
    spent = await books.database.read(lambda c: read_spend(c, ["k1", "k2", "none"], NOW))
    assert {key: each.micro_usd for key, each in spent.items()} == {"k1": 4500, "k2": 4500}


async def test_key_book_reads_sql_once_and_goes_on_while_it_is_down(books):
    clock = [0.0]
    book = KeyBook(books.database, monotonic=lambda: clock[0], limit=2)
    key = await books.add_key("cached")
    assert (await book.find(key.digest)).id == "cached"
    await books.database.write(lambda c: keys.disable(c, "cached"))
    assert (await book.find(key.digest)).state == "Active"
    book.doubt(key.digest)
    assert (await book.find(key.digest)).state == "Disabled"
    unknown = b"u" * 32
    assert await book.find(unknown) is None
    book._database = Down()
    assert await book.find(unknown) is None
    clock[0] = 60.0
    assert (await book.find(key.digest)).id == "cached"
    with pytest.raises(DatabaseDown):
        await book.find(unknown)
    clock[0] = 2000.0
    with pytest.raises(DatabaseDown):
        await book.find(key.digest)
    book._database = books.database
    for seed in range(5):
        await book.find(bytes([seed]) * 32)
    assert len(book._places) == 2


async def test_many_keys_are_read_at_once_and_not_again(books):
    clock = [0.0]
    book = KeyBook(books.database, monotonic=lambda: clock[0])
    one, left = declared("d1"), declared("d2")
    await books.database.write(lambda c: record_declared(c, [one, left], NOW))
    book.catalog = view(AuthCatalog(api_keys=(one,)).sealed())
    own = [(await books.add_key(f"k-{n}")).digest for n in range(3)]
    both = [bytes.fromhex(each.digest) for each in (one, left)]
    found = await book.find_many([*own, *both, b"?" * 32])
    assert [found[digest].id for digest in (*own, *both)] == ["k-0", "k-1", "k-2", "d1", "d2"]
    assert [found[digest].state for digest in both] == ["Active", "Withdrawn"]
    assert b"?" * 32 not in found
    book._database = Down()
    clock[0] = 60.0  # They are old, but what is asked of them does not change.
    assert await book.find_many([*own, *both]) == {digest: key for digest, key in found.items() if key}
    with pytest.raises(DatabaseDown):
        await book.find_many([*own, b"?" * 32])
    assert book._database.asked == 1


async def test_a_key_that_was_read_before_it_was_disabled_is_not_remembered(books):
    key = await books.add_key("cached")

    class Slow:
        """Answers with what stood there when it was asked, after the change."""

        async def read(self, work, **_):
            found = await books.database.read(work)
            await books.database.write(lambda c: keys.disable(c, "cached"))
            book.doubt(key.digest)
            return found

    book = KeyBook(Slow(), monotonic=lambda: 0.0)
    assert (await book.find(key.digest)).state == "Active"
    book._database = books.database
    assert (await book.find(key.digest)).state == "Disabled"


async def test_a_key_in_doubt_goes_on_only_when_sql_says_how(books):
    clock = [0.0]
    book = KeyBook(books.database, monotonic=lambda: clock[0])
    one, other = await books.add_key("one"), await books.add_key("other")
    for each in (one, other):
        await book.find(each.digest)
    book._database = frozen = Frozen()
    frozen.waiting.set()
    book.doubt(one.digest)
    for clock[0] in (0.0, 1.0, 2000.0):
        with pytest.raises(KeyInDoubt) as doubt:
            await book.find(one.digest)
        assert doubt.value.key.id == "one"
    # Asked again not each time, and in time for the edge that waits; what it holds is declared all the same.
    assert frozen.patience == [1.0, 1.0]
    clock[0] = 20.0
    assert (await book.find_many([one.digest]))[one.digest].id == "one"
    assert (await book.find(other.digest)).id == "other"
    book.doubt_all()
    with pytest.raises(KeyInDoubt):
        await book.find(other.digest)
    book._database = books.database
    clock[0] = 22.0
    await books.database.write(lambda c: keys.disable(c, "one"))
    assert [(await book.find(each.digest)).state for each in (one, other)] == ["Disabled", "Active"]
    book._database = Down()
    assert [(await book.find(each.digest)).state for each in (one, other)] == ["Disabled", "Active"]


async def test_a_key_that_comes_into_doubt_while_sql_is_asked_does_not_go_on(books):
    clock = [0.0]
    book = KeyBook(books.database, monotonic=lambda: clock[0])
    key = await books.add_key("cached")
    await book.find(key.digest)

    class Late:
        async def read(self, *_, **__):
            book.doubt(key.digest)
            raise DatabaseDown("too late")

    book._database = Late()
    clock[0] = 60.0
    with pytest.raises(KeyInDoubt):
        await book.find(key.digest)


async def test_a_declared_key_out_of_the_catalog_is_withdrawn(books):
    book = KeyBook(books.database, monotonic=lambda: 0.0)
    one = declared()
    await books.database.write(lambda c: record_declared(c, [one], NOW))
    found = await book.find(bytes.fromhex(one.digest))
    assert found.state_at(NOW) is KeyState.WITHDRAWN
    book.catalog = view(AuthCatalog(api_keys=(one,)).sealed())
    assert (await book.find(bytes.fromhex(one.digest))).state_at(NOW) is KeyState.ACTIVE


def change_log_of(books, heard, bulletin, clock=(0.0,), database=None):
    return change_log.ChangeLog(
        database or books.database, heard.append, bulletin, now_ms=lambda: books.now, monotonic=lambda: clock[0]
    )


async def test_replicas_hear_of_each_others_changes(books):
    heard: list[Change] = []
    log = change_log_of(books, heard, MemoryBulletin())
    before = Change(ChangeKind.PROJECT, "before")
    await books.database.write(lambda c: change_log.write(c, before, NOW))
    await log.look()
    assert heard == []
    changes = [Change(ChangeKind.KEY, "00" * 32), Change(ChangeKind.PROJECT, "demo")]
    for change in changes:
        await books.database.write(lambda c, change=change: change_log.write(c, change, NOW))
    await log.look()
    await log.look()
    assert heard == changes
    running = asyncio.create_task(log.run(0.01))
    await books.database.write(lambda c: change_log.write(c, before, NOW))
    async with asyncio.timeout(30):
        while len(heard) < 3:
            await asyncio.sleep(0.01)
    running.cancel()
    books.now += 10**7
    await books.database.write(log._tidy)
    assert await books.database.read(lambda c: c.execute(text("SELECT count(*) FROM changes")).scalar()) == 0


class Switch:
    """A database, a bulletin or whatever answers by `read`, that can be told to be down."""

    def __init__(self, to, error) -> None:
        self._to = to
        self._error = error
        self.down = False
        self.calls = 0

    def __getattr__(self, name):
        async def call(*args, **more):
            self.calls += 1
            if self.down:
                raise self._error
            return await getattr(self._to, name)(*args, **more)

        return call


async def written(books, *changes: Change) -> None:
    for change in changes:
        await books.database.write(lambda c, change=change: change_log.write(c, change, books.now))


async def test_a_replica_without_sql_hears_from_the_bulletin_what_others_read(books):
    clock, heard, shared = [0.0], [], MemoryBulletin()
    sql, store = Switch(books.database, DatabaseDown("cut")), Switch(shared, StoreDown("cut"))
    there, here = change_log_of(books, [], shared), change_log_of(books, heard, store, clock, sql)
    first, second, third = (Change(ChangeKind.KEY, f"{n:064x}") for n in range(3))
    await written(books, first)
    await there.look()
    await here.look()
    asked = store.calls
    sql.down = True
    await written(books, second)
    await there.look()
    await here.look_without_sql()
    assert (heard, store.calls) == ([], asked)  # It has read the log just now.
    clock[0] = 1.0
    store.down = True
    with pytest.raises(StoreDown):
        await here.look_without_sql()
    store.down = False
    await here.look_without_sql()
    await here.look_without_sql()
    assert heard == [second]
    await written(books, third)
    await there.look()
    await here.look_without_sql()
    assert heard == [second, third]
    sql.down = False
    await here.look()
    asked = store.calls
    await here.look_without_sql()
    assert (heard, store.calls) == ([second, third, second, third], asked)


async def test_what_could_not_be_posted_is_posted_later_and_what_was_lost_again(books):
    shared = MemoryBulletin()
    store = Switch(shared, StoreDown("cut"))
    log = change_log_of(books, [], store)
    await written(books, Change(ChangeKind.PROJECT, "one"))
    store.down = True
    await log.look()
    assert await shared.read() == []
    store.down = False
    await written(books, Change(ChangeKind.PROJECT, "two"))
    await log.look()
    assert [each.change.subject for each in await shared.read()] == ["one", "two"]
    calls = store.calls
    await log.look()
    assert store.calls == calls
    shared._posted.clear()
    await log.look(post_all=True)
    assert [each.change.subject for each in await shared.read()] == ["one", "two"]
    books.now += 10**7
    await books.database.write(log._tidy)
    await log.look(post_all=True)
    assert await shared.read() == []


async def test_a_replica_that_may_have_missed_something_doubts_everything_once(books, monkeypatch):
    monkeypatch.setattr(bulletin, "MOST", 3)
    clock, heard, shared = [0.0], [], MemoryBulletin()
    log = change_log_of(books, heard, shared, clock)
    await log.look()
    clock[0] = 1.0
    posted = [Posted(number, Change(ChangeKind.PROJECT, f"p{number}")) for number in range(1, 9)]
    await shared.post(posted[:2], 0)
    await log.look_without_sql()
    await shared.post(posted[2:], 0)
    await log.look_without_sql()
    await log.look_without_sql()
    assert heard == [posted[0].change, posted[1].change, Change(ChangeKind.EVERYTHING)]
