"""What goes wrong with accounts. Each kind is something that operators of such gateways meet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A kind of failure."""

    DOWN = "down"
    """Connections are refused; running answers break off."""
    HANGING = "hanging"
    """Requests are taken and nothing comes until a deadline, or until it ends (then they are reset)."""
    OVERLOADED = "overloaded"
    """Every request is answered 529."""
    STORM = "storm"
    """Six in ten requests are answered 529."""
    BROWN_OUT = "brown-out"
    """Three in ten fail with a 500, the others take three times as long and one in fifty breaks off."""
    SLOW = "slow"
    """Everything takes eight times as long."""
    DEAD_KEY = "dead key"
    """401 until somebody mends it."""
    CUT = "cut"
    """Its limits fall to a tenth."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One account's failure."""

    account: int
    kind: Kind
    begins: float
    ends: float


SHARE_REFUSED = {Kind.STORM: 0.6, Kind.BROWN_OUT: 0.3}
SLOWNESS = {Kind.BROWN_OUT: 3.0, Kind.SLOW: 8.0}
BREAKS_OFF = 0.02
CUT_TO = 0.1
