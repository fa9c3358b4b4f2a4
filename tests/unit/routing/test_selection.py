"""The less loaded of two, by weight."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_routing import selection


def test_one_is_enough():
    assert selection.two([5.0], [9], lambda: 0.5) == 0


def test_idle_accounts_are_drawn_by_weight():
    rng = random.Random(7).random
    found = Counter(selection.two([100.0, 300.0], [0, 0], rng) for _ in range(4000))
    assert found[1] / 4000 == pytest.approx(0.75, abs=0.03)


def test_the_less_loaded_for_its_weight_wins():
    rng = random.Random(7).random
    assert {selection.two([1.0, 1.0], [5, 4], rng) for _ in range(100)} == {1}
    assert {selection.two([10.0, 1.0], [5, 4], rng) for _ in range(100)} == {0}


def test_a_burst_spreads():
    rng = random.Random(7).random
    loads = [0, 0, 0]
    for _ in range(64):
        loads[selection.two([1.0] * 3, loads, rng)] += 1
    assert max(loads) - min(loads) <= 4


@given(
    weights=st.lists(st.floats(0.1, 100.0), min_size=1, max_size=6),
    draws=st.tuples(st.floats(0.0, 1.0, exclude_max=True), st.floats(0.0, 1.0, exclude_max=True)),
)
def test_any_draw_gives_an_index(weights, draws):
    stream = iter(draws)
    assert 0 <= selection.two(weights, [0] * len(weights), lambda: next(stream)) < len(weights)


def test_the_last_takes_what_rounding_leaves():
    assert selection.two([1e-300, 1e-300], [0, 0], lambda: 0.999999) in {0, 1}
    assert selection.two([1.0, 0.0], [0, 0], lambda: 0.9) == 0


def test_share_of_prefers_the_heavier_and_the_idler():
    assert selection.share_of([100.0, 100.0, 50.0], [0, 1, 0]) == [100.0, 50.0, 50.0]
