"""What tokens cost by the figures of a price row: the sum that the ledger charges and the edge's headers show."""

from typing import Final, Protocol

PPM: Final = 1_000_000
"""A multiplier of 1, in parts per million."""
_SCALE: Final = 1_000_000 * PPM


class Tokens(Protocol):
    """Tokens by kind; the edge's and auth's own records will do."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cache_read_input_tokens(self) -> int: ...
    @property
    def cache_write_5m_input_tokens(self) -> int: ...
    @property
    def cache_write_1h_input_tokens(self) -> int: ...
    @property
    def whole_input(self) -> int:
        """All input tokens, cached or not."""
        ...


class Rates(Protocol):
    """The figures of a `PriceRow`; the edge's view of one will do."""

    @property
    def input(self) -> int: ...
    @property
    def output(self) -> int: ...
    @property
    def cache_write_5m(self) -> int: ...
    @property
    def cache_write_1h(self) -> int: ...
    @property
    def cache_read(self) -> int: ...
    @property
    def long_context_above(self) -> int: ...
    @property
    def long_context_input(self) -> int: ...
    @property
    def long_context_output(self) -> int: ...
    @property
    def long_context_cache_write_5m(self) -> int: ...
    @property
    def long_context_cache_write_1h(self) -> int: ...
    @property
    def long_context_cache_read(self) -> int: ...


def cost_micro(tokens: Tokens, rates: Rates, multiplier_ppm: int = PPM) -> int:
    """Return what tokens cost in micro-USD: by price, by multiplier, rounded half up once.

    The ledger charges by this and the edge's headers show it. A whole input above the long-context bound moves
    everything to that tier.
    """
    if 0 < rates.long_context_above < tokens.whole_input:
        total = (
            tokens.input_tokens * rates.long_context_input
            + tokens.output_tokens * rates.long_context_output
            + tokens.cache_write_5m_input_tokens * rates.long_context_cache_write_5m
            + tokens.cache_write_1h_input_tokens * rates.long_context_cache_write_1h
            + tokens.cache_read_input_tokens * rates.long_context_cache_read
        )
    else:
        total = (
            tokens.input_tokens * rates.input
            + tokens.output_tokens * rates.output
            + tokens.cache_write_5m_input_tokens * rates.cache_write_5m
            + tokens.cache_write_1h_input_tokens * rates.cache_write_1h
            + tokens.cache_read_input_tokens * rates.cache_read
        )
    return (total * multiplier_ppm + _SCALE // 2) // _SCALE
