"""When to look again at which key, to give back what is over: one timer for all of them."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

from penstock_edge.times import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.key_book import KeyBook


class Reminders:
    """At most one valid reminder per key, the soonest; `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, KeyBook]] = []
        self._count = 0
        self._sooner = asyncio.Event()

    def remind(self, book: KeyBook, when: float) -> None:
        """See that `book` is looked at at `when`, if not before."""
        if when >= book.allowance.due_at:
            return
        book.allowance.due_at = when
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, book))
        if self._heap[0][2] is book:
            self._sooner.set()

    async def next(self) -> KeyBook:
        """Wait for the next key that is due."""
        while True:
            now = self._clock()
            while self._heap and self._heap[0][0] <= now:
                when, _, book = heapq.heappop(self._heap)
                if when == book.allowance.due_at:
                    book.allowance.due_at = NEVER
                    return book
            self._sooner.clear()
            try:
                async with asyncio.timeout(self._heap[0][0] - now if self._heap else None):
                    await self._sooner.wait()
            except TimeoutError:
                pass
