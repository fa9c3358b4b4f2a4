"""Price rows: what a model's tokens cost from a moment on, the digest that a settlement names a row by, and the sum."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict, Field

_DIGEST_LENGTH = 16
PPM: Final = 1_000_000
"""A multiplier of 1, in parts per million."""
_SCALE: Final = 1_000_000 * PPM


class PriceRow(BaseModel):
    """One immutable row. Every price is integer micro-USD per million tokens (USD per million tokens times 1,000,000).

    When the whole input (plain, cache writes and cache reads) is more than `long_context_above` tokens, the
    `long_context_*` prices hold for everything; 0 there means that there is no such tier.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    effective_at_ms: int = Field(ge=0)
    input: int = Field(ge=0)
    output: int = Field(ge=0)
    cache_write_5m: int = Field(ge=0)
    cache_write_1h: int = Field(ge=0)
    cache_read: int = Field(ge=0)
    long_context_above: int = Field(default=0, ge=0)
    long_context_input: int = Field(default=0, ge=0)
    long_context_output: int = Field(default=0, ge=0)
    long_context_cache_write_5m: int = Field(default=0, ge=0)
    long_context_cache_write_1h: int = Field(default=0, ge=0)
    long_context_cache_read: int = Field(default=0, ge=0)

    @cached_property
    def canonical(self) -> str:
        """The row as canonical JSON (sorted keys, no blanks): what the digest is taken of."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """First 16 hexadecimal digits of SHA-256 over `canonical`. Equal rows of two models share it."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:_DIGEST_LENGTH]


def in_force(rows: Sequence[PriceRow], at_ms: int) -> PriceRow | None:
    """Find the row in force at a Unix time in ms, in rows that ascend by effective time; None before the first."""
    found = None
    for row in rows:
        if row.effective_at_ms > at_ms:
            break
        found = row
    return found


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
