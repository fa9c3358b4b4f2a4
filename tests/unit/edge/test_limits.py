"""Limits as headers show them."""

from __future__ import annotations

from penstock_edge.allowance import Allowance
from penstock_edge.limits import LimitState
from tests.unit.edge.lent import KEY, grant


def test_limits_are_shown_aged_and_with_what_is_lent():
    clock = [10.0]
    allowance = Allowance(b"d", lambda: clock[0], KEY)
    assert allowance.limit_states() == []
    grant(allowance, 10.0, units=5)
    allowance.note_limits(
        (
            LimitState("rpm", "Requests", 100, 50, 30_000, 60_000, "Key"),
            LimitState("tpm", "InputTokens", 500, 10, 500, 60_000, "Key"),
        ),
        1,
        10.0,
    )
    clock[0] = 12.0
    rpm, tpm = allowance.limit_states()
    assert (rpm.remaining, rpm.reset_ms) == (55, 28_000)
    assert (tpm.remaining, tpm.reset_ms) == (500, 0)
