"""How many retries an edge may add to its traffic: the larger of a floor and a part of what it served lately."""

from __future__ import annotations

from typing import Final

_BUCKETS: Final = 10


class RetryBudget:
    """max(`minimum`, `fraction` of requests) retries in any `window_seconds`, counted in ten buckets. O(1)."""

    __slots__ = ("_base", "_fraction", "_minimum", "_request_sum", "_requests", "_retries", "_retry_sum", "_span")

    def __init__(self, minimum: int = 100, fraction: float = 0.2, window_seconds: float = 10.0) -> None:
        self._minimum = minimum
        self._fraction = fraction
        self._span = window_seconds / _BUCKETS
        self._requests = [0] * _BUCKETS
        self._retries = [0] * _BUCKETS
        self._request_sum = 0
        self._retry_sum = 0
        self._base: int | None = None

    def request(self, now: float) -> None:
        """Count one new request (not a retry) at `now` (monotonic seconds)."""
        self._requests[self._turn(now)] += 1
        self._request_sum += 1

    def try_retry(self, now: float) -> bool:
        """Take one retry from the budget at `now`; False when none is left."""
        index = self._turn(now)
        if self._retry_sum >= self.allowed():
            return False
        self._retries[index] += 1
        self._retry_sum += 1
        return True

    def allowed(self) -> int:
        """Return how many retries the window may hold, as of the last call."""
        return max(self._minimum, int(self._request_sum * self._fraction))

    def spent(self, now: float) -> int:
        """Return how many retries the window at `now` holds."""
        self._turn(now)
        return self._retry_sum

    def _turn(self, now: float) -> int:
        slot = int(now / self._span)
        if self._base is None:
            self._base = slot
        steps = slot - self._base
        if steps > 0:
            for step in range(1, min(steps, _BUCKETS) + 1):
                index = (self._base + step) % _BUCKETS
                self._request_sum -= self._requests[index]
                self._retry_sum -= self._retries[index]
                self._requests[index] = self._retries[index] = 0
            self._base = slot
        return self._base % _BUCKETS
