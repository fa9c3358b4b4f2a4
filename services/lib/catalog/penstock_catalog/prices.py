"""Price rows: what a model's tokens cost from a moment on, and the digest that a settlement names a row by."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field

_DIGEST_LENGTH = 16


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
