"""Money to hold for a request before anybody knows what it costs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_catalog.prices import PPM

if TYPE_CHECKING:
    from penstock_edge.snapshot import Price

# Prices are per million tokens, multipliers in parts per million.
_SCALE = 1_000_000 * PPM


def hold_micro(input_tokens: int, output_tokens: int, price: Price, multiplier_ppm: int = PPM) -> int:
    """Return the money to hold for estimated tokens, micro-USD, rounded up."""
    long = price.long_context_above and input_tokens > price.long_context_above
    total = input_tokens * (price.long_context_input if long else price.input)
    total += output_tokens * (price.long_context_output if long else price.output)
    return -(-total * multiplier_ppm // _SCALE)
