"""Slots, tokens and money, counted together."""

from __future__ import annotations

from typing import Final, NamedTuple


class Amounts(NamedTuple):
    """Slots, tokens and micro-USD."""

    slots: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    micro_usd: int = 0

    def less(self, other: Amounts) -> Amounts:
        """Return what is left of these without `other`; never below zero."""
        return Amounts(*(max(0, a - b) for a, b in zip(self, other, strict=True)))

    def most(self, other: Amounts) -> Amounts:
        """Return the larger of each."""
        return Amounts(*(max(a, b) for a, b in zip(self, other, strict=True)))


NOTHING: Final = Amounts()
