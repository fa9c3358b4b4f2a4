"""Sliding windows in fixed buckets: the arithmetic under every requests, token and cost limit.

A window of W ms has 120 buckets (and a bit, where 120 does not divide W). What stands in bucket i counts until bucket
i+122 begins, so it counts for W and at least one bucket more, at most two: conservative, and safe against a bucket's
worth of jitter between the edge and the upstream. The Lua of `counters_redis` does the same on hashes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKETS: Final = 120
KEPT: Final = BUCKETS + 2


def bucket_ms(window_ms: int) -> int:
    """Return the length of a bucket; rounded up, so that 121 whole buckets are never shorter than the window."""
    return max(1, -(-window_ms // BUCKETS))


def span_ms(window_ms: int) -> int:
    """Return the longest time that anything counts in a window, ms."""
    return KEPT * bucket_ms(window_ms)


class Window:
    """The counts of one window, with a running sum. Times are ms of the store's clock and never go back."""

    __slots__ = ("_counts", "_gone", "_size", "filled", "top", "total", "window_ms")

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self.total = 0
        self.top = 0  # the highest bucket ever used
        self.filled = False
        self._size = bucket_ms(window_ms)
        self._gone = 0  # this bucket and all before it no longer count
        self._counts: dict[int, int] = {}

    def advance(self, now: int) -> None:
        """Forget what has left the window at `now`."""
        gone = now // self._size - KEPT
        if gone <= self._gone:
            return
        if self._counts:
            behind = gone - self._gone
            old = (
                range(self._gone + 1, gone + 1)
                if behind <= len(self._counts)
                else [index for index in self._counts if index <= gone]
            )
            for index in old:
                self.total -= self._counts.pop(index, 0)
        self._gone = gone

    def add(self, at: int, units: int) -> None:
        """Count `units` at `at`, unless that has left the window already."""
        index = at // self._size
        if index <= self._gone or units == 0:
            return
        self._counts[index] = self._counts.get(index, 0) + units
        self.total += units
        self.top = max(self.top, index)

    def add_all(self, times: Iterable[int], units: Iterable[int]) -> None:
        """Count what `add` would count one by one."""
        size, gone, counts = self._size, self._gone, self._counts
        for at, used in zip(times, units, strict=True):
            index = at // size
            if index <= gone or used == 0:
                continue
            counts[index] = counts.get(index, 0) + used
            self.total += used
            self.top = max(self.top, index)

    def move(self, units: int, came: int, spent: int, goes: int) -> None:
        """Take `units` out of the bucket of `came`, and count `spent` of them at `goes` instead."""
        index = came // self._size
        if index <= self._gone:
            return
        left = self._counts.get(index, 0) - units
        self.total -= units
        if left:
            self._counts[index] = left
        else:
            self._counts.pop(index, None)
        self.add(goes, spent)

    def reset_ms(self, short: int, now: int) -> int | None:
        """Return how long it takes, ms, until `short` units have left; None when fewer are here."""
        for index in sorted(self._counts):
            short -= self._counts[index]
            if short <= 0:
                return max(1, (index + KEPT) * self._size - now)
        return None

    def empty_ms(self, now: int) -> int:
        """Return when the window is empty if nothing more comes, ms from now; 0 when it is."""
        return max(0, (self.top + KEPT) * self._size - now) if self.total else 0

    def idle(self, now: int) -> bool:
        """Say whether nothing counts any more, so that the window can be forgotten."""
        self.advance(now)
        return not self._counts
