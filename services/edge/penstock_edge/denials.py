"""Denials of auth: for how long, and for which requests, the same is answered without asking. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from penstock_edge.records import Refused

if TYPE_CHECKING:
    from penstock_edge.records import Need

# Denials that say something of the key, not of what it asked for: nothing that was lent may be used after them.
OF_THE_KEY: Final = frozenset({"UNKNOWN_KEY", "DISABLED", "EXPIRED", "PLAN_MISSING"})
_BY_SIZE: Final = frozenset({"TOKENS", "COST", "SPEND_LIMIT", "CREDIT", "TOO_LARGE"})
_MONEY: Final = frozenset({"COST", "SPEND_LIMIT", "CREDIT"})


@dataclass(slots=True)
class Denied:
    """A denial that may be answered from until `valid_until`; `weight` is the size that did not fit."""

    refused: Refused
    asked_at: float
    reset_at: float
    valid_until: float
    weight: int

    def covers(self, need: Need) -> bool:
        """Say whether a request of this size would hear the same."""
        reason = self.refused.reason
        return reason not in _BY_SIZE or weight_of(need, reason, self.refused.unit) >= self.weight


def weight_of(need: Need, reason: str, unit: str) -> int:
    """Return the size that a denial with this reason and unit was about."""
    if reason in _MONEY or unit == "CostMicroUSD":
        return need.micro_usd
    if unit == "InputTokens":
        return need.input_tokens
    if unit == "OutputTokens":
        return need.output_tokens
    return need.input_tokens + need.output_tokens
