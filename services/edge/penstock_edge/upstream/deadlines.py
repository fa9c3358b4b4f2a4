"""How long each part of one upstream call may take."""

from __future__ import annotations

from typing import NamedTuple


class Deadlines(NamedTuple):
    """Seconds. A stream has `first_byte` until its body begins and then `idle` between pieces; all else `response`."""

    connect: float
    first_byte: float
    idle: float
    response: float
    streamed: bool
