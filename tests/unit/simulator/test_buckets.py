import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.buckets import Bucket, headers


def test_refills_by_the_second_up_to_its_amount():
    bucket = Bucket(60, now=0.0)
    bucket.take(60, 0.0)
    assert bucket.left(10.0) == pytest.approx(10)
    assert bucket.left(1000.0) == 60
    assert bucket.full_in(1000.0) == 0


def test_wait_is_exact_and_a_wish_beyond_the_whole_waits_for_a_full_bucket():
    bucket = Bucket(120, now=0.0)
    bucket.take(120, 0.0)
    assert bucket.wait(10, 0.0) == pytest.approx(5)
    assert bucket.wait(10, 5.0) == 0
    assert bucket.wait(10_000, 0.0) == pytest.approx(bucket.full_in(5.0) + 0, abs=60)
    assert Bucket(120, now=0.0).wait(10_000, 0.0) == 0


def test_a_clock_that_steps_back_gives_nothing():
    bucket = Bucket(60, now=100.0)
    bucket.take(60, 100.0)
    assert bucket.left(50.0) == 0
    assert bucket.left(100.0) == 0


def test_headers_tell_limit_remaining_and_reset():
    bucket = Bucket(60, now=0.0)
    bucket.take(30, 0.0)
    assert headers("requests", [bucket], 0.0, 1_800_000_000.0) == [
        ("anthropic-ratelimit-requests-limit", "60"),
        ("anthropic-ratelimit-requests-remaining", "30"),
        ("anthropic-ratelimit-requests-reset", "2027-01-15T08:00:30Z"),
    ]
    both = dict(headers("tokens", [bucket, Bucket(10, 0.0)], 0.0, 0.0))
    assert (both["anthropic-ratelimit-tokens-limit"], both["anthropic-ratelimit-tokens-remaining"]) == ("70", "40")


@given(
    amount=st.integers(1, 500),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=60),
)
def test_never_gives_more_than_the_burst_and_the_refill(amount, steps):
    bucket = Bucket(amount, now=0.0)
    now, taken = 0.0, 0
    for pause, units in steps:
        now += pause
        if units <= amount and bucket.wait(units, now) <= 0:
            bucket.take(units, now)
            taken += units
        assert taken <= amount + amount * now / 60 + 1e-6
