"""Writes that follow each other closely wait for the end of the loop's turn and go out together.

A write to a peer that sleeps wakes it up, which costs more than all else about the write; what comes right after it
finds the peer awake. An edge that is busy spares most of that so, one that is not writes at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from penstock_chassis import logs

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

_log = logs.get(__name__)

CLOSE_SECONDS: Final = 50e-6
"""After another write; what comes later is not worth waiting for. Serving a request takes about that long."""
AT_ONCE: Final = 8
"""So many writes do not wait after one has waited and nothing had come to go with it."""
MOST_BYTES: Final = 64 * 1024
"""No more waits on one connection."""
MOST_WRITES: Final = 64
"""No more writes wait, about 3 ms of work: a turn that brings a thousand requests is not short."""


class Cork:
    """Decides which writes of one loop wait, and lets them go."""

    __slots__ = ("_at_once", "_clock", "_loop", "_waiting", "_wrote_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic) -> None:
        self._loop = loop
        self._clock = clock
        self._waiting: list[CorkedTransport] = []
        self._wrote_at = float("-inf")
        self._at_once = 0

    def holds(self, transport: CorkedTransport) -> bool:
        """Whether a transport's write waits for the end of this turn; it is told to `flush` then."""
        if not self._waiting:
            if self._at_once > 0:
                self._at_once -= 1
                return False
            now = self._clock()
            if now - self._wrote_at > CLOSE_SECONDS:
                self._wrote_at = now
                return False
            self._loop.call_soon(self.release)
        elif len(self._waiting) >= MOST_WRITES:
            # The call for the turn's end is there still.
            self.release()
        self._waiting.append(transport)
        return True

    def release(self) -> None:
        """Write what waits, also before the turn's end: what comes next may take long."""
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            try:
                transport.flush()
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is that connection's and not the others'
                _log.error("write_failed", error=type(error).__name__)
                transport.abort()
        if len(waiting) == 1:
            self._at_once = AT_ONCE
        if waiting:
            self._wrote_at = self._clock()


class CorkedTransport:
    """A transport whose writes may wait for the end of the loop's turn; else the same as the one beneath, by name."""

    __slots__ = ("_beneath", "_cork", "_pieces", "held")

    def __init__(self, beneath: asyncio.Transport, cork: Cork) -> None:
        self._beneath = beneath
        self._cork = cork
        self._pieces: list[bytes] = []
        """What waits."""
        self.held = 0
        """How many bytes wait, or did when the connection ended, and never went out."""

    def write(self, data: bytes) -> None:
        """Write, now or at the end of this turn."""
        if self._pieces or self._cork.holds(self):
            self._pieces.append(data)
            self.held += len(data)
            if self.held > MOST_BYTES:
                self.flush()
        else:
            self._beneath.write(data)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Write much, now."""
        self.flush()
        self._beneath.writelines(pieces)

    def flush(self) -> None:
        """Write what waits."""
        pieces = self._pieces
        if not pieces:
            return
        self._pieces = []
        if self._beneath.is_closing():
            return
        held, self.held = self.held, 0
        if len(pieces) == 1:
            self._beneath.write(pieces[0])
        else:
            self._beneath.writelines(pieces)
        if self._beneath.is_closing():
            # The kernel refused it, and so took nothing of it.
            self.held = held

    def release(self) -> None:
        """Write what waits on any connection: what comes next may take long."""
        self._cork.release()

    def write_eof(self) -> None:
        """Say that nothing more follows what was written, where that can be said."""
        self.flush()
        if self._beneath.can_write_eof() and not self._beneath.is_closing():
            self._beneath.write_eof()

    def close(self) -> None:
        """Close when all has gone out."""
        self.flush()
        self._beneath.close()

    def abort(self) -> None:
        """Close at once."""
        self._pieces = []
        self._beneath.abort()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._beneath.is_closing()

    def pause_reading(self) -> None:
        """Read no more."""
        self._beneath.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._beneath.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not gone out."""
        return self.held + self._beneath.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the transport beneath knows of itself."""
        return self._beneath.get_extra_info(name, default)
