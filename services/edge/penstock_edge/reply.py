"""The client's side of one exchange: what has been sent, and what may still be sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.turn import Turn


class Reply:
    """Writes one answer. Every answer carries `request-id`, under the two names that clients know."""

    __slots__ = (
        "_loop",
        "_names",
        "_pinging",
        "_turn",
        "_whole",
        "ended",
        "last_sent_at",
        "sending_since",
        "started",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Turn, request_id: str) -> None:
        name = request_id.encode()
        self._loop = loop
        self._turn = turn
        # Anthropic's SDKs read the first of these, OpenAI's the second.
        self._names: Headers = [(b"request-id", name), (b"x-request-id", name)]
        self._pinging: asyncio.Future[None] | None = None
        self._whole = False
        self.started = False
        """Status and headers have gone out (or are going)."""
        self.ended = False
        self.status = 0
        self.last_sent_at = loop.time()
        self.sending_since: float | None = None
        """Since when a write waits for the client to read."""

    def clock(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def try_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a complete answer now; False when nothing was sent and `whole` has to be awaited."""
        self._start(status, whole=True)
        self.ended = True
        return self._turn.try_whole(status, self._of(headers, body), body)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer."""
        self._start(status, whole=True)
        self.ended = True
        await self._turn.whole(status, self._of(headers, body), body)

    async def early(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer to a request that is still coming; `end` ends the connection."""
        self._start(status, whole=True)
        await self._turn.early(status, self._of(headers, body), body)

    def try_begin(self, status: int, headers: Headers) -> bool:
        """Begin a streamed answer now; False when nothing was done and `begin` has to be awaited."""
        if self._pinging is not None or not self._turn.try_begin(status, headers + self._names):
            return False
        self._start(status, whole=False)
        return True

    async def begin(self, status: int, headers: Headers) -> None:
        """Begin a streamed answer: status and headers, which may wait for the first piece."""
        self._start(status, whole=False)
        await self._turn.begin(status, headers + self._names)

    def try_piece(self, data: bytes) -> bool:
        """Send a part of the body now; False when nothing was sent and `piece` has to be awaited."""
        if self._pinging is not None or not self._turn.try_piece(data):
            return False
        self.last_sent_at = self._loop.time()
        return True

    async def piece(self, data: bytes) -> None:
        """Send a part of the body; waits while the client is slow."""
        if self._pinging is not None:
            await asyncio.wait([self._pinging])
        loop = self._loop
        self.sending_since = loop.time()
        await self._turn.piece(data)
        self.sending_since = None
        self.last_sent_at = loop.time()

    def try_end(self, data: bytes) -> bool:
        """Send the last part of the body now; False when nothing was sent and `end` has to be awaited."""
        if self._pinging is not None or not self._turn.try_end(data):
            return False
        self.ended = True
        return True

    async def end(self, data: bytes = b"") -> None:
        """Send the last part of the body."""
        if self._pinging is not None:
            await asyncio.wait([self._pinging])
        self.ended = True
        await self._turn.end(data)

    def ping(self, data: bytes, headers: Headers) -> None:
        """Send a keep-alive in the background, with status and headers before the first one."""
        if not self.ended and self._pinging is None and self.sending_since is None:
            self._pinging = self._loop.create_task(self._ping(data, headers))

    async def _ping(self, data: bytes, headers: Headers) -> None:
        try:
            # Between being called and being run, a complete answer may have begun.
            if self._whole or self.ended:
                return
            if not self.started:
                await self.begin(200, headers)
            self.sending_since = self._loop.time()
            await self._turn.piece(data)
            self.sending_since = None
            self.last_sent_at = self._loop.time()
        finally:
            self._pinging = None

    def _start(self, status: int, *, whole: bool) -> None:
        self._whole = whole
        self.started = True
        self.status = status

    def _of(self, headers: Headers, body: bytes) -> Headers:
        return [*headers, (b"content-length", b"%d" % len(body)), *self._names]
