"""What the books of a project hold and are told (`books`): records, and small sums over them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_auth.allowances import PROJECT
from penstock_auth.counters import Unit
from penstock_auth.recovery import FILLED_WINDOW_MS

if TYPE_CHECKING:
    from penstock_auth.allowances import Bound, Vector
    from penstock_auth.counters import AllowCall, Denial, Grant, LimitState
    from penstock_auth.turns import Turn
    from penstock_auth.windows import Window


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a decision needs to know beyond its project."""

    now: int
    edges: int
    recovering: bool
    full_at_ms: int
    live: frozenset[str]
    gone: frozenset[str]


@dataclass(frozen=True, slots=True)
class Decided:
    """What a project answers to a call."""

    grant: Grant | None
    denial: Denial | None
    limits: tuple[LimitState, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(slots=True)
class Lease:
    """Requests out on an edge since `granted_at`, booked at `expiry` in the counters named."""

    requests: int
    expiry: int
    counters: tuple[str, ...]
    kind: str
    granted_at: int


@dataclass(slots=True)
class Answer:
    """The last answer to a (session, key), for one that asks twice."""

    seq: int
    at: int
    decided: Decided


def turn_name(call: AllowCall) -> str:
    """Name who waits for a turn."""
    return f"{call.session}|{call.key}|{call.kind.value}"


def larger(one: Vector, other: Vector) -> Vector:
    """Return the larger of each two amounts."""
    return tuple(max(a, b) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]  # mypy forgets the length


def ahead_of(ahead: list[Turn], bound: Bound, call: AllowCall) -> int:
    """Return what those whose turn comes first need of a bound."""
    if bound.unit is Unit.REQUESTS:
        return sum(t.requests for t in ahead if t.kind == call.kind.value and bound.owner in (PROJECT, t.key))
    if bound.unit is Unit.CONCURRENT:
        return sum(t.slots for t in ahead if t.key == bound.owner)
    return 0


def fill_up(window: Window, amount: int, full_at_ms: int) -> None:
    """Count a short window as used up, once, after a loss whose sessions stayed lost."""
    if full_at_ms and not window.filled and window.window_ms <= FILLED_WINDOW_MS:
        window.filled = True
        window.add(full_at_ms, max(0, amount - window.total))
