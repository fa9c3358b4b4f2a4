"""Conditions: what is said of an object, in the form that everybody knows from Kubernetes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Truth = Literal["True", "False", "Unknown"]

ACCEPTED: Final = "Accepted"
RESOLVED_REFS: Final = "ResolvedRefs"
ISSUED: Final = "Issued"
PROGRAMMED: Final = "Programmed"
REACHABLE: Final = "Reachable"
READY: Final = "Ready"

_LONGEST_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """One aspect of an object's state, and why it is so."""

    type: str
    status: Truth
    reason: str
    message: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is True."""
        return self.status == "True"


def true(kind: str, message: str = "", *, reason: str = "") -> Condition:
    """Say that an aspect holds; the reason is its own name unless there is a better word."""
    return Condition(kind, "True", reason or kind, message)


def false(kind: str, reason: str, message: str) -> Condition:
    """Say that an aspect does not hold."""
    return Condition(kind, "False", reason, message)


def unknown(kind: str, reason: str, message: str) -> Condition:
    """Say that nobody knows yet."""
    return Condition(kind, "Unknown", reason, message)


def found(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return an aspect as an object's status has it; an empty mapping when it has none."""
    return next((row for row in _rows(status) if row.get("type") == kind), {})


def written(
    status: Mapping[str, Any], wanted: Sequence[Condition], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return the conditions to write over those of `status`.

    What has not flipped keeps its time, however its reason and message change. Conditions of types that are not ours
    stay at the end.
    """
    ours = {condition.type for condition in wanted}
    rows = [_row(condition, found(status, condition.type), generation, now) for condition in wanted]
    return [*rows, *(dict(row) for row in _rows(status) if row.get("type") not in ours)]


def time_text(moment: datetime) -> str:
    """Write a time as Kubernetes does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(condition: Condition, before: Mapping[str, Any], generation: int, now: datetime) -> dict[str, Any]:
    kept = before.get("lastTransitionTime") if before.get("status") == condition.status else None
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message[:_LONGEST_MESSAGE],
        "lastTransitionTime": kept or time_text(now),
        "observedGeneration": generation,
    }


def _rows(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = status.get("conditions")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
