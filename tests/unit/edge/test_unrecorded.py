"""Admissions without a ledger row."""

from __future__ import annotations

from penstock_edge.unrecorded import Unrecorded
from tests.unit.edge.lent import new


def test_admissions_without_a_row_are_remembered_for_five_minutes():
    allowance = new()
    for at in (1_000, 1_500, 2_000, 1_900, 400_000):
        allowance.unrecorded.remember(at, "count_tokens")
    assert list(allowance.unrecorded._count_tokens) == [(1_999, 2), (2_999, 2), (400_999, 1)]
    allowance.unrecorded.forget_before(100_000)
    assert list(allowance.unrecorded._count_tokens) == [(400_999, 1)]
    for second in range(1_000):
        allowance.unrecorded.remember(second * 1000, "requests")
    assert len(allowance.unrecorded._requests) <= 302


def test_a_clock_that_is_put_back_leaves_no_admission_in_the_future():
    unrecorded = Unrecorded()
    for at in (3_600_000, 3_601_000, 3_602_000):
        unrecorded.remember(at, "requests")
    unrecorded.remember(60_500, "requests")
    assert unrecorded.rows(0) == [(60_999, "requests", 4)]
    unrecorded.remember(59_900, "requests")
    unrecorded.remember(61_000, "requests")
    assert unrecorded.rows(0) == [(60_999, "requests", 5), (61_999, "requests", 1)]
    unrecorded.forget_before(70_000)
    assert unrecorded.empty
