"""A project's counters: what they forget, and that a batch counts as its rows would one by one."""

from __future__ import annotations

from dataclasses import replace

from penstock_auth.books import Books
from penstock_auth.counters import LedgerRow, Limit, ProjectHistory, SettleEffect, Unit, Versioned

LIMITS = (
    Limit("requests", Unit.REQUESTS, 1000, 60_000),
    Limit("tokens", Unit.TOTAL_TOKENS, 1000, 60_000),
    Limit("output", Unit.OUTPUT_TOKENS, 1000, 60_000),
    Limit("money", Unit.COST, 1000, 3_600_000),
)
NOW = 1_780_000_000_000


def effect(number: int, at: int = NOW) -> SettleEffect:
    return SettleEffect(
        project="p",
        key="k",
        session="s",
        request_id=f"r{number}",
        admitted_at_ms=at,
        input_tokens=10 + number,
        output_tokens=number,
        micro_usd=100,
        limits=LIMITS,
        balance=Versioned(1000 - number, number),
        spent=Versioned(number, number),
    )


def totals(books: Books) -> dict[str, int]:
    return {name: window.total for name, window in books._windows.items()}


def counts(books: Books) -> dict[str, dict[int, int]]:
    return {name: window._counts for name, window in books._windows.items()}


def test_a_batch_counts_as_its_rows_one_by_one():
    effects = [effect(number, NOW - number * 700) for number in (1, 2, 2, 5, 3)]
    together, apart = Books(), Books()
    together.settle(effects, NOW, absent=True)
    for each in effects:
        apart.settle([each], NOW, absent=True)
    assert totals(together) == totals(apart)
    assert counts(together) == counts(apart)
    assert sorted(totals(together).values()) == [4, 11, 62, 400]
    assert together._facts == apart._facts == {"*": (5, 995), "k": (5, 5)}


def test_what_was_counted_is_not_counted_again_by_a_rebuild_or_after_it():
    books, row = Books(), LedgerRow("k", NOW - 1_000_000, 1, 11, 1, 100, "r1")
    old = effect(1, NOW - 1_000_000)
    books.settle([old], NOW, absent=False)
    history = ProjectHistory([row, replace(row, request_id="r2", input_tokens=12)], {"k": LIMITS})
    books.rebuild(history, NOW)
    once = totals(books)
    assert once["k:CostMicroUSD:3600000"] == 200
    books.settle([old, effect(2, NOW - 1_000_000)], NOW, absent=False)
    assert totals(books) == once
