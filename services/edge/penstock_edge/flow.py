"""What holds a connection's sides back: a client that sends too fast, and us where a client reads too slowly."""

from __future__ import annotations

import asyncio


class Flow:
    """The same as uvicorn's `FlowControl`, also by name, for requests that are uvicorn's; lighter on the others."""

    __slots__ = ("_room", "_transport", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
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

    def resume_writing(self) -> None:
        """Note that the client has read enough."""
        if self.write_paused:
            self.write_paused = False
            room, self._room = self._room, None
            if room is not None:
                room.set()
