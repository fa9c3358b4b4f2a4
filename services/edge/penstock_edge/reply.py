"""The client's side of one exchange: what has been sent, and what may still be sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock_edge.cork import Cork

    Send = Callable[[dict[str, Any]], Awaitable[None]]

# Joining larger bodies with their head would cost more than a second write.
_LARGE_BYTES = 64 * 1024


class Reply:
    """Writes one answer. Every answer carries `request-id`, under the two names that clients know."""

    __slots__ = (
        "_cork",
        "_loop",
        "_pinging",
        "_request_id",
        "_send",
        "_whole",
        "ended",
        "last_sent_at",
        "sending_since",
        "started",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Send, request_id: str, cork: Cork | None = None) -> None:
        self._cork = cork
        self._loop = loop
        self._send = send
        self._request_id = request_id.encode()
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

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a complete answer."""
        self._whole = True
        cork = self._cork
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        if cork is None or len(body) > _LARGE_BYTES:
            await self.begin(status, headers)
            await self.end(body)
            return
        cork.shut()
        try:
            await self.begin(status, headers)
            await self.end(body)
        finally:
            cork.pull()

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send status and headers."""
        self.started = True
        self.status = status
        # Anthropic's SDKs read the first of these, OpenAI's the second.
        headers += ((b"request-id", self._request_id), (b"x-request-id", self._request_id))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(self, data: bytes) -> None:
        """Send a part of the body; waits while the client is slow."""
        if self._pinging is not None:
            await asyncio.wait([self._pinging])
        loop = self._loop
        self.sending_since = loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self.sending_since = None
        self.last_sent_at = loop.time()

    async def end(self, data: bytes = b"") -> None:
        """Send the last part of the body."""
        if self._pinging is not None:
            await asyncio.wait([self._pinging])
        self.ended = True
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    def ping(self, data: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Send a keep-alive in the background, with status and headers before the first one."""
        if not self.ended and self._pinging is None and self.sending_since is None:
            self._pinging = self._loop.create_task(self._ping(data, headers))

    async def _ping(self, data: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        try:
            # Between being called and being run, a complete answer may have begun.
            if self._whole or self.ended:
                return
            if not self.started:
                await self.begin(200, headers)
            self.sending_since = self._loop.time()
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            self.sending_since = None
            self.last_sent_at = self._loop.time()
        finally:
            self._pinging = None
