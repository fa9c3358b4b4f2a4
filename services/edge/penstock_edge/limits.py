"""A key's limits as auth last told them: what is scarce, and what headers show of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_edge.amounts import Amounts

if TYPE_CHECKING:
    from collections.abc import Iterable


# Of every answer, so it is made by an `__init__` of its own: the one of a dataclass is slow in compiled modules.
@dataclass(slots=True, init=False)
class LimitState:
    """One limit as headers show it: `remaining` of `amount`, all of it free again in `reset_ms` from now."""

    name: str
    unit: str
    amount: int
    remaining: int
    reset_ms: int
    window_ms: int
    scope: str

    def __init__(
        self, name: str, unit: str, amount: int, remaining: int, reset_ms: int, window_ms: int, scope: str
    ) -> None:
        self.name = name
        self.unit = unit
        self.amount = amount
        self.remaining = remaining
        self.reset_ms = reset_ms
        self.window_ms = window_ms
        self.scope = scope


def scarce(limits: Iterable[LimitState]) -> Amounts:
    """Return 1 for each amount of which less than half of a limit remains."""
    units = {s.unit for s in limits if s.remaining * 2 < s.amount}
    return Amounts(
        int("ConcurrentRequests" in units),
        int(bool(units & {"InputTokens", "TotalTokens"})),
        int(bool(units & {"OutputTokens", "TotalTokens"})),
        int("CostMicroUSD" in units),
    )


def shown(limits: tuple[LimitState, ...], units: int, spare: Amounts, age_ms: int) -> list[LimitState]:
    """Return each limit so much later, with what was lent of it and not used counted as remaining.

    `units`: of requests; `spare`: of everything else.
    """
    slots, tokens_in, tokens_out, usd = spare
    lent = {
        "Requests": units,
        "InputTokens": tokens_in,
        "OutputTokens": tokens_out,
        "TotalTokens": tokens_in + tokens_out,
        "CostMicroUSD": usd,
        "ConcurrentRequests": slots,
    }
    return [
        LimitState(
            s.name,
            s.unit,
            s.amount,
            min(s.amount, s.remaining + lent.get(s.unit, 0)),
            max(0, s.reset_ms - age_ms),
            s.window_ms,
            s.scope,
        )
        for s in limits
    ]
