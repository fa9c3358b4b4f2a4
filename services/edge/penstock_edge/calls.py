"""What this edge tells auth of one key: questions, and after a loss of the counters all that it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from penstock_edge.amounts import Amounts
from penstock_edge.leases import Ended
from penstock_edge.records import Kind, Need


@dataclass(slots=True, eq=False)
class Call:
    """One question to auth with its number. Until it is answered it is repeated word for word."""

    kind: Kind
    seq: int
    sent_at: float
    epoch: str
    keeping: Amounts
    need_requests: int
    want_requests: int
    need: Amounts
    want: Amounts
    returned: Ended
    asked_for: Need | None
    """What the first who waits needs; None when nobody does."""


class Declared(NamedTuple):
    """All of one key: leases are (kind, id, unspent, seconds left), admissions (store's unix ms, kind, how many)."""

    holding: Amounts
    leases: list[tuple[Kind, str, int, float]]
    admissions: list[tuple[int, Kind, int]]
