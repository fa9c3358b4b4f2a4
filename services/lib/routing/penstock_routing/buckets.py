"""Standing token buckets: the form of every capacity limit. Pure: `now` in seconds is an argument."""

from __future__ import annotations


class Bucket:
    """`rate` units per second up to `burst`. Starts with `level`. A clock that steps back adds nothing."""

    __slots__ = ("at", "burst", "level", "rate")

    def __init__(self, rate: float, burst: float, level: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self.level = min(level, burst)
        self.at = now

    def available(self, now: float) -> float:
        """Return the units at `now`; negative while a large request is being paid off."""
        if now > self.at:
            level = self.level + (now - self.at) * self.rate
            self.level = min(level, self.burst)
            self.at = now
        return self.level

    def wait(self, units: float, now: float) -> float:
        """Return the seconds until `units` (at most a full bucket) are there; inf when they never will be."""
        missing = min(units, self.burst) - self.available(now)
        if missing <= 1e-9:
            return 0.0
        return missing / self.rate if self.rate > 0 else float("inf")

    def take(self, units: float, now: float) -> None:
        """Take `units`, into debt if need be: what is larger than the bucket goes when the bucket is full."""
        self.level = self.available(now) - units

    def give(self, units: float, now: float) -> None:
        """Give back what was not used (negative: more was used than taken)."""
        self.level = min(self.available(now) + units, self.burst)

    def reshape(self, rate: float, burst: float, now: float) -> None:
        """Change rate and size. A larger bucket fills with time only, so that lent capacity is never there twice."""
        self.available(now)
        self.rate = rate
        self.burst = burst
        self.level = min(self.level, burst)
