"""Retries never add more than a part of the traffic, above a floor."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock_routing import RetryBudget


def spend(budget, now, wanted=10_000):
    return sum(budget.try_retry(now) for _ in range(wanted))


def test_the_floor():
    assert spend(RetryBudget(), 0.0) == 100


def test_the_fraction_above_the_floor():
    budget = RetryBudget()
    for _ in range(1000):
        budget.request(5.0)
    assert budget.allowed() == 200
    assert spend(budget, 5.0) == 200


def test_comes_back_with_time_and_not_before():
    budget = RetryBudget()
    assert spend(budget, 0.0) == 100
    assert spend(budget, 9.9) == 0
    assert spend(budget, 10.0) == 100
    assert spend(budget, 1e6) == 100


def test_a_clock_that_steps_back_gives_nothing():
    budget = RetryBudget()
    assert spend(budget, 100.0) == 100
    assert spend(budget, 3.0) == 0
    assert budget.spent(100.0) == 100


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans()), max_size=300))
def test_never_more_than_the_budget_in_the_window(events):
    budget = RetryBudget(minimum=3, fraction=0.2)
    now, requests, retries = 0.0, [], []
    for passes, retry in events:
        now += passes
        if retry:
            if budget.try_retry(now):
                retries.append(now)
        else:
            budget.request(now)
            requests.append(now)
        # Buckets of one second: the window that is kept is between nine and ten seconds long.
        recent = sum(at > now - 9.0 for at in retries)
        assert recent <= max(3, 0.2 * sum(at >= now - 20.0 for at in requests)) + 0
