"""A price as the edge knows it: compiled, since every request is reckoned by one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Price:
    """One price row in force from `effective_at_ms`: micro-USD per million tokens. No long-context tier: above is 0."""

    digest: str
    effective_at_ms: int
    input: int
    output: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int
    long_context_above: int
    long_context_input: int
    long_context_output: int
    long_context_cache_write_5m: int
    long_context_cache_write_1h: int
    long_context_cache_read: int
