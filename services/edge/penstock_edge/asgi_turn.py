"""A turn on a server that speaks ASGI: how requests are served that the edge's own protocol leaves to its server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from penstock_edge import bodies
from penstock_edge.answer_head import pairs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock_edge.dialects.dialect import Headers

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]


class AsgiTurn:
    """Receives and sends ASGI's messages; a task watches for the client's leaving."""

    __slots__ = ("_receive", "_send", "_watcher", "headers", "path", "query")

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.headers: Headers = scope["headers"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self._receive = receive
        self._send = send
        self._watcher: asyncio.Task[None] | None = None

    def try_body(self, limit: int) -> bytes | None:
        """Return None: ASGI always waits."""
        del limit
        return None

    async def body(self, limit: int, seconds: float = 300.0) -> bytes:
        """Return the whole body. Raises ProblemError and ClientLeftError."""
        return await bodies.read_body(self._receive, self.headers, limit=limit, seconds=seconds)

    async def drain(self) -> None:
        """Read and forget what the client still sends."""
        await bodies.drain(self._receive)

    def listen(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client leaves."""
        self._watcher = asyncio.get_running_loop().create_task(self._watch(callback))

    def forget(self) -> None:
        """Nobody listens any more."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self, callback: Callable[[], None]) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                callback()
                return

    def try_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send nothing: ASGI always waits."""
        del status, headers, body
        return False

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer."""
        await self.begin(status, headers)
        await self.end(body)

    async def early(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer that is the connection's last."""
        await self.begin(status, [*headers, (b"connection", b"close")])
        await self.piece(body)

    def try_begin(self, status: int, headers: Headers) -> bool:
        """Do nothing: ASGI always waits."""
        del status, headers
        return False

    async def begin(self, status: int, headers: Headers) -> None:
        """Send status and headers."""
        await self._send({"type": "http.response.start", "status": status, "headers": pairs(headers)})

    def try_piece(self, data: bytes) -> bool:
        """Send nothing: ASGI always waits."""
        del data
        return False

    async def piece(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def try_end(self, data: bytes) -> bool:
        """Send nothing: ASGI always waits."""
        del data
        return False

    async def end(self, data: bytes = b"") -> None:
        """Send the last part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})
