from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.store_clock import StoreClock


def test_nothing_is_known_at_first():
    clock = StoreClock()
    assert not clock.known
    assert clock.at(5.0) == 0
    clock.learn(0, 1.0, 2.0)
    assert not clock.known


@given(
    samples=st.lists(st.tuples(st.floats(0, 40), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30),
    offset=st.integers(1_000_000, 2_000_000_000_000),
)
def test_never_early_and_not_later_than_the_slowest_answer(samples, offset):
    clock, now = StoreClock(), 100.0
    for pause, there, back in samples:
        sent = now + pause
        read = sent + there
        now = read + back
        clock.learn(int(read * 1000) + offset, sent, now)
        assert clock.at(now) >= now * 1000 + offset - 1
        assert clock.at(now) <= now * 1000 + offset + 1000 + 2


def test_a_clock_that_was_put_forward_is_followed_at_once():
    clock = StoreClock()
    clock.learn(1_000_000, 10.0, 10.01)
    clock.learn(1_060_000, 11.0, 11.01)
    assert clock.at(11.01) >= 1_060_000


def test_one_slow_answer_is_forgotten_by_a_quick_one():
    clock = StoreClock()
    clock.learn(1_001_000, 10.0, 11.0)
    clock.learn(1_002_000, 12.0, 12.001)
    assert clock.at(12.0) <= 1_002_002
