"""Money: integers, one rounding, the long-context tier."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_catalog.charges import cost_micro
from penstock_edge.cost import charge_micro, hold_micro, tokens_of, whole_input
from penstock_edge.price import Price
from penstock_edge.records import Usage

amounts = st.integers(0, 10**7)
usages = st.builds(Usage, amounts, amounts, amounts, amounts, amounts)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(781, 921), 16158),
        (Usage(1_000_000), 3_000_000),
        (Usage(0, 1), 15),
        (Usage(cache_read_input_tokens=10), 3),
        (Usage(cache_read_input_tokens=5), 2),
        (Usage(cache_write_5m_input_tokens=2), 8),
        (Usage(cache_write_1h_input_tokens=1), 6),
        (Usage(), 0),
    ],
)
def test_costs(play, usage, cost):
    assert cost_micro(usage, play.price) == cost


@given(usage=usages, ppm=st.integers(0, 5_000_000))
def test_one_rounding_half_up(usage, ppm):
    price = Price("d", 0, 3_000_001, 15_000_007, 3_750_003, 6_000_009, 300_011, 0, 0, 0, 0, 0, 0)
    exact = Fraction(
        usage.input_tokens * price.input
        + usage.output_tokens * price.output
        + usage.cache_write_5m_input_tokens * price.cache_write_5m
        + usage.cache_write_1h_input_tokens * price.cache_write_1h
        + usage.cache_read_input_tokens * price.cache_read,
        10**6,
    ) * Fraction(ppm, 10**6)
    cost = cost_micro(usage, price, ppm)
    assert exact - Fraction(1, 2) < cost <= exact + Fraction(1, 2)


def test_the_long_context_tier_holds_for_everything(play):
    long = dataclasses.replace(
        play.price,
        long_context_above=200_000,
        long_context_input=6_000_000,
        long_context_output=22_500_000,
        long_context_cache_read=600_000,
        long_context_cache_write_5m=7_500_000,
        long_context_cache_write_1h=12_000_000,
    )
    assert cost_micro(Usage(200_000, 10), long) == 600_000 + 150
    assert cost_micro(Usage(200_001, 10), long) == 1_200_006 + 225
    assert cost_micro(Usage(1, 10, 200_000), long) == 6 + 225 + 120_000
    assert cost_micro(Usage(0, 0, 0, 200_000, 1), long) == 1_500_000 + 12
    assert hold_micro(200_001, 0, long) == 1_200_006


def test_holds_are_rounded_up(play):
    assert hold_micro(1, 0, dataclasses.replace(play.price, input=1)) == 1
    assert hold_micro(0, 0, play.price) == 0
    assert hold_micro(100, 10, play.price, 2_000_000) == 900


counts = st.one_of(st.just(0), st.integers(0, 10**4), st.integers(0, 10**9))
rows = st.builds(Price, st.just("d"), st.just(0), *[st.one_of(st.just(0), st.integers(0, 10**9))] * 11)


@given(usage=st.builds(Usage, counts, counts, counts, counts, counts), price=rows, ppm=st.integers(0, 5_000_000))
def test_headers_show_what_the_ledger_charges(usage, price, ppm):
    assert charge_micro(tokens_of(usage), price, ppm) == cost_micro(usage, price, ppm)
    assert whole_input(tokens_of(usage)) == usage.whole_input


def test_headers_show_the_long_context_tier_as_the_ledger_charges_it(play):
    long = dataclasses.replace(
        play.price,
        long_context_above=10,
        long_context_input=1,
        long_context_output=20,
        long_context_cache_read=300,
        long_context_cache_write_5m=4_000,
        long_context_cache_write_1h=50_000,
    )
    for whole in ((2, 2, 2, 2), (2, 3, 3, 2), (2, 3, 3, 3)):
        usage = Usage(whole[0] * 10**6, 10**6, *(n * 10**6 for n in whole[1:]))
        assert charge_micro(tokens_of(usage), long, 1_000_000) == cost_micro(usage, long, 1_000_000)
    for usage in (Usage(2, 7, 2, 2, 2), Usage(4, 7, 2, 2, 2), Usage(5, 7, 2, 2, 2)):
        assert charge_micro(tokens_of(usage), long, 10**9) == cost_micro(usage, long, 10**9)
