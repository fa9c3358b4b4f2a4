"""What wakes the loop: changes of objects at once, news of how things stand before long."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_SOON_SECONDS: Final = 0.5
_REST_FACTOR: Final = 2.0


class Alarm:
    """Rings for one loop. What only nudges waits until the loop has rested twice as long as its last turn took."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._event = asyncio.Event()
        self._rung = self._nudged = False
        self._rest_until = 0.0

    @property
    def pending(self) -> bool:
        """Whether it has rung since a turn began."""
        return self._rung or self._nudged

    def ring(self) -> None:
        """Wake it: somebody has changed what is wanted."""
        self._rung = True
        self._event.set()

    def nudge(self) -> None:
        """Wake it before long: something is not as it was."""
        self._nudged = True
        self._event.set()

    def turned(self, seconds: float) -> None:
        """Note that a turn has ended, which took so long."""
        self._rest_until = self._monotonic() + max(_SOON_SECONDS, _REST_FACTOR * seconds)

    def quieten(self) -> None:
        """Forget what has rung: a turn begins, and sees all of it."""
        self._rung = self._nudged = False

    async def wait(self, until: float) -> None:
        """Wait for it to ring, at most until then."""
        while not self._rung:
            due = min(until, self._rest_until) if self._nudged else until
            seconds = due - self._monotonic()
            if seconds <= 0:
                return
            self._event.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._event.wait()
            except TimeoutError:
                continue
