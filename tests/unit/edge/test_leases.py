"""Units: spent before they expire, those that expire first at first."""

from __future__ import annotations

from penstock_edge.amounts import Amounts
from penstock_edge.records import Need
from penstock_edge.times import LONG_AGO
from tests.unit.edge.lent import grant, new


def test_expiry_counts_from_sending():
    allowance = new()
    call = allowance.ask("requests", [Need()], 100.0, LONG_AGO, "e", ahead=False)
    allowance.granted(call, "L1", 10, 2.0, Amounts(5, 5, 5, 5))
    assert allowance.take(Need(), 101.99, LONG_AGO)
    assert not allowance.take(Need(), 102.0, LONG_AGO)


def test_a_lease_ends_although_what_was_lent_later_goes_on():
    allowance = new()
    grant(allowance, 0.0, units=5, life=2.0)
    grant(allowance, 1.0, need=Need(1, 1, 1), units=0, life=20.0)
    assert allowance.take(Need(), 1.99, LONG_AGO)
    assert not allowance.take(Need(), 2.0, LONG_AGO)
    counting = Need(kind="count_tokens")
    grant(allowance, 5.0, need=counting, life=2.0)
    assert allowance.take(counting, 6.99, LONG_AGO)
    assert not allowance.take(counting, 7.0, LONG_AGO)


def test_the_lease_that_ends_first_is_spent_first():
    allowance = new()
    grant(allowance, 0.0, units=2, life=10)
    grant(allowance, 0.0, units=2, life=5)
    assert allowance.take(Need(), 1.0, LONG_AGO)
    assert [(x.lease_id, x.spent) for x in allowance.requests.leases] == [("L2", 1), ("L1", 0)]
