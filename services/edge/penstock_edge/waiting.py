"""Requests for which no account has room wait here a moment, on the event loop; the library says who is next."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from penstock_routing import NoneLeft
from penstock_routing.waiting_room import WaitingRoom, hopeless

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from penstock_routing import Pick
    from penstock_routing.waiting_room import Ask

    Answer = Pick | NoneLeft


class WaitingLine:
    """At most `places` requests wait, each at most `seconds`. `give_back` takes a pick that nobody wants any more."""

    def __init__(self, places: int, seconds: float, give_back: Callable[[Pick], None]) -> None:
        self._room: WaitingRoom[asyncio.Future[Answer]] = WaitingRoom(places)
        self._seconds = seconds
        self._give_back = give_back
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._timer_at = float("inf")

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._room)

    def busy(self, line: Hashable) -> bool:
        """Whether somebody waits in that line already: a newcomer goes behind."""
        return self._room.busy(line)

    def refusal(self, line: Hashable) -> NoneLeft | None:
        """Return what the first of a busy line was told last."""
        return self._room.refusal(line, time.monotonic())

    def hopeless(self, none: NoneLeft) -> bool:
        """Whether waiting is in vain."""
        return hopeless(none, self._seconds)

    def changed(self) -> None:
        """Note that an account may have room: whoever is next asks at the loop's next turn."""
        if len(self._room):
            self._arm(0.0)

    async def wait(
        self, line: Hashable, first: NoneLeft | None, ask: Ask, *, project: str = "", cost: float = 1.0
    ) -> Answer:
        """Wait until an account has room or hope is gone; `first` is what `ask` said a moment ago, None if nothing."""
        now = time.monotonic()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        place = self._room.enter(
            line, ask, answer, project=project, cost=cost, deadline=now + self._seconds, first=first, now=now
        )
        self._arm(self._room.due())
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():
                given = answer.result()
                if not isinstance(given, NoneLeft):
                    self._give_back(given)
            else:
                self._room.leave(place)
                self.changed()
            raise

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
            if not answer.done():
                answer.set_result(given)
            elif not isinstance(given, NoneLeft):
                self._give_back(given)
        due = self._room.due()
        if due != float("inf"):
            self._arm(due)
