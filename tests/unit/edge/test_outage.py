from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.limits import LimitState
from penstock_edge.outage import DEGRADED_SECONDS, Outage, ProjectParts, Remainder
from penstock_edge.records import Need


def limit(unit, remaining, window_ms=60_000, scope="Key"):
    return LimitState(unit, unit, 1000, remaining, 0, window_ms, scope)


def test_outage():
    outage = Outage()
    assert outage.lasted(5.0) == 0
    outage.failed(10.0, "AUTH_UNAVAILABLE")
    outage.failed(11.0, "STORE_DOWN")
    assert outage.lasted(12.0) == 2.0
    assert outage.reason == "STORE_DOWN"
    outage.over()
    assert outage.lasted(13.0) == 0


@pytest.mark.parametrize(
    ("unit", "remaining", "times"),
    [
        ("Requests", 20, 10),
        ("InputTokens", 20, 10),
        ("OutputTokens", 20, 5),
        ("TotalTokens", 21, 3),
        ("CostMicroUSD", 20, 3),
    ],
)
def test_each_unit_is_spent_over_the_edges(unit, remaining, times):
    part = Remainder([limit(unit, remaining)], 0, 2, 0.0)
    need = Need(1, 2, 3)
    assert [part.spend(need, 1.0) for _ in range(times + 2)] == [True] * times + [False, False]


def test_slots_are_given_back():
    part = Remainder([limit("ConcurrentRequests", 4, 0)], 100, 2, 0.0)
    assert [part.spend(Need(), 1.0) for _ in range(3)] == [True, True, False]
    assert part.spend(Need(kind="count_tokens"), 1.0)
    part.ended()
    assert part.spend(Need(), 1.0)
    assert Remainder([], 2, 1, 0.0).spend(Need(), 0.0)


def test_it_ends_after_fifteen_minutes():
    part = Remainder([], 0, 0, 100.0)
    assert part.spend(Need(), 100.0 + DEGRADED_SECONDS - 1)
    assert not part.spend(Need(), 100.0 + DEGRADED_SECONDS)


def test_a_spend_limit_has_no_room_again_and_credit_is_not_its_affair():
    part = Remainder([limit("CostMicroUSD", 5, 0), limit("CostMicroUSD", 0, 0, "Project")], 0, 1, 0.0)
    assert part.spend(Need(0, 0, 5), 0.0)
    assert not part.spend(Need(0, 0, 1), 800.0)


def test_count_tokens_has_its_own_window():
    part = Remainder([limit("Requests", 1), limit("InputTokens", 0)], 0, 1, 0.0)
    assert part.spend(Need(5, kind="count_tokens"), 0.0)
    assert part.spend(Need(), 0.0)
    assert not part.spend(Need(), 0.0)


def test_what_a_project_shares_is_spent_once_however_many_keys_it_has():
    project, limits = ProjectParts(), [limit("Requests", 4, scope="Project")]
    first, second = (Remainder(limits, 0, 1, 0.0, project) for _ in range(2))
    assert [part.spend(Need(), 1.0) for part in (first, second, first, second, first, second)] == [True] * 4 + [
        False
    ] * 2
    # The newest word of what is left counts, an old one of another key does not.
    assert Remainder([limit("Requests", 5, scope="Project")], 0, 1, 1.0, project).spend(Need(), 2.0)
    assert not Remainder([limit("Requests", 100, scope="Project")], 0, 1, 0.5, project).spend(Need(), 2.0)
    assert first.spend(Need(), 130.0)


@given(steps=st.lists(st.floats(0, 30), max_size=80), remaining=st.integers(0, 20))
def test_never_more_than_the_part_in_any_window(steps, remaining):
    part = Remainder([limit("Requests", remaining, 60_000)], 0, 1, 0.0)
    now, spent = 0.0, []
    for step in steps:
        now += step
        if part.spend(Need(), now):
            spent.append(now)
    for at in spent:
        assert sum(1 for s in spent if at - 60 < s <= at) <= remaining
