"""Each id counts once while it is remembered, whatever else came at its time, and costs few bytes."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from penstock_auth.settled_ids import SettledIds

NOW = 1_780_000_000_000
# Few ids and few times, so that they meet; an id always has the same time.
numbers = st.lists(st.integers(0, 60), max_size=200)


@given(numbers)
def test_an_id_is_news_once(made):
    settled, seen = SettledIds(), set()
    for number in made:
        news = settled.add(f"r{number}", NOW + number % 7 * 5, NOW)
        assert news == (number not in seen)
        seen.add(number)
    assert len(settled) == len(seen)


def test_ids_are_forgotten_from_the_oldest_on():
    settled = SettledIds()
    for number, at in enumerate((NOW, NOW, NOW + 20, NOW + 500)):
        assert settled.add(f"r{number}", at, at)
    settled.forget(NOW - 1)
    assert len(settled) == 4
    settled.forget(NOW + 20)
    assert not settled.add("r3", NOW + 500, NOW + 600)
    assert settled.add("r0", NOW, NOW + 600)
    settled.forget(NOW + 600)
    assert len(settled) == 0


def test_what_settles_late_is_remembered_from_then_on():
    settled = SettledIds()
    settled.add("quick", NOW, NOW + 100)
    settled.add("slow", NOW, NOW + 600_000)
    settled.forget(NOW + 599_999)
    assert not settled.add("slow", NOW, NOW + 700_000)


def test_thousands_a_second_cost_few_bytes_each():
    settled, count = SettledIds(), 40_000
    ids = [f"req_0199{number:028x}" for number in range(count)]
    tracemalloc.start()
    try:
        for number, each in enumerate(ids):
            settled.add(each, NOW + number // 8, NOW)
        assert tracemalloc.get_traced_memory()[0] < 16 * count
    finally:
        tracemalloc.stop()
