"""Requests for which no account has room wait here a moment: bounded, first come first served by what they may use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from penstock_routing import NoneLeft

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from penstock_routing import Pick

_SHORTEST_NAP_SECONDS = 0.005
_LONGEST_NAP_SECONDS = 0.05


class WaitingLine:
    """At most `places` requests wait, each at most `seconds`."""

    def __init__(self, places: int, seconds: float) -> None:
        self._places = places
        self._seconds = seconds
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}
        self.waiting = 0

    def busy(self, place: Hashable) -> bool:
        """Whether somebody waits in that line already: a newcomer goes behind."""
        return place in self._locks

    async def wait(self, place: Hashable, first: NoneLeft, pick: Callable[[], Pick | NoneLeft]) -> Pick | NoneLeft:
        """Try `pick` again and again until it gives an account or hope is gone; returns what it gave last."""
        if first.soonest_seconds > self._seconds or self.waiting >= self._places:
            return first
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds
        lock, people = self._locks.get(place, (asyncio.Lock(), 0))
        self._locks[place] = (lock, people + 1)
        self.waiting += 1
        try:
            async with asyncio.timeout_at(deadline), lock:
                return await self._stand_first(pick, deadline)
        except TimeoutError:
            return first
        finally:
            self.waiting -= 1
            lock, people = self._locks.pop(place)
            if people > 1:
                self._locks[place] = (lock, people - 1)

    @staticmethod
    async def _stand_first(pick: Callable[[], Pick | NoneLeft], deadline: float) -> Pick | NoneLeft:
        loop = asyncio.get_running_loop()
        answer: Pick | NoneLeft = pick()
        while isinstance(answer, NoneLeft):
            left = deadline - loop.time()
            if left <= 0 or answer.soonest_seconds > left:
                return answer
            await asyncio.sleep(min(max(answer.soonest_seconds, _SHORTEST_NAP_SECONDS), _LONGEST_NAP_SECONDS))
            answer = pick()
        return answer
