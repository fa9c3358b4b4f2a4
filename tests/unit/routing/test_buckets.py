"""A standing bucket never admits more than burst + rate x time, whatever happens to it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_routing.buckets import Bucket


def test_fills_with_time_up_to_the_burst():
    bucket = Bucket(2.0, 10.0, 0.0, 0.0)
    assert bucket.available(1.0) == 2.0
    assert bucket.available(100.0) == 10.0


def test_a_clock_that_steps_back_adds_nothing():
    bucket = Bucket(2.0, 10.0, 4.0, 100.0)
    assert bucket.available(50.0) == 4.0
    assert bucket.available(101.0) == 6.0


@pytest.mark.parametrize(
    ("rate", "level", "units", "wait"),
    [
        (2.0, 5.0, 3.0, 0.0),
        (2.0, 0.0, 3.0, 1.5),
        (2.0, -4.0, 1.0, 2.5),
        (2.0, 0.0, 1000.0, 5.0),
        (0.0, 0.0, 1.0, math.inf),
    ],
)
def test_wait(rate, level, units, wait):
    assert Bucket(rate, 10.0, level, 0.0).wait(units, 0.0) == pytest.approx(wait)


def test_a_large_request_is_paid_off():
    bucket = Bucket(1.0, 10.0, 10.0, 0.0)
    bucket.take(40.0, 0.0)
    assert bucket.wait(1.0, 0.0) == pytest.approx(31.0)


def test_given_back_never_overfills():
    bucket = Bucket(1.0, 10.0, 9.0, 0.0)
    bucket.give(5.0, 0.0)
    assert bucket.level == 10.0


def test_a_larger_bucket_fills_with_time_only():
    bucket = Bucket(1.0, 10.0, 10.0, 0.0)
    bucket.reshape(2.0, 50.0, 0.0)
    assert bucket.available(0.0) == 10.0
    assert bucket.available(5.0) == 20.0
    bucket.reshape(2.0, 5.0, 5.0)
    assert bucket.available(5.0) == 5.0


@given(
    rate=st.floats(0.0, 20.0),
    burst=st.floats(1.0, 50.0),
    steps=st.lists(st.tuples(st.floats(-1.0, 5.0), st.floats(0.1, 8.0)), min_size=1, max_size=60),
)
def test_no_window_admits_more_than_burst_and_rate(rate, burst, steps):
    bucket, now, latest = Bucket(rate, burst, burst, 0.0), 0.0, 0.0
    taken: list[tuple[float, float]] = []
    for passes, units in steps:
        now += passes
        latest = max(latest, now)
        if bucket.available(now) >= units:
            bucket.take(units, now)
            taken.append((latest, units))
    for index, (start, _) in enumerate(taken):
        admitted = 0.0
        for at, units in taken[index:]:
            admitted += units
            assert admitted <= burst + rate * (at - start) + 1e-6
