"""Whether a request that failed may be tried on another account. Pure: history in, verdict out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from penstock_routing import outcomes as o

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock_routing.policy import Policy

_FIRST_SERVER_ERROR: Final = 500


class Verdict(StrEnum):
    """Why a request may or may not go to another account."""

    RETRY = "retry"
    FINAL = "final"
    """Its class is nobody else's business (ClientFault, ClientLeft, Ok)."""
    COMMITTED = "committed"
    """Output has reached the client, or the attempt may have been carried out and cannot be repeated."""
    POISON = "poison"
    """The same server error on two accounts: not on a third."""
    EXHAUSTED = "exhausted"
    """The bound on attempts is reached."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """One failed attempt of a request."""

    account: str
    cls: str
    status: int = 0
    repeatable: bool = True
    """False after output commit, and for a timeout of a unary request whose whole body went out."""


def verdict(history: Sequence[Attempted], policy: Policy) -> Verdict:
    """Judge a request by its attempts so far, oldest first; none: try. Deadline and budget are the caller's."""
    if not history:
        return Verdict.RETRY
    last = history[-1]
    if not policy.effect(last.cls).retry:
        return Verdict.FINAL
    if not last.repeatable:
        return Verdict.COMMITTED
    if _poisonous(history):
        return Verdict.POISON
    if len(history) >= policy.max_attempts:
        return Verdict.EXHAUSTED
    return Verdict.RETRY


def may_retry(history: Sequence[Attempted], policy: Policy) -> bool:
    """Return whether another account may be tried after `history` (oldest first)."""
    return verdict(history, policy) is Verdict.RETRY


def _poisonous(history: Sequence[Attempted]) -> bool:
    seen: dict[int, str] = {}
    for attempt in history:
        if attempt.cls != o.UNSTABLE or attempt.status < _FIRST_SERVER_ERROR:
            continue
        if seen.setdefault(attempt.status, attempt.account) != attempt.account:
            return True
    return False
