"""Virtual time: a heap of things to do. Nothing reads a clock, so the same seed gives the same run."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Engine:
    """Runs what was put down for later, in order of time; of equal times in the order they were put down."""

    __slots__ = ("_count", "_heap", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, what: Callable[..., None], *args: Any) -> None:
        """Call `what` at `when` (now, if that has passed)."""
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, what, args))

    def after(self, seconds: float, what: Callable[..., None], *args: Any) -> None:
        """Call `what` in `seconds`."""
        self.at(self.now + seconds, what, *args)

    def run(self, until: float) -> None:
        """Do everything up to `until`; what is due later is dropped with the engine."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= until:
            self.now, _, what, args = pop(heap)
            what(*args)
        self.now = until
