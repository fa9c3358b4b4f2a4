"""HTTP/1.1 at the level where it can be broken on purpose: one asyncio protocol per connection, bytes as we like."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

import httptools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# A client that is refused in the middle of its upload gets this long to notice.
_LINGER_SECONDS = 5.0
_MAX_HEADER_BYTES = 128 * 1024
_MAX_PIPELINED = 64
_SEND_BUFFER_BYTES = 64 * 1024


class GoneError(ConnectionError):
    """The client has left."""


class Request:
    """One whole request. Header names are lower case; `header(name)` is the last value of that name."""

    __slots__ = ("arrived", "arrived_at", "body", "headers", "method", "oversized", "path", "query", "raw", "target")

    def __init__(self, method: str, target: str, raw: list[tuple[str, str]], body: bytes, *, oversized: bool) -> None:
        self.method = method
        self.target = target
        self.raw = raw
        self.headers = dict(raw)
        self.body = body
        self.oversized = oversized
        path, _, self.query = target.partition("?")
        self.path = unquote(path) if "%" in path else path
        self.arrived = time.monotonic()
        self.arrived_at = time.time()

    def header(self, name: str) -> str:
        """Return a header, or an empty text."""
        return self.headers.get(name, "")

    def argument(self, name: str) -> str | None:
        """Return the first value of a query argument."""
        values = parse_qs(self.query, keep_blank_values=True).get(name)
        return values[0] if values else None


class Exchange:
    """One request and the means to answer it, well or badly."""

    def __init__(self, connection: Connection, request: Request, *, keep_alive: bool) -> None:
        self.request = request
        self.keep_alive = keep_alive
        self.on_gone: Callable[[], None] | None = None
        self._connection = connection

    async def send(self, data: bytes) -> None:
        """Hand bytes to the kernel; returns when it has taken all of them. Raises GoneError."""
        await self._connection.send(data)

    def cut(self, *, reset: bool = False) -> None:
        """Close the connection at once, with FIN or RST."""
        self._connection.cut(reset=reset)

    def hang_up(self) -> None:
        """Close the connection after this answer without announcing it."""
        self._connection.closing = True


class Connection(asyncio.Protocol):
    """Parses requests with httptools and hands them to `handle`, one at a time."""

    def __init__(
        self, handle: Callable[[Exchange], Awaitable[None]], open_connections: set[Connection], max_body_bytes: int
    ) -> None:
        self._handle = handle
        self._all = open_connections
        self._max_body_bytes = max_body_bytes
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._current: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._paused = False
        self._lost = False
        self.closing = False
        self._begin_message()

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; writes are to be felt at once."""
        self._transport = transport  # type: ignore[assignment]  # TCP servers are given full transports
        self._transport.set_write_buffer_limits(high=0)
        peer = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # What the kernel holds counts as sent: the less it holds, the nearer are records to what a reader has.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._all.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse_garbage()

    def pause_writing(self) -> None:
        """Note that the kernel takes no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._paused = False
        self._wake()

    def eof_received(self) -> bool:
        """Treat a half-closed connection as gone, at once: a free slot must be free before the next request counts."""
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End whatever is going on."""
        del exc
        self._all.discard(self)
        self._leave()

    # -- what httptools calls

    def on_message_begin(self) -> None:
        """Start a request."""
        self._begin_message()

    def on_url(self, url: bytes) -> None:
        """Gather the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Gather a header."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > _MAX_HEADER_BYTES:
            raise ValueError("headers too long")
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Refuse a body that says it is too long before reading it; invite one that waits to be."""
        fields = dict(self._headers)
        length = fields.get("content-length", "")
        if length.isdigit() and int(length) > self._max_body_bytes:
            self._oversize()
        elif fields.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Gather the body, counted."""
        if self._oversized:
            return
        self._length += len(body)
        if self._length > self._max_body_bytes:
            self._oversize()
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue the request, or end a refused upload."""
        if self._oversized:
            self.closing = True
            if self._current is None:
                self._transport.close()
        else:
            self._queue(oversized=False)

    # -- our own

    def _begin_message(self) -> None:
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._length = 0
        self._header_bytes = 0
        self._oversized = False

    def _oversize(self) -> None:
        self._body.clear()
        self._queue(oversized=True)
        self._oversized = True
        self._loop.call_later(_LINGER_SECONDS, self._transport.close)

    def _queue(self, *, oversized: bool) -> None:
        method = self._parser.get_method().decode("latin-1")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(method, self._target.decode("latin-1"), self._headers, body, oversized=oversized)
        keep_alive = self._parser.should_keep_alive() and not oversized
        if self._current is None:
            self._begin(request, keep_alive=keep_alive)
        elif len(self._waiting) < _MAX_PIPELINED:
            self._waiting.append((request, keep_alive))
        else:
            self._transport.abort()

    def _begin(self, request: Request, *, keep_alive: bool) -> None:
        self._current = Exchange(self, request, keep_alive=keep_alive)
        self._task = self._loop.create_task(self._run(self._current))

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self._handle(exchange)
        except GoneError:
            return
        except BaseException:
            self._transport.abort()
            raise
        finally:
            self._current = None
        if self._lost:
            return
        if self.closing or (not exchange.keep_alive and not exchange.request.oversized):
            self._transport.close()
        elif self._waiting:
            request, keep_alive = self._waiting.popleft()
            self._begin(request, keep_alive=keep_alive)

    def _leave(self) -> None:
        if self._lost:
            return
        self._lost = True
        self._waiting.clear()
        if self._current is not None and self._current.on_gone is not None:
            self._current.on_gone()
        if self._task is not None and not self._task.done() and self._current is not None:
            self._task.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _refuse_garbage(self) -> None:
        if not self._lost:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self._transport.close()

    async def send(self, data: bytes) -> None:
        """Write, and wait until the kernel has it all. Raises GoneError."""
        if self._lost:
            raise GoneError
        self._transport.write(data)
        while self._paused and not self._lost:
            self._room = self._loop.create_future()
            await self._room
        if self._lost:
            raise GoneError

    def cut(self, *, reset: bool) -> None:
        """Close at once."""
        peer = self._transport.get_extra_info("socket")
        if reset and peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._current = None
        self._transport.abort()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self._current is None

    def end(self) -> None:
        """Close after the current answer, or now."""
        self.closing = True
        if self.idle:
            self._transport.close()
