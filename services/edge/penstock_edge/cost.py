"""Money for tokens: what to hold for a request before anybody knows, and what it has cost. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_catalog.charges import PPM

if TYPE_CHECKING:
    from penstock_edge.price import Price
    from penstock_edge.records import Usage

# Prices are per million tokens, multipliers in parts per million.
_SCALE: Final = 1_000_000 * PPM

Tokens = tuple[int, int, int, int, int]
"""Input that is not cached, output, cache reads, cache writes for five minutes and for an hour."""


def hold_micro(input_tokens: int, output_tokens: int, price: Price, multiplier_ppm: int = PPM) -> int:
    """Return the money to hold for estimated tokens, micro-USD, rounded up."""
    long = price.long_context_above and input_tokens > price.long_context_above
    total = input_tokens * (price.long_context_input if long else price.input)
    total += output_tokens * (price.long_context_output if long else price.output)
    return -(-total * multiplier_ppm // _SCALE)


def tokens_of(usage: Usage) -> Tokens:
    """Return the figures of a usage, each of which is asked for by name once."""
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_input_tokens,
        usage.cache_write_5m_input_tokens,
        usage.cache_write_1h_input_tokens,
    )


def whole_input(tokens: Tokens) -> int:
    """Return all input tokens, cached or not."""
    plain, _, read, write_5m, write_1h = tokens
    return plain + read + write_5m + write_1h


def charge_micro(tokens: Tokens, price: Price, multiplier_ppm: int) -> int:
    """Return what the ledger will charge: what `cost_micro` of the catalogue returns."""
    plain, output, read, write_5m, write_1h = tokens
    if 0 < price.long_context_above < whole_input(tokens):
        total = plain * price.long_context_input + output * price.long_context_output
        total += write_5m * price.long_context_cache_write_5m + write_1h * price.long_context_cache_write_1h
        total += read * price.long_context_cache_read
    else:
        total = plain * price.input + output * price.output
        total += write_5m * price.cache_write_5m + write_1h * price.cache_write_1h + read * price.cache_read
    return (total * multiplier_ppm + _SCALE // 2) // _SCALE
