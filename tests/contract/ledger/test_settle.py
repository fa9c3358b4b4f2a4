"""Settlements on both databases: once each, charged by the contract, poison set aside."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError

from penstock_auth.database import open_database
from penstock_auth.errors import DatabaseDown
from penstock_auth.pricing import Usage
from penstock_auth.settlement import State
from penstock_auth.tables import attempts, credit_entries, quarantine, settlements
from penstock_auth.usage import history, list_rows, show, summarize
from penstock_catalog.prices import PriceRow
from tests.contract.ledger.books import NOW, PRICE, Books, attempt, settlement

COST = 1000 * 3 + 100 * 15  # micro-USD of the usual attempt


async def test_a_settlement_becomes_a_row_a_charge_and_spend(books):
    await books.top_up(10_000)
    batch = await books.settle(settlement())
    assert batch.fresh == {"req_1"}
    assert batch.rows["req_1"].cost_micro == COST
    assert batch.balances["demo"].micro_usd == 10_000 - COST
    assert batch.spent["k1"].micro_usd == COST
    assert batch.plans == {"k1": "team"}
    assert await books.balance() == 10_000 - COST
    assert await books.spent() == COST
    assert await books.spent(period="2026-05") == COST
    row = await books.database.read(lambda c: show(c, "req_1"))
    assert (row.account, row.usage, row.cost_micro) == ("account-0", Usage(1000, 100), COST)
    assert [each.cost_micro for each in row.attempts] == [COST]
    await books.assert_balanced()


async def test_versions_grow_with_every_charge(books):
    first = await books.settle(settlement("a"))
    second = await books.settle(settlement("b"))
    assert second.balances["demo"].version > first.balances["demo"].version
    assert second.spent["k1"].version > first.spent["k1"].version


async def test_the_multiplier_is_the_projects_not_the_accounts(books):
    batch = await books.settle(settlement(price_multiplier_ppm=1_500_000))
    assert batch.rows["req_1"].cost_micro == COST * 3 // 2
    row = await books.database.read(lambda c: show(c, "req_1"))
    assert row.attempts[0].cost_micro == COST


@pytest.mark.parametrize(
    ("state", "delivered", "charged"),
    [
        (State.COMPLETE, 1, COST),
        (State.CLIENT_LEFT, 1, COST),
        (State.CLIENT_LEFT, -1, 0),
        (State.ERROR_AFTER_OUTPUT, 1, COST),
        (State.ERROR_BEFORE_OUTPUT, -1, 0),
        (State.ERROR_BEFORE_OUTPUT, 1, 0),
        (State.ABANDONED, -1, 0),
    ],
)
async def test_who_pays_by_state(books, state, delivered, charged):
    tries = (attempt(0, Usage(7, 0), cls="Overloaded", status=529), attempt(1))
    await books.settle(settlement(state=state, delivered=delivered, attempts=tries))
    row = await books.database.read(lambda c: show(c, "req_1"))
    assert row.cost_micro == charged
    assert row.usage == (Usage(1000, 100) if charged else Usage())
    assert [each.cost_micro for each in row.attempts] == [21, COST]
    assert row.account == "account-1"
    assert await books.balance() == -charged
    assert await books.count(credit_entries) == (1 if charged else 0)
    await books.assert_balanced()


async def test_abandoned_without_attempts_is_a_row_without_a_charge(books):
    gone = settlement(state=State.ABANDONED, delivered=-1, attempts=(), price_digest="f" * 16)
    batch = await books.settle(gone)
    assert batch.rows["req_1"].cost_micro == 0
    row = await books.database.read(lambda c: show(c, "req_1"))
    assert (row.account, row.attempts) == ("", ())


async def test_repeats_are_answered_as_committed(books):
    await books.settle(settlement())
    again = await books.settle(settlement(attempts=(attempt(usage=Usage(999_999, 9)),)))
    assert again.fresh == set()
    assert again.rows["req_1"].cost_micro == COST
    assert again.balances["demo"].micro_usd == -COST
    assert await books.count(settlements) == await books.count(attempts) == await books.count(credit_entries) == 1
    await books.assert_balanced()


async def test_an_id_twice_in_one_batch_counts_once(books):
    await books.settle(settlement(), settlement(), settlement("req_2"))
    assert await books.count(settlements) == 2
    assert await books.balance() == -2 * COST


async def test_a_crash_before_the_answer_changes_nothing_on_repetition(books, database_url):
    """The process that committed is gone before it could say so; another one is asked the same."""
    await books.settle(*(settlement(f"r{n}") for n in range(20)))
    other = open_database(database_url, deadline_seconds=60.0)
    try:
        later = Books(other)
        batch = await later.settle(*(settlement(f"r{n}") for n in range(10, 30)))
        assert len(batch.fresh) == 10
        assert len(batch.rows) == 20
    finally:
        await asyncio.to_thread(other.close)
    assert await books.count(settlements) == 30
    assert await books.balance() == -30 * COST
    await books.assert_balanced()


async def test_concurrent_batches_of_the_same_ids_charge_once(books, database_url):
    """Several writers, the same requests in different orders: no deadlock, one charge each."""
    others = [open_database(database_url, deadline_seconds=60.0) for _ in range(3)]
    try:
        ids = [f"r{n:03}" for n in range(60)]
        rounds = []
        for number, each in enumerate([books.database, *others]):
            turned = ids[number * 11 :] + ids[: number * 11]
            made = Books(each)
            rounds += [
                made.settle(*(settlement(i) for i in turned[:45])),
                made.settle(*(settlement(i) for i in turned[15:])),
            ]
        batches = await asyncio.gather(*rounds)
    finally:
        for each in others:
            await asyncio.to_thread(each.close)
    assert sum(len(batch.fresh) for batch in batches) == 60
    assert all(batch.rows[i].cost_micro == COST for batch in batches for i in batch.rows)
    assert await books.count(settlements) == await books.count(attempts) == await books.count(credit_entries) == 60
    assert await books.balance() == -60 * COST
    assert await books.spent() == 60 * COST
    await books.assert_balanced()


POISON = {
    "unknown_price": settlement(price_digest="0" * 16),
    "unknown_project": settlement(project="nobody"),
    "unknown_key": settlement(key_id="nobody"),
    "negative": settlement(attempts=(attempt(usage=Usage(-1, 5)),)),
    "negative time": settlement(ended_at_ms=-5),
    "delivered_range": settlement(delivered=3),
    "delivered_range none": settlement(delivered=-1),
    "delivered_range low": settlement(delivered=-2),
    "duplicate_attempt": settlement(attempts=(attempt(0), attempt(0))),
    "absurd tokens": settlement(attempts=(attempt(usage=Usage(2**40, 5)),)),
    "absurd text": settlement(model="m" * 300),
    "absurd id": settlement("r" * 500),
    "absurd attempts": settlement(attempts=tuple(attempt(n) for n in range(100))),
    "absurd time": settlement(admitted_at_ms=2**60),
    "absurd year": settlement(admitted_at_ms=253_402_300_800_000),
    "malformed": settlement(model="a\0b"),
    "malformed id": settlement("a\0b"),
    "malformed empty": settlement(""),
}


@pytest.mark.parametrize("name", POISON)
async def test_poison_is_set_aside_and_its_neighbours_are_not(books, name):
    books.seconds = 100.0
    bad = POISON[name]
    if name == "unknown_price":
        assert not (await books.settle(bad)).quarantined  # It may still come.
        books.seconds += 11.0
    batch = await books.settle(settlement("good-1"), bad, settlement("good-2"))
    kind = name.partition(" ")[0]
    assert batch.fresh == {"good-1", "good-2"}
    assert {request_id: why for request_id, (why, _) in batch.quarantined.items()} == {bad.request_id: kind}
    again = await books.settle(bad)
    assert again.quarantined == batch.quarantined
    assert await books.count(quarantine) == 1
    assert (await books.reasons())[0].startswith(kind)
    assert await books.balance() == -2 * COST
    await books.assert_balanced()


async def test_a_price_that_comes_late_is_waited_for(books):
    late = PRICE.model_copy(update={"input": 1_000_000})
    late = type(late).model_validate(late.model_dump())
    wanted = settlement(price_digest=late.digest)
    batch = await books.settle(wanted, settlement("other"))
    assert batch.fresh == {"other"}
    assert not batch.quarantined
    from penstock_auth.price_book import record_prices

    await books.database.write(lambda c: record_prices(c, [late], NOW))
    batch = await books.settle(wanted)
    assert batch.rows["req_1"].cost_micro == 1000 * 1 + 100 * 15


async def test_each_request_is_charged_at_the_price_that_it_names(books):
    """Three requests of one batch began before, between and after two changes of the price."""
    from penstock_auth.price_book import record_prices

    rows = [
        type(PRICE).model_validate(PRICE.model_dump() | {"input": dollars * 1_000_000, "effective_at_ms": at})
        for dollars, at in ((2, NOW - 2000), (5, NOW - 1000))
    ]
    await books.database.write(lambda c: record_prices(c, rows, NOW))
    batch = await books.settle(
        settlement("a"), settlement("b", price_digest=rows[0].digest), settlement("c", price_digest=rows[1].digest)
    )
    assert {name: row.cost_micro for name, row in batch.rows.items()} == {"a": COST, "b": COST - 1000, "c": COST + 2000}
    await books.assert_balanced()


async def test_a_price_is_immutable_under_its_digest(books):
    from penstock_auth.price_book import read_prices, record_prices

    class Forged:
        digest = PRICE.digest
        canonical = PRICE.model_copy(update={"input": 1}).canonical

    await books.database.write(lambda c: record_prices(c, [Forged()], NOW))
    found = await books.database.read(lambda c: read_prices(c, {PRICE.digest, "unknown"}))
    assert found == {PRICE.digest: PRICE}


async def test_a_price_that_came_late_is_found_and_then_remembered(books):
    from penstock_auth.price_book import Prices, record_prices

    prices, late = Prices(), PriceRow(**{**PRICE.model_dump(), "input": 7})
    asked = {PRICE.digest, late.digest}
    assert set(await books.database.read(lambda c: prices.find(c, asked))) == {PRICE.digest}
    await books.database.write(lambda c: record_prices(c, [late], NOW))
    assert await books.database.read(lambda c: prices.find(c, asked)) == {PRICE.digest: PRICE, late.digest: late}
    assert prices.find(None, asked).keys() == asked


async def test_a_model_without_a_price_costs_nothing(books):
    batch = await books.settle(settlement(price_digest=""))
    assert batch.rows["req_1"].cost_micro == 0


async def test_what_only_the_database_refuses_is_found_row_by_row(books, monkeypatch):
    honest = books.ledger._settle

    async def picky(batch):
        if any(each.request_id == "bad" for each in batch):
            raise IntegrityError("INSERT", {}, Exception("refused"))
        return await honest(batch)

    monkeypatch.setattr(books.ledger, "_settle", picky)
    batch = await books.settle(settlement("a"), settlement("bad"), settlement("b"))
    assert batch.fresh == {"a", "b"}
    assert batch.quarantined["bad"][0] == "database"
    assert await books.reasons() == ["database: the database refuses it"]


async def test_nothing_is_committed_when_the_transaction_fails(books, monkeypatch):
    from penstock_auth import postings

    def fail(*_):
        raise RuntimeError("the power is gone")

    monkeypatch.setattr(postings, "_figures", fail)
    with pytest.raises(RuntimeError, match="power"):
        await books.settle(settlement())
    assert await books.count(settlements) == await books.count(credit_entries) == 0
    assert await books.balance() == 0


async def test_what_could_not_be_committed_is_not_acknowledged(books, database):
    """The statements went well, but COMMIT itself fails, as on a full disk."""

    def fail(_connection):
        raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    event.listen(database.engine, "commit", fail)
    with pytest.raises(DatabaseDown):
        await books.settle(settlement())
    event.remove(database.engine, "commit", fail)
    assert await books.count(settlements) == await books.balance() == 0
    assert (await books.settle(settlement())).fresh == {"req_1"}
    await books.assert_balanced()


async def test_months_are_charged_by_admission(books):
    await books.add_key("monthly", spend_limit_micro=10**9, spend_limit_period="Month")
    june = 1_780_272_000_000  # 2026-06-01T00:00Z
    books.now = june + 1000
    batch = await books.settle(
        settlement("may", key_id="monthly", admitted_at_ms=june - 1),
        settlement("june", key_id="monthly", admitted_at_ms=june),
    )
    assert await books.spent("monthly", "2026-05") == COST
    assert await books.spent("monthly", "2026-06") == COST
    assert batch.spent["monthly"].micro_usd == COST
    books.now = june + 40 * 86_400_000
    later = await books.settle(settlement("may", key_id="monthly", admitted_at_ms=june - 1))
    assert later.spent["monthly"].micro_usd == 0
    assert later.spent["monthly"].version > batch.spent["monthly"].version


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_page_is_read_from_where_it_begins_and_not_from_the_newest_row(books):
    statements = []

    def plan(c):
        event.listen(
            c, "before_cursor_execute", lambda _c, _cursor, text, values, *_: statements.append((text, values))
        )
        list_rows(c, project="demo", since_ms=0, state="", limit=4, page_token=f"{NOW}.req_1")
        text, values = next(each for each in statements if "FROM settlements" in each[0])
        return str(c.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all())

    assert "project=? AND admitted_at_ms<?" in await books.database.read(plan)


async def test_rows_are_listed_newest_first_in_pages(books):
    await books.add_key("k2", project="other")
    await books.settle(
        *(settlement(f"r{n}", admitted_at_ms=NOW + n // 2) for n in range(10)),
        settlement("x", project="other", key_id="k2"),
        settlement("gone", state=State.ABANDONED, delivered=-1, attempts=(), admitted_at_ms=NOW + 50),
    )

    async def page(token="", **changes):
        wish = {"project": "demo", "since_ms": 0, "state": "", "limit": 4, "page_token": token} | changes
        return await books.database.read(lambda c: list_rows(c, **wish))

    seen, token = [], ""
    while True:
        rows, token = await page(token)
        seen += [row.request_id for row in rows]
        if not token:
            break
    assert seen == ["gone", *(f"r{n}" for n in range(9, -1, -1))]
    assert [row.request_id for row in (await page(state="abandoned"))[0]] == ["gone"]
    assert [row.request_id for row in (await page(since_ms=NOW + 4))[0]] == ["gone", "r9", "r8"]
    assert len((await page(project="", limit=0))[0]) == 12


async def test_sums_are_of_what_was_charged(books):
    usage = Usage(1, 2, 3, 4, 5)
    await books.settle(
        settlement("a", attempts=(attempt(usage=usage),)),
        settlement("b", attempts=(attempt(usage=usage),), admitted_at_ms=NOW + 10),
        settlement("c", state=State.ERROR_BEFORE_OUTPUT, delivered=-1, attempts=(attempt(usage=usage),)),
    )
    whole = await books.database.read(lambda c: summarize(c, project="demo", since_ms=0, until_ms=0))
    assert (whole.requests, whole.usage) == (3, Usage(2, 4, 6, 8, 10))
    assert whole.cost_micro == -await books.balance()
    part = await books.database.read(lambda c: summarize(c, project="", since_ms=NOW + 1, until_ms=NOW + 11))
    assert (part.requests, part.usage) == (1, usage)
    none = await books.database.read(lambda c: summarize(c, project="demo", since_ms=NOW + 99, until_ms=0))
    assert (none.requests, none.usage, none.cost_micro) == (0, Usage(), 0)


async def test_history_names_recent_rows_and_sums_old_ones(books):
    usage = Usage(10, 5, 1, 1, 1)
    old = NOW - 3_600_000
    books.now = old
    await books.settle(
        *(settlement(f"old{n}", admitted_at_ms=old + n, attempts=(attempt(usage=usage),)) for n in range(3)),
        settlement("older", admitted_at_ms=old - 10_000_000),
    )
    books.now = NOW
    await books.settle(settlement("new", attempts=(attempt(usage=usage),)), settlement("late", admitted_at_ms=old))
    rows = await books.database.read(lambda c: history(c, "demo", old - 1000, NOW))
    named = {row.request_id: row for row in rows if row.request_id}
    assert set(named) == {"new", "late"}
    assert (named["new"].input_tokens, named["new"].output_tokens, named["new"].requests) == (13, 5, 1)
    summed = [row for row in rows if not row.request_id]
    assert sum(row.requests for row in summed) == 3
    assert sum(row.input_tokens for row in summed) == 39
    assert sum(row.output_tokens for row in summed) == 15
    assert max(row.admitted_at_ms for row in summed) == old + 2
    assert sum(row.micro_usd for row in rows) == sum(
        [
            each.cost_micro
            for each in (
                await books.database.read(
                    lambda c: list_rows(c, project="demo", since_ms=old - 1000, state="", limit=0, page_token="")
                )
            )[0]
        ]
    )
