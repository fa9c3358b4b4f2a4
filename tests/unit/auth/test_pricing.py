from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_auth.pricing import Usage, charge, upstream_cost
from penstock_catalog.charges import PPM
from penstock_catalog.prices import PriceRow

SONNET = PriceRow(
    effective_at_ms=0,
    input=3_000_000,
    output=15_000_000,
    cache_write_5m=3_750_000,
    cache_write_1h=6_000_000,
    cache_read=300_000,
    long_context_above=200_000,
    long_context_input=6_000_000,
    long_context_output=22_500_000,
    long_context_cache_write_5m=7_500_000,
    long_context_cache_write_1h=12_000_000,
    long_context_cache_read=600_000,
)
FLAT = SONNET.model_copy(update={"long_context_above": 0})


@pytest.mark.parametrize(
    ("usage", "price", "ppm", "expected"),
    [
        (Usage(), SONNET, PPM, 0),
        (Usage(1, 0), SONNET, PPM, 3),
        (Usage(0, 1), SONNET, PPM, 15),
        (Usage(0, 0, 1_000_000), SONNET, PPM, 300_000 * 2),  # A million read from a cache is long context too.
        (Usage(0, 0, 100_000), SONNET, PPM, 30_000),
        (Usage(0, 0, 0, 1000), SONNET, PPM, 3750),
        (Usage(0, 0, 0, 0, 1000), SONNET, PPM, 6000),
        (Usage(1000, 500, 2000, 100, 10), SONNET, PPM, 3000 + 7500 + 600 + 375 + 60),
        # The border is exclusive, and everything counts towards it but output.
        (Usage(200_000, 10), SONNET, PPM, 600_000 + 150),
        (Usage(200_001, 10), SONNET, PPM, 1_200_006 + 225),
        (Usage(199_998, 10, 1, 1, 0), SONNET, PPM, 600_000 - 6 + 150 + 4),  # 0.3 + 3.75, rounded once
        (Usage(199_998, 10, 1, 1, 1), SONNET, PPM, 2 * (600_000 - 6) + 225 + 20),  # 0.6 + 7.5 + 12 = 20.1
        (Usage(200_000, 10**6), SONNET, PPM, 600_000 + 15_000_000),
        (Usage(10**6, 0), FLAT, PPM, 3_000_000),
        # Multipliers, and half a micro-dollar goes up.
        (Usage(1000, 0), SONNET, 1_500_000, 4500),
        (Usage(1000, 0), SONNET, 0, 0),
        (Usage(1, 0), SONNET, 500_000, 2),  # 1.5
        (Usage(1, 0), SONNET, 499_999, 1),
        (Usage(0, 0, 1), SONNET, PPM, 0),  # 0.3
        (Usage(0, 0, 5), SONNET, PPM, 2),  # 1.5
        (Usage(0, 0, 1), SONNET, 2 * PPM, 1),  # 0.6: not twice what 0.3 is rounded to
    ],
)
def test_charges(usage, price, ppm, expected):
    assert charge(usage, price, ppm) == expected


def test_attempts_cost_the_list_price():
    assert upstream_cost(Usage(1000, 0), SONNET) == 3000
    assert upstream_cost(Usage(0, 0, 5), SONNET) == 2


tokens = st.integers(0, 10**9)
usages = st.builds(Usage, tokens, tokens, tokens, tokens, tokens)
micro = st.integers(0, 10**9)
rows = st.builds(
    PriceRow,
    effective_at_ms=st.just(0),
    input=micro,
    output=micro,
    cache_write_5m=micro,
    cache_write_1h=micro,
    cache_read=micro,
    long_context_above=st.integers(0, 10**9),
    long_context_input=micro,
    long_context_output=micro,
    long_context_cache_write_5m=micro,
    long_context_cache_write_1h=micro,
    long_context_cache_read=micro,
)


def exactly(usage: Usage, row: PriceRow, ppm: int) -> Fraction:
    whole = (
        usage.input_tokens
        + usage.cache_read_input_tokens
        + usage.cache_write_5m_input_tokens
        + usage.cache_write_1h_input_tokens
    )
    prefix = "long_context_" if row.long_context_above and whole > row.long_context_above else ""
    total = Fraction(0)
    for field, price in (
        ("input_tokens", "input"),
        ("output_tokens", "output"),
        ("cache_read_input_tokens", "cache_read"),
        ("cache_write_5m_input_tokens", "cache_write_5m"),
        ("cache_write_1h_input_tokens", "cache_write_1h"),
    ):
        total += Fraction(getattr(usage, field)) * getattr(row, prefix + price) / 10**6
    return total * ppm / 10**6


@given(usages, rows, st.integers(0, 10**7))
def test_rounding_is_exact_and_happens_once(usage, row, ppm):
    exact = exactly(usage, row, ppm)
    charged = charge(usage, row, ppm)
    assert charged - Fraction(1, 2) <= exact < charged + Fraction(1, 2)
    cost = upstream_cost(usage, row)
    assert cost - Fraction(1, 2) <= exactly(usage, row, PPM) < cost + Fraction(1, 2)


@given(usages)
def test_whole_input_has_everything_but_output(usage):
    assert usage.whole_input + usage.output_tokens == sum(getattr(usage, name) for name in Usage.__slots__)
    assert usage.empty == (usage == Usage())
