"""What holds a connection's sides back: a client that sends too fast, and us where a client reads too slowly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock_edge.corking import CorkedTransport

STALL_SECONDS: Final = 120.0


class Flow:
    """The same as uvicorn's `FlowControl`, also by name, for requests that are uvicorn's; lighter on the others.

    A client that reads nothing for `stall_seconds` while something waits for it loses its connection.
    """

    __slots__ = (
        "_loop",
        "_room",
        "_stall_seconds",
        "_stall_timer",
        "_transport",
        "_unread",
        "read_paused",
        "write_paused",
    )

    def __init__(
        self, transport: CorkedTransport, loop: asyncio.AbstractEventLoop, stall_seconds: float = STALL_SECONDS
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._stall_seconds = stall_seconds
        self._stall_timer: asyncio.TimerHandle | None = None
        self._unread = 0
        """How much waited for the client when it was last looked at."""
        self._room: asyncio.Event | None = None
        """Made when a client is slow for the first time."""
        self.read_paused = False
        self.write_paused = False

    async def drain(self) -> None:
        """Wait until the client has read enough."""
        if self._room is not None:
            await self._room.wait()

    def pause_reading(self) -> None:
        """Let the client wait."""
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Let the client go on."""
        if self.read_paused:
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Note that the client is slow."""
        if not self.write_paused:
            self.write_paused = True
            self._room = asyncio.Event()
            self._watch_unread()

    def resume_writing(self) -> None:
        """Note that the client has read enough."""
        if self.write_paused:
            self.write_paused = False
            room, self._room = self._room, None
            if room is not None:
                room.set()
            if self._stall_timer is not None:
                self._stall_timer.cancel()
                self._stall_timer = None

    def _watch_unread(self) -> None:
        self._unread = self._transport.get_write_buffer_size()
        self._stall_timer = self._loop.call_later(self._stall_seconds, self._look_at_unread)

    def _look_at_unread(self) -> None:
        """End the connection of a client that reads nothing: its requests hold places that others wait for."""
        if self._transport.get_write_buffer_size() == self._unread:
            self._transport.abort()
        else:
            self._watch_unread()
