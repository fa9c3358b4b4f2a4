"""A turn straight on a connection: HTTP/1.1's framing of one request and its answer, with no layer between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from penstock_edge.answer_head import answer_head
from penstock_edge.bodies import DRAIN_BYTES, DRAIN_SECONDS, ClientLeftError, accept, announced
from penstock_edge.errors import BODY_TOO_LARGE, ProblemError, invalid

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from penstock_edge.corking import CorkedTransport
    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.flow import Flow
    from penstock_edge.turn import Serve

# Joining larger bodies with their head would cost more than a second buffer.
_LARGE_BYTES: Final = 64 * 1024
SOON_BYTES: Final = 1024 * 1024
"""So large may be a body that comes a moment after its head; no more of any comes before somebody reads it."""


class Line:
    """What a turn needs of its connection.

    A class and not a Protocol, since compiled modules call a class's methods straight.
    """

    __slots__ = ("flow", "loop", "transport")

    loop: asyncio.AbstractEventLoop
    transport: CorkedTransport
    flow: Flow

    def default_lines(self) -> bytes:
        """Return what stands in the head of every answer."""
        raise NotImplementedError

    def carry_on(self, turn: DirectTurn, rest: Coroutine[Any, Any, None]) -> None:
        """Serve the rest of a turn in a task."""
        raise NotImplementedError

    def turn_over(self) -> None:
        """Hear that the answer is complete."""
        raise NotImplementedError


class DirectTurn:
    """Collects the request's body as the parser finds it; writes each part of the answer in one call."""

    __slots__ = (
        "_callback",
        "_chunks",
        "_discarding",
        "_flow",
        "_held",
        "_limit",
        "_line",
        "_pieces",
        "_size",
        "_streamed",
        "_waiter",
        "answered",
        "body_whole",
        "gone",
        "headers",
        "in_flight",
        "keep_alive",
        "query",
        "response_complete",
        "serve",
        "task",
        "url",
    )

    def __init__(
        self, line: Line, serve: Serve, url: bytes, headers: Headers, query: bytes, *, chunks: bool, keep_alive: bool
    ) -> None:
        self.serve = serve
        """What is behind the path that was asked for."""
        self.url = url
        self.headers = headers
        self.query = query
        self.keep_alive = keep_alive
        """Another request may follow on the connection; as uvicorn names it."""
        self.response_complete = False
        """As uvicorn names it."""
        self.answered = False
        """Something of the answer has been written, or is about to be."""
        self.gone = False
        """The client has left."""
        self.in_flight = False
        """It is answered when its upstream does, by whoever calls then, without a task."""
        self.body_whole = False
        """All of the request has come."""
        self.task: asyncio.Task[None] | None = None
        self._line = line
        self._flow = line.flow
        self._callback: Callable[[], None] | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._limit = SOON_BYTES
        """How much of the body may come before somebody must know of it."""
        self._discarding = False
        self._waiter: asyncio.Future[None] | None = None
        self._held = b""
        self._chunks = chunks
        # The other way to end a stream is to end the connection, all that HTTP/1.0 knows.
        self._streamed = False

    @property
    def path(self) -> str:
        """The path that was asked for, decoded."""
        return unquote(self.url.partition(b"?")[0].decode())

    @property
    def slow(self) -> bool:
        """The client does not read what was sent."""
        return self._flow.write_paused

    def carry_on(self, rest: Coroutine[Any, Any, None]) -> None:
        """Serve the rest in a task."""
        self._line.carry_on(self, rest)

    # What the connection tells

    def feed(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self.response_complete:
            return
        self._size += len(data)
        if not self._discarding:
            self._pieces.append(data)
        if self._size > self._limit:
            if self._waiter is None:
                self._flow.pause_reading()
            else:
                self._wake()

    def finish(self) -> None:
        """Note the body's end."""
        self.body_whole = True
        if self._waiter is not None:
            self._wake()

    def comes_soon(self) -> bool:
        """Whether a body is announced that is no larger than most are."""
        for name, value in self.headers:
            if name == b"content-length":
                return announced(value) <= SOON_BYTES
        return False

    def leave(self) -> None:
        """Note that the client has left, and tell who listens."""
        self.gone = True
        self._wake()
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    # The request

    def try_body(self, limit: int) -> bytes | None:
        """Return the body if it is whole and no larger. Raises ProblemError (415)."""
        if not self.body_whole or self.gone or self._size > limit:
            return None
        accept(self.headers, limit)
        return self._hand_over()

    async def body(self, limit: int, seconds: float = 300.0) -> bytes:
        """Return the whole body. Raises ProblemError (413, 408, 415) and ClientLeftError."""
        accept(self.headers, limit)
        if not self.body_whole and self._size <= limit and not self.gone:
            await self._more(limit, seconds)
        if self.gone:
            raise ClientLeftError
        if self._size > limit:
            raise ProblemError(BODY_TOO_LARGE)
        return self._hand_over()

    def _hand_over(self) -> bytes:
        """Return the body and forget it."""
        if self._size > _LARGE_BYTES:
            # To read and to translate it may take long.
            self._line.transport.release()
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def drain(self) -> None:
        """Read and forget what the client still sends."""
        if self.body_whole or self.gone:
            return
        self._discarding = True
        self._pieces.clear()
        self._size = 0
        try:
            await self._more(DRAIN_BYTES, DRAIN_SECONDS)
        except ProblemError:
            return

    async def _more(self, limit: int, seconds: float) -> None:
        """Wait until the body is whole, or more than `limit` has come, or the client has left."""
        loop = self._line.loop
        self._limit = limit
        self._waiter = waiter = loop.create_future()
        late = loop.call_later(seconds, self._late)
        self._flow.resume_reading()
        try:
            await waiter
        finally:
            late.cancel()
            self._waiter = None
            self._limit = SOON_BYTES

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _late(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ProblemError(invalid("the request body did not come in time", 408)))

    def listen(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client leaves; at once if it has left."""
        if self.gone:
            callback()
        else:
            self._callback = callback

    def forget(self) -> None:
        """Nobody listens any more."""
        self._callback = None

    # The answer

    def try_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a complete answer unless the client is slow."""
        if self._flow.write_paused:
            return False
        self._write(self._head(status, headers), body)
        self._complete()
        return True

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer."""
        head = self._head(status, headers)
        if self._flow.write_paused:
            await self._flow.drain()
        self._write(head, body)
        self._complete()

    async def early(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer that is the connection's last."""
        self.keep_alive = False
        head = self._head(status, headers)
        if self._flow.write_paused:
            await self._flow.drain()
        self._write(head, body)

    def _write(self, head: bytes, body: bytes) -> None:
        if self.gone:
            return
        self.answered = True
        if len(body) > _LARGE_BYTES:
            self._line.transport.writelines([head, body])
        else:
            self._line.transport.write(head + body)

    def try_begin(self, status: int, headers: Headers) -> bool:
        """Make the head; it leaves with the first piece."""
        self._held = self._head(status, headers, chunked=self._chunks)
        self._streamed = True
        return True

    async def begin(self, status: int, headers: Headers) -> None:
        """Make the head; it leaves with the first piece."""
        self.try_begin(status, headers)

    def try_piece(self, data: bytes) -> bool:
        """Send a part of the body unless the client is slow."""
        if self._flow.write_paused:
            return False
        if data and not self.gone:
            held, self._held = self._held, b""
            self.answered = True
            self._line.transport.write(b"%b%x\r\n%b\r\n" % (held, len(data), data) if self._chunks else held + data)
        return True

    async def piece(self, data: bytes) -> None:
        """Send a part of the body."""
        while not self.try_piece(data):
            await self._flow.drain()

    def try_end(self, data: bytes) -> bool:
        """Send the last part of the body unless the client is slow."""
        if self._flow.write_paused:
            return False
        self._finish(data)
        return True

    async def end(self, data: bytes = b"") -> None:
        """Send the last part of the body."""
        if self._flow.write_paused:
            await self._flow.drain()
        self._finish(data)

    def _finish(self, data: bytes) -> None:
        if self._streamed and not self.gone:
            last = self._held + self._last(data)
            self._held = b""
            self.answered = True
            if last:
                self._line.transport.write(last)
        self._complete()

    def _last(self, data: bytes) -> bytes:
        """Return the end of a stream."""
        if not self._chunks:
            return data
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"

    def _head(self, status: int, headers: Headers, *, chunked: bool = False) -> bytes:
        """Return a head. Raises ValueError when a header could be read as anything but itself."""
        default = self._line.default_lines()
        return answer_head(status, default, headers, chunked=chunked, keep_alive=self.keep_alive)

    def _complete(self) -> None:
        if self.gone or self.response_complete:
            return
        self.response_complete = True
        if not self.keep_alive:
            self._line.transport.close()
        self._line.turn_over()
