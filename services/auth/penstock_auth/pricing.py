"""Pure prices: what a request's tokens cost, in integers with one rounding. The ledger calls it for every settlement.

A price row is integer micro-USD per million tokens; a plan's multiplier is in parts per million.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_catalog.charges import cost_micro

if TYPE_CHECKING:
    from penstock_catalog.prices import PriceRow


class Usage(msgspec.Struct, frozen=True, gc=False):
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
        return not (
            self.input_tokens
            or self.output_tokens
            or self.cache_read_input_tokens
            or self.cache_write_5m_input_tokens
            or self.cache_write_1h_input_tokens
        )


NO_USAGE: Final = Usage()


def charge(usage: Usage, price: PriceRow, multiplier_ppm: int) -> int:
    """Micro-USD that the project pays for what was delivered."""
    return cost_micro(usage, price, multiplier_ppm)


def upstream_cost(usage: Usage, price: PriceRow) -> int:
    """Micro-USD of one attempt at the list price, without any multiplier."""
    return cost_micro(usage, price)
