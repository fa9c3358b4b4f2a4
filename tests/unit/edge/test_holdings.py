"""Slots, tokens and money: what is spare, what is kept, and what goes back."""

from __future__ import annotations

from penstock_edge.amounts import NOTHING, Amounts
from penstock_edge.limits import LimitState
from penstock_edge.records import Need
from penstock_edge.times import LONG_AGO
from tests.unit.edge.lent import grant, new


def test_what_is_given_up_is_not_used_while_the_answer_is_out():
    allowance = new()
    grant(allowance, 0.0, life=30.0)
    allowance.holdings.tight = Amounts(1, 1, 1, 1)
    assert allowance.ask("requests", [], 0.2, LONG_AGO, "e", ahead=False).keeping == NOTHING
    assert not allowance.take(Need(), 0.3, LONG_AGO)


def test_spare_is_kept_and_only_the_rest_is_needed():
    allowance = new()
    grant(allowance, 0.0, units=3, holding=(2, 100, 100, 100))
    call = allowance.ask("requests", [Need(150, 20, 100)], 0.5, LONG_AGO, "e", ahead=False)
    assert call.keeping == Amounts(2, 100, 100, 100)
    assert call.need == Amounts(0, 50, 0, 0)
    assert call.need_requests == 0


def test_what_was_settled_is_not_lent_again():
    allowance = new()
    need = Need(60, 0, 0)
    call = allowance.ask("requests", [need], 0.0, LONG_AGO, "e", ahead=False)
    allowance.granted(call, "L1", 9, 20.0, Amounts(9, 100, 0, 0))
    assert allowance.take_granted(need, 0.1, LONG_AGO)
    assert allowance.take(Need(40, 0, 0), 0.1, LONG_AGO)
    allowance.let_go(need, used=True)
    assert not allowance.take(Need(1, 0, 0), 0.2, LONG_AGO)
    assert allowance.holdings.believed.input_tokens == 100
    call = allowance.ask("requests", [Need(10, 0, 0)], 0.3, LONG_AGO, "e", ahead=False)
    assert call.keeping.input_tokens == 40
    # Settled while the answer is out: it must not come back with it.
    allowance.let_go(Need(40, 0, 0), used=True)
    allowance.granted(call, "L2", 1, 20.0, Amounts(9, 50, 0, 0))
    assert allowance.holdings.lent.input_tokens == 10
    allowance.let_go(Need(0, 0, 0), used=False)
    assert allowance.due(0.4) <= 20.3


def test_spare_money_lives_longer_where_there_is_room():
    allowance = new()
    grant(allowance, 0.0, life=20.0)
    assert allowance.holdings.covers_money(1000, 59.0)
    assert not allowance.holdings.covers_money(1001, 59.0)
    assert not allowance.holdings.covers_money(1, 60.0)
    grant(allowance, 70.0, life=0.5)
    assert not allowance.holdings.covers_money(1, 70.6)


def test_scarce_spare_goes_back_before_its_time():
    allowance = new()
    grant(allowance, 0.0, life=30.0)
    allowance.note_limits((LimitState("c", "ConcurrentRequests", 10, 4, 0, 0, "Key"),), 2, 0.0)
    assert allowance.holdings.tight == Amounts(1, 0, 0, 0)
    assert allowance.overdue(0.2)
    call = allowance.ask("requests", [], 0.2, LONG_AGO, "e", ahead=False)
    assert call.keeping == Amounts(0, 1000, 1000, 1000)
