"""A project's counters: what they forget, and that a batch counts as its rows would one by one."""

from __future__ import annotations

from penstock_auth.books import REMEMBER_ID_MS, Books
from penstock_auth.counters import Limit, SettleEffect, Unit, Versioned

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


def test_a_batch_counts_as_its_rows_one_by_one():
    effects = [effect(number, NOW - number * 700) for number in (1, 2, 2, 5, 3)]
    together, apart = Books(), Books()
    together.settle(effects, NOW, absent=True)
    for each in effects:
        apart.settle([each], NOW, absent=True)
    assert totals(together) == totals(apart)
    assert sorted(totals(together).values()) == [4, 11, 62, 400]
    assert together._facts == apart._facts == {"*": (5, 995), "k": (5, 5)}


def test_ids_are_forgotten_from_the_oldest_on():
    books = Books()
    for number, at in enumerate((NOW, NOW, NOW + 10, NOW + 500)):
        books.settle([effect(number, at)], at, absent=False)
    books.tidy(NOW + REMEMBER_ID_MS + 10)
    assert list(books._settled) == ["r3"]
    books.tidy(NOW + REMEMBER_ID_MS + 500)
    assert not books._settled
