"""Token buckets as upstreams use them, and the rate limit headers that tell of them. Pure; time is an argument."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

_WINDOW_SECONDS = 60.0


class Bucket:
    """Holds one minute's amount and refills all the time."""

    __slots__ = ("_left", "_rate", "_then", "amount")

    def __init__(self, amount: int, now: float) -> None:
        self.amount = amount
        self._rate = amount / _WINDOW_SECONDS
        self._left = float(amount)
        self._then = now

    def left(self, now: float) -> float:
        """Return what is there; negative after an overdraft."""
        self._left = min(float(self.amount), self._left + max(0.0, now - self._then) * self._rate)
        self._then = max(self._then, now)
        return self._left

    def wait(self, units: float, now: float) -> float:
        """Return the seconds until `units` can be taken; more than the whole waits for a full bucket."""
        missing = min(float(units), float(self.amount)) - self.left(now)
        return max(0.0, missing / self._rate) if missing > 1e-9 else 0.0

    def take(self, units: float, now: float) -> None:
        """Take, below zero if need be."""
        self._left = self.left(now) - units

    def full_in(self, now: float) -> float:
        """Return the seconds until the bucket is full."""
        return max(0.0, (self.amount - self.left(now)) / self._rate)


def headers(name: str, buckets: list[Bucket], now: float, wall: float) -> list[tuple[str, str]]:
    """Return limit, remaining and reset (RFC 3339) of one or the sum of several buckets; `wall` is Unix seconds."""
    left = sum(max(0, math.floor(bucket.left(now) + 1e-9)) for bucket in buckets)
    reset = wall + max(bucket.full_in(now) for bucket in buckets)
    prefix = f"anthropic-ratelimit-{name}"
    return [
        (f"{prefix}-limit", str(sum(bucket.amount for bucket in buckets))),
        (f"{prefix}-remaining", str(left)),
        (f"{prefix}-reset", _rfc3339(reset)),
    ]


def _rfc3339(wall: float) -> str:
    moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=math.ceil(wall))
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
