"""Money for tokens: what to hold for a request before anybody knows, and what it has cost. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_catalog.prices import PPM

if TYPE_CHECKING:
    from penstock_edge.price import Price
    from penstock_edge.records import Usage

# Prices are per million tokens, multipliers in parts per million.
_SCALE: Final = 1_000_000 * PPM


def hold_micro(input_tokens: int, output_tokens: int, price: Price, multiplier_ppm: int = PPM) -> int:
    """Return the money to hold for estimated tokens, micro-USD, rounded up."""
    long = price.long_context_above and input_tokens > price.long_context_above
    total = input_tokens * (price.long_context_input if long else price.input)
    total += output_tokens * (price.long_context_output if long else price.output)
    return -(-total * multiplier_ppm // _SCALE)


def whole_input(usage: Usage) -> int:
    """Return all input tokens, cached or not."""
    cached = usage.cache_read_input_tokens
    return usage.input_tokens + cached + usage.cache_write_5m_input_tokens + usage.cache_write_1h_input_tokens


def charge_micro(usage: Usage, price: Price, multiplier_ppm: int) -> int:
    """Return what the ledger will charge: `cost_micro` of the catalogue, which asks for each figure by name."""
    tokens_in, tokens_out, read = usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens
    write_5m, write_1h = usage.cache_write_5m_input_tokens, usage.cache_write_1h_input_tokens
    if 0 < price.long_context_above < tokens_in + read + write_5m + write_1h:
        total = tokens_in * price.long_context_input + tokens_out * price.long_context_output
        total += write_5m * price.long_context_cache_write_5m + write_1h * price.long_context_cache_write_1h
        total += read * price.long_context_cache_read
    else:
        total = tokens_in * price.input + tokens_out * price.output
        total += write_5m * price.cache_write_5m + write_1h * price.cache_write_1h + read * price.cache_read
    return (total * multiplier_ppm + _SCALE // 2) // _SCALE
