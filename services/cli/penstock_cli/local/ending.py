"""The signals that end a local gateway: the first asks, a later one insists."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INSIST_SECONDS = 1.0
"""A second signal after this long means now; some senders (timeout(1)) give every one twice."""


class Ending:
    """Notes SIGINT, SIGTERM and SIGHUP on the running loop. `asked` and `insisted` are set in this order."""

    def __init__(self, clock: Callable[[], float], on_asked: Callable[[str], None]) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()
        self._clock = clock
        self._on_asked = on_asked
        self._asked_at = 0.0

    def listen(self) -> None:
        """Take over the signals of this process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup(1) starts its program deaf to the end of the terminal, which must stay so.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self.heard, number)

    def heard(self, number: signal.Signals) -> None:
        """Note one signal."""
        if not self.asked.is_set():
            self._asked_at = self._clock()
            self.asked.set()
            self._on_asked(number.name)
        elif self._clock() - self._asked_at >= INSIST_SECONDS:
            self.insisted.set()
