"""How long a process that ended by itself waits for its restart. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_SECONDS = 0.2
MOST_SECONDS = 5.0
STEADY_SECONDS = 10.0
"""A process that ran this long begins again with the first delay."""


@dataclass(slots=True)
class Backoff:
    """The delays of one process: doubling while it keeps ending early."""

    next_seconds: float = FIRST_SECONDS
    in_a_row: int = 0

    def ended(self, ran_seconds: float) -> float:
        """Return the delay before the next start of a process that ran for so long."""
        if ran_seconds >= STEADY_SECONDS:
            self.next_seconds = FIRST_SECONDS
            self.in_a_row = 0
        delay = self.next_seconds
        self.next_seconds = min(delay * 2, MOST_SECONDS)
        self.in_a_row += 1
        return delay
