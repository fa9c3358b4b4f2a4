"""Requests for which no account has room wait here a moment, on the event loop; the library says who is next."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from penstock_routing import NoneLeft
from penstock_routing.waiting_room import WaitingRoom, Wish

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_routing import Pick, Pool, Traits

    Answer = Pick | NoneLeft

# Routing's words for a share without a free slot, which a larger one would help, and for a trial that another edge has.
_WANTED: Final = frozenset({"SlotsFull", "HalfOpen"})


class WaitingLine:
    """Finds accounts, at once or later: at most `places` requests wait, each at most `seconds`.

    `wanted` is told of each account of which a larger share would help one more (or one fewer) who waits.
    """

    def __init__(
        self, pool: Pool, rng: Callable[[], float], places: int, seconds: float, wanted: Callable[[str, int], None]
    ) -> None:
        self._pool = pool
        self._room: WaitingRoom[asyncio.Future[Answer]] = WaitingRoom(pool, rng, places=places, seconds=seconds)
        self._wanted = wanted
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._timer_at = float("inf")
        pool.listen(self._changed)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._room)

    def try_seek(self, traits: Traits, tried: frozenset[str], now: float) -> Answer | None:
        """Return an account that has been taken, or why there will be none; None when it has to be `seek`."""
        return self._room.try_seek(traits, tried, now)

    async def seek(self, traits: Traits, tried: frozenset[str], preferred: Traits | None = None) -> Answer:
        """Return an account that has been taken, or why there is none; `preferred` names accounts to ask first."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        wish = Wish(traits, tried, answer, preferred=preferred)
        found = self._room.seek(wish, time.monotonic())
        return found if found is not None else await self._wait(wish)

    async def _wait(self, wish: Wish[asyncio.Future[Answer]]) -> Answer:
        self._arm(self._room.due())
        told = self._room.refusal(wish, time.monotonic())
        full = [] if told is None else [name for name, reason in told.reasons.items() if reason in _WANTED]
        for name in full:
            self._wanted(name, 1)
        answer = wish.ticket
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():
                self._give_back(answer.result())
            else:
                self._room.leave(wish)
                self._changed()
            raise
        finally:
            for name in full:
                self._wanted(name, -1)

    def _give_back(self, answer: Answer) -> None:
        if not isinstance(answer, NoneLeft):
            self._pool.unused(answer, time.monotonic())

    def _changed(self) -> None:
        """Note that an account may have room: whoever is next asks at the loop's next turn."""
        if len(self._room):
            self._arm(0.0)

    def _arm(self, due: float) -> None:
        """Take a turn at `due` (monotonic seconds), or before."""
        if due >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        loop = asyncio.get_running_loop()
        left = due - time.monotonic()
        self._timer = loop.call_later(left, self._turn) if left > 0 else loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        for answer, given in self._room.turn(time.monotonic()):
            if answer.done():
                self._give_back(given)
            else:
                answer.set_result(given)
        due = self._room.due()
        if due != float("inf"):
            self._arm(due)
