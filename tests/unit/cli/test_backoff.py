from hypothesis import given
from hypothesis import strategies as st

from penstock_cli.local.backoff import FIRST_SECONDS, MOST_SECONDS, STEADY_SECONDS, Backoff


def test_it_doubles_up_to_the_most():
    backoff = Backoff()
    assert [backoff.ended(0.1) for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert backoff.in_a_row == 7


def test_a_steady_life_begins_anew():
    backoff = Backoff()
    for _ in range(4):
        backoff.ended(0.0)
    assert backoff.ended(STEADY_SECONDS) == FIRST_SECONDS
    assert backoff.in_a_row == 1


@given(st.lists(st.floats(min_value=0, max_value=100)))
def test_the_delay_stays_in_bounds(lives):
    backoff = Backoff()
    assert all(FIRST_SECONDS <= backoff.ended(life) <= MOST_SECONDS for life in lives)
