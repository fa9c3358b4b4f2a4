"""Denials: what they are about, and for whom they hold."""

from __future__ import annotations

import pytest

from penstock_edge.denials import weight_of
from penstock_edge.records import Need, Refused
from penstock_edge.times import LONG_AGO
from tests.unit.edge.lent import grant, new


@pytest.mark.parametrize(
    ("reason", "unit", "weight"),
    [
        ("CREDIT", "", 3),
        ("COST", "CostMicroUSD", 3),
        ("TOKENS", "InputTokens", 1),
        ("TOKENS", "OutputTokens", 2),
        ("TOO_LARGE", "TotalTokens", 3),
    ],
)
def test_the_weight_of_a_denial(reason, unit, weight):
    assert weight_of(Need(1, 2, 3), reason, unit) == weight


def test_denials_of_the_key_take_everything():
    allowance = new()
    grant(allowance, 0.0)
    call = allowance.ask("requests", [Need()], 1.0, LONG_AGO, "e", ahead=False)
    allowance.refused(call, Refused("DISABLED"), 5.0)
    assert not allowance.take(Need(), 1.1, LONG_AGO)
    for need in (Need(), Need(kind="count_tokens")):
        assert allowance.denial(need, 1.1, LONG_AGO).refused.reason == "DISABLED"
        assert allowance.denial(need, 6.1, LONG_AGO) is None
        assert allowance.denial(need, 1.1, 1.05) is None
    assert allowance.ended == [("L1", 0)]
