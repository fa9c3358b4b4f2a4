"""Pure prices: what a request's tokens cost, in integers with one rounding. The ledger calls it for every settlement.

A price row is integer micro-USD per million tokens; a plan's multiplier is in parts per million.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock_catalog.prices import PriceRow

PPM: Final = 1_000_000
_TOKENS_PER_PRICE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt or request. Whole input is the sum of the four input kinds."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_5m_input_tokens: int = 0
    cache_write_1h_input_tokens: int = 0

    @property
    def whole_input(self) -> int:
        """All input: plain, read from a cache and written to one."""
        return (
            self.input_tokens
            + self.cache_read_input_tokens
            + self.cache_write_5m_input_tokens
            + self.cache_write_1h_input_tokens
        )

    @property
    def empty(self) -> bool:
        """Whether nothing was used."""
        return self.whole_input == 0 and self.output_tokens == 0


NO_USAGE: Final = Usage()


def charge(usage: Usage, price: PriceRow, multiplier_ppm: int) -> int:
    """Micro-USD that the project pays: tokens by price by multiplier, summed and rounded half up once."""
    return _round_half_up(_sum(usage, price) * multiplier_ppm, _TOKENS_PER_PRICE * PPM)


def upstream_cost(usage: Usage, price: PriceRow) -> int:
    """Micro-USD of one attempt at the list price, without any multiplier, rounded half up once."""
    return _round_half_up(_sum(usage, price), _TOKENS_PER_PRICE)


def _sum(usage: Usage, price: PriceRow) -> int:
    """Sum tokens by price, at the long-context prices for everything when the whole input is above their border."""
    long = 0 < price.long_context_above < usage.whole_input
    return (
        usage.input_tokens * (price.long_context_input if long else price.input)
        + usage.output_tokens * (price.long_context_output if long else price.output)
        + usage.cache_write_5m_input_tokens * (price.long_context_cache_write_5m if long else price.cache_write_5m)
        + usage.cache_write_1h_input_tokens * (price.long_context_cache_write_1h if long else price.cache_write_1h)
        + usage.cache_read_input_tokens * (price.long_context_cache_read if long else price.cache_read)
    )


def _round_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
