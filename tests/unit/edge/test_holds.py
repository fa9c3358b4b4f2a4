"""Slots, tokens and money are let go of once, and what is spare then is looked at in time."""

from __future__ import annotations

import pytest

from penstock_edge.allowance import Allowance
from penstock_edge.amounts import Amounts
from penstock_edge.holds import Holds
from penstock_edge.key_books import KeyBooks
from penstock_edge.records import Admitted, Need
from penstock_edge.reminders import Reminders
from penstock_edge.times import NEVER
from tests.unit.edge.lent import KEY, grant


@pytest.fixture
def books():
    return KeyBooks(lambda: 1.0, max_keys=10, max_unknown_keys=10)


@pytest.fixture
def holds(books):
    return Holds(books, Reminders(lambda: 1.0), lambda: 1.0)


@pytest.fixture
def allowance(books):
    found = books.find(b"d", 0).allowance
    found.facts = KEY
    grant(found, 1.0, life=10.0)
    return found


def admit(allowance, need):
    allowance.hold(need)
    allowance.unrecorded.opens(1_000)
    return Admitted(KEY, 1_000, need, False, allowance, True, True)


def test_each_is_let_go_of_once(holds, allowance):
    one, other = (admit(allowance, Need(10, 20, 30)) for _ in range(2))
    for _ in range(3):
        holds.ended(one)
        holds.settled(one, recorded=True)
    assert allowance.holdings.open == Amounts(1, 10, 20, 30)
    assert allowance.holdings.lent == Amounts(10, 990, 980, 970)
    assert allowance.unrecorded.rows(0) == [(1_000, "requests", 1)]
    holds.settled(other, recorded=False)
    assert allowance.holdings.lent == Amounts(10, 990, 980, 970)
    assert allowance.unrecorded.rows(0) == [(1_999, "requests", 1)]


def test_what_is_spare_is_looked_at_when_it_is_over_and_soon_where_it_is_scarce(holds, allowance):
    assert allowance.due_at == NEVER
    holds.ended(admit(allowance, Need(1, 1, 1)))
    assert allowance.due_at == 11.0
    allowance.holdings.note_tight(Amounts(1, 0, 0, 0))
    holds.ended(admit(allowance, Need(1, 1, 1)))
    assert allowance.due_at == pytest.approx(1.1)


def test_an_allowance_that_was_forgotten_is_left_alone(holds):
    forgotten = Allowance(b"d", lambda: 1.0, KEY)
    holds.ended(admit(forgotten, Need(1, 1, 1)))
    assert forgotten.holdings.open_slots == 0
    assert forgotten.due_at == NEVER
