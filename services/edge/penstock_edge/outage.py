"""What an edge may do while auth or its store is out of reach. Pure: time is an argument."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge.limits import LimitState
    from penstock_edge.records import Need

OutageReason = Literal["AUTH_UNAVAILABLE", "STORE_DOWN"]

DEGRADED_SECONDS: Final = 15 * 60.0


class Outage:
    """Since when no Allow has been answered, and why."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.reason: OutageReason = "AUTH_UNAVAILABLE"

    def failed(self, now: float, reason: OutageReason) -> None:
        """Note a call without an answer, or with the answer that the store is down."""
        if self.since is None:
            self.since = now
        self.reason = reason

    def over(self) -> None:
        """Note an answer."""
        self.since = None

    def lasted(self, now: float) -> float:
        """Return for how many seconds nothing has been answered; 0 when all is well."""
        return 0.0 if self.since is None else now - self.since


class Remainder:
    """One key's rest of each limit as last known, divided by the number of edges; what a `Degraded` plan may spend.

    In any time as long as a limit's window no more than that part is spent. It ends 15 minutes after `known_at`, when
    the answer that it stems from was asked for.
    """

    def __init__(
        self,
        limits: Iterable[LimitState],
        max_slots: int,
        edges: int,
        known_at: float,
        project: ProjectParts | None = None,
    ) -> None:
        project = project or ProjectParts()
        self._until = known_at + DEGRADED_SECONDS
        edges = max(1, edges)
        # Credit is not here: an outage never lends it, what was lent ahead of it is admission's affair.
        limits = [s for s in limits if not (s.unit == "CostMicroUSD" and not s.window_ms and s.scope == "Project")]
        windows = [s for s in limits if s.unit != "ConcurrentRequests"]
        self._parts = [
            project.part(s, s.remaining // edges, known_at) if s.scope == "Project" else _Part(s, s.remaining // edges)
            for s in windows
        ]
        slots = [s.remaining for s in limits if s.unit == "ConcurrentRequests"]
        if not slots and max_slots > 0:
            slots = [max_slots]
        self._slots = min(slots) // edges if slots else None
        self._open = 0

    def spend(self, need: Need, now: float) -> bool:
        """Spend one request's need if every limit has room for it."""
        if now >= self._until or not self._slot_is_free(need):
            return False
        parts = [(p, amount) for p in self._parts if (amount := p.amount_of(need)) > 0]
        if not all(p.has(amount, now, need.kind) for p, amount in parts):
            return False
        for part, amount in parts:
            part.spend(amount, need.kind)
        if need.kind == "requests":
            self._open += 1
        return True

    def ended(self) -> None:
        """Free the slot of one degraded request."""
        self._open -= 1

    def _slot_is_free(self, need: Need) -> bool:
        return need.kind != "requests" or self._slots is None or self._open < self._slots


class ProjectParts:
    """The parts of a project's limits, which all of its keys here spend together; the newest word of each counts."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str, int], tuple[float, _Part]] = {}

    def part(self, state: LimitState, budget: int, known_at: float) -> _Part:
        """Return the part of one limit, of which a key's answer asked for at `known_at` told."""
        name = (state.name, state.unit, state.window_ms)
        before, part = self._parts.get(name) or (known_at, _Part(state, budget))
        if known_at >= before:
            part.budget = max(0, budget)
        self._parts[name] = max(before, known_at), part
        return part


class _Part:
    """The part of one limit: what was spent of it in this and in the last period of one window's length, per kind."""

    __slots__ = ("_seconds", "_since", "_spent", "_unit", "budget")

    def __init__(self, state: LimitState, budget: int) -> None:
        self._unit = state.unit
        self.budget = max(0, budget)
        # A limit without a window, such as a key's spend limit, never has room again by itself.
        self._seconds = state.window_ms / 1000 if state.window_ms else math.inf
        self._since: dict[str, float] = {}
        self._spent: dict[str, tuple[int, int]] = {}

    def amount_of(self, need: Need) -> int:
        if self._unit == "Requests":
            return 1
        if need.kind != "requests":
            return 0
        tokens_in, tokens_out = need.input_tokens, need.output_tokens
        amounts = {
            "InputTokens": tokens_in,
            "OutputTokens": tokens_out,
            "TotalTokens": tokens_in + tokens_out,
            "CostMicroUSD": need.micro_usd,
        }
        return amounts.get(self._unit, 0)

    def has(self, amount: int, now: float, kind: str) -> bool:
        since = self._since.setdefault(kind, now)
        before, current = self._spent.get(kind, (0, 0))
        if now - since >= 2 * self._seconds:
            before, current, since = 0, 0, now
        elif now - since >= self._seconds:
            before, current, since = current, 0, since + self._seconds
        self._since[kind] = since
        self._spent[kind] = (before, current)
        return before + current + amount <= self.budget

    def spend(self, amount: int, kind: str) -> None:
        before, current = self._spent[kind]
        self._spent[kind] = (before, current + amount)
