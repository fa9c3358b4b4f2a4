"""What a request costs: integer micro-USD from tokens and a price row, rounded once. Pure.

The ledger computes the charge by the same rule from the same row; here it is needed for a header and for holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_edge.records import Usage
    from penstock_edge.snapshot import Price

_PPM = 1_000_000
# Prices are per million tokens, multipliers in parts per million.
_SCALE = 1_000_000 * _PPM


def cost_micro(usage: Usage, price: Price, multiplier_ppm: int = _PPM) -> int:
    """Return the charge in micro-USD. A whole input above the long-context bound moves everything to that tier."""
    if price.long_context_above and usage.whole_input > price.long_context_above:
        total = (
            usage.input_tokens * price.long_context_input
            + usage.output_tokens * price.long_context_output
            + usage.cache_write_5m_input_tokens * price.long_context_cache_write_5m
            + usage.cache_write_1h_input_tokens * price.long_context_cache_write_1h
            + usage.cache_read_input_tokens * price.long_context_cache_read
        )
    else:
        total = (
            usage.input_tokens * price.input
            + usage.output_tokens * price.output
            + usage.cache_write_5m_input_tokens * price.cache_write_5m
            + usage.cache_write_1h_input_tokens * price.cache_write_1h
            + usage.cache_read_input_tokens * price.cache_read
        )
    return (total * multiplier_ppm + _SCALE // 2) // _SCALE


def hold_micro(input_tokens: int, output_tokens: int, price: Price, multiplier_ppm: int = _PPM) -> int:
    """Return the money to hold for estimated tokens, rounded up."""
    long = price.long_context_above and input_tokens > price.long_context_above
    total = input_tokens * (price.long_context_input if long else price.input)
    total += output_tokens * (price.long_context_output if long else price.output)
    return -(-total * multiplier_ppm // _SCALE)
