"""Bucket arithmetic against brute force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_auth.windows import KEPT, Window, bucket_ms, span_ms


@pytest.mark.parametrize(("window", "bucket"), [(60_000, 500), (1_000, 9), (18_000_000, 150_000), (100, 1), (1, 1)])
def test_buckets_round_up(window, bucket):
    assert bucket_ms(window) == bucket


@given(st.integers(1, 10**9), st.integers(0, 10**6))
def test_nothing_leaves_before_the_window_and_a_bucket_have_passed(window_ms, at):
    window = Window(window_ms)
    at += KEPT * bucket_ms(window_ms)  # a clock of unix time
    window.add(at, 1)
    window.advance(at + window_ms + bucket_ms(window_ms) - 1)
    assert window.total == 1
    window.advance(at + span_ms(window_ms))
    assert window.total == 0
    assert span_ms(window_ms) <= window_ms + KEPT + 2 * bucket_ms(window_ms)  # rounding adds a ms per bucket


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "move", "advance"]), st.integers(0, 3000), st.integers(0, 9)), max_size=60
)


@given(STEPS)
def test_it_counts_like_a_plain_list(steps):
    """Bookings by bucket in a list, nothing cleverer."""
    window, now = Window(1200), 100_000
    size = bucket_ms(1200)
    booked: list[tuple[int, int]] = []  # when, units
    for what, ms, units in steps:
        if what == "advance":
            now += ms
        elif what == "add" and units:
            window.add(now + ms, units)
            booked.append((now + ms, units))
        elif what == "move" and booked:
            came, many = booked.pop()
            spent = min(units, many)
            goes = min(now, came)
            window.move(many, came, spent, goes)
            booked.append((goes, spent))
        window.advance(now)
        booked = [(at, n) for at, n in booked if n and at // size > now // size - KEPT]
        assert window.total == sum(n for _, n in booked)
        free_at = sorted(booked)
        for short in (1, 5, window.total, window.total + 1):
            expected, left = None, short
            for at, n in free_at:
                left -= n
                if left <= 0:
                    expected = max(1, (at // size + KEPT) * size - now)
                    break
            assert window.reset_ms(short, now) == expected
        if window.total:
            assert window.empty_ms(now) >= (window.reset_ms(window.total, now) or 0) > 0
        else:
            assert window.empty_ms(now) == 0
            assert window.idle(now)


def test_a_long_rest_is_cheap_and_complete():
    window = Window(60_000)
    for at in range(0, 60_000, 500):
        window.add(at, 1)
    window.advance(10**12)
    assert (window.total, window.idle(10**12)) == (0, True)
    window.add(5, 3)  # long gone
    assert window.total == 0
