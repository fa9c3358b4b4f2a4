"""A limit as providers run them: a bucket that refills continuously, and may be drained by running answers.

Anthropic says that its limits use "the token bucket algorithm", that capacity is "continuously replenished up to your
maximum limit, rather than being reset at fixed intervals", and that output counts as it is produced, not by
`max_tokens` (docs: API, rate limits).
"""

from __future__ import annotations

import math


class Refill:
    """`per_minute` units a minute, at most `burst_seconds` of them in store. Starts full."""

    __slots__ = ("_at", "burst", "drain", "level", "lost", "rate", "taken")

    def __init__(self, per_minute: float, burst_seconds: float = 60.0, least: float = 1.0) -> None:
        self.rate = per_minute / 60.0
        self.burst = max(self.rate * burst_seconds, least)
        self.level = self.burst
        self.drain = 0.0
        """Units a second that running answers take."""
        self.taken = 0.0
        self.lost = 0.0
        """What was refilled into a full bucket: capacity that nobody used."""
        self._at = 0.0

    def left(self, now: float) -> float:
        """Return the units in store; negative while running answers overdraw it."""
        span = now - self._at
        if span > 0:
            level = self.level + (self.rate - self.drain) * span
            self.taken += self.drain * span
            if level > self.burst:
                self.lost += level - self.burst
                level = self.burst
            self.level = level
            self._at = now
        return self.level

    def take(self, units: float, now: float) -> None:
        """Take units at once."""
        self.level = self.left(now) - units
        self.taken += units

    def drained(self, by: float, now: float) -> None:
        """Change by how much running answers drain it (negative: one has ended)."""
        self.left(now)
        self.drain = max(self.drain + by, 0.0)

    def scale(self, factor: float, now: float) -> None:
        """Cut rate and size (or restore them)."""
        self.left(now)
        self.rate *= factor
        self.burst *= factor
        self.level = min(self.level, self.burst)

    def fill(self, now: float) -> None:
        """Fill it up."""
        self.left(now)
        self.level = self.burst

    def wait(self, units: float, now: float) -> float:
        """Return the seconds until `units` will be there if nobody takes any meanwhile."""
        missing = min(units, self.burst) - self.left(now)
        return missing / self.rate if missing > 0 else 0.0

    def reset(self, now: float) -> float:
        """Return the seconds until it is full again."""
        return math.ceil((self.burst - self.left(now)) / self.rate)
