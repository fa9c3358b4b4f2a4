"""The store's clock as seen from here: a monotonic clock and an offset learned from answers. Pure.

The estimate is never early: a request dated late is counted for longer, one dated early would leave its window early.
"""

from __future__ import annotations

from typing import Final

_WINDOW_SECONDS: Final = 15.0


class StoreClock:
    """Turns this edge's monotonic seconds into the store's unix ms.

    An answer that carried the store's time S, asked at `sent` and received at `received`, was made in between: so the
    offset is at most S - sent and at least S - received. The lowest upper bound of the last 15 to 30 s counts, unless
    a lower bound is above it: then the store's clock was put forward.
    """

    def __init__(self) -> None:
        self._best: float | None = None
        self._before: float | None = None
        self._since = 0.0

    @property
    def known(self) -> bool:
        """True once any answer has carried the time."""
        return self._best is not None

    def learn(self, store_ms: int, sent: float, received: float) -> None:
        """Take in one answer's time; `sent` and `received` are seconds of this edge's monotonic clock."""
        if store_ms <= 0:
            return
        above, below = store_ms - sent * 1000, store_ms - received * 1000
        if self._best is None or below > self._upper():
            self._best, self._before, self._since = above, None, received
        elif received - self._since > _WINDOW_SECONDS:
            self._before, self._best, self._since = self._best, above, received
        else:
            self._best = min(self._best, above)

    def at(self, now: float) -> int:
        """Return the store's time at `now`, unix ms, rounded up. 0 while nothing is known."""
        best = self._best
        if best is None:
            return 0
        before = self._before
        return int(now * 1000 + (best if before is None or best < before else before)) + 1

    def _upper(self) -> float:
        best = self._best or 0.0
        return best if self._before is None else min(best, self._before)
