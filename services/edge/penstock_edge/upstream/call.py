"""One request on one connection: its answer's head, then its body piece by piece, with back-pressure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.upstream.errors import BodyTooLargeError, UpstreamError
from penstock_edge.upstream.fields import first, pairs

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from penstock_edge.upstream.connection import Connection
    from penstock_edge.upstream.deadlines import Deadlines

# Above this many unread bytes the upstream's socket is no longer read.
_HIGH_WATER: Final = 64 * 1024
_LOW_WATER: Final = 16 * 1024
_MOST_AT_ONCE: Final = 64 * 1024
_DRAIN_SECONDS: Final = 1.0


class Call:
    """The consumer's side of one exchange. Single consumer; `abort` may come from anywhere on the loop.

    What is there already is had without waiting: `has_head`, `try_read`, `try_read_all`. Who then has to wait awaits
    `change`, or is called when something comes (`listen`, `then`).
    """

    __slots__ = (
        "_chunks",
        "_connection",
        "_error",
        "_hears",
        "_loop",
        "_paused",
        "_size",
        "_then",
        "_waiter",
        "answered",
        "complete",
        "deadlines",
        "discarding",
        "fields",
        "first_byte_at",
        "head_done",
        "sent_at",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Connection, deadlines: Deadlines) -> None:
        self._loop = loop
        self._connection: Connection | None = connection
        self._chunks: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._hears: Callable[[], bool] | None = None
        self._then: Callable[[], None] | None = None
        self._error: UpstreamError | None = None
        self._paused = False
        self.deadlines = deadlines
        self.status = 0
        """Status of the final answer; 0 before it."""
        self.fields: list[bytes] = []
        """Names and values of headers in turn, as they came."""
        self.answered = False
        """A byte has come back."""
        self.head_done = False
        self.complete = False
        self.discarding = False
        self.sent_at = loop.time()
        self.first_byte_at = 0.0
        """When the first byte of the answer came, on the loop's clock; 0.0 before."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """All headers: lower-case names, in order of arrival. Made when asked for: an ordinary answer's are not."""
        return pairs(self.fields)

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of that (lower-case) name. Only once the head is there."""
        return first(self.fields, name)

    def has_head(self) -> bool:
        """Whether status and headers are there. Raises UpstreamError when they will never be."""
        if not self.head_done and self._error is not None:
            raise self._error
        return self.head_done

    async def head(self) -> None:
        """Wait until status and headers are there. Raises UpstreamError."""
        while not self.has_head():
            await self.change()

    def try_read(self) -> bytes | None:
        """Return what has come of the body; empty at its end, None when more has to be waited for.

        Raises UpstreamError.
        """
        chunks = self._chunks
        if not chunks:
            if self._error is not None:
                raise self._error
            return b"" if self.complete else None
        if len(chunks) == 1:
            data = chunks.pop()
            self._size = 0
        else:
            data = self._take_some(chunks)
        # Of one whose answer has come whole the connection looks itself, and the last piece may be read before it does.
        if self._paused and self._size <= _LOW_WATER and self._connection is not None:
            self._paused = False
            self._connection.resume()
        return data

    async def read(self) -> bytes:
        """Return what has come of the body, waiting for some; empty at its end. Raises UpstreamError."""
        while (data := self.try_read()) is None:
            await self.change()
        return data

    def _take_some(self, chunks: list[bytes]) -> bytes:
        """Join pieces up to a bound: what a slow client waits for must not stand in memory several times over."""
        size = count = 0
        for chunk in chunks:
            size += len(chunk)
            count += 1
            if size >= _MOST_AT_ONCE:
                break
        data = b"".join(chunks[:count])
        del chunks[:count]
        self._size -= size
        return data

    def try_read_all(self, limit: int) -> bytes | None:
        """Return the whole body if it is there and has at most `limit` bytes; else None."""
        if not self.complete or self._size > limit:
            return None
        chunks, self._chunks = self._chunks, []
        self._size = 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def read_all(self, limit: int) -> bytes:
        """Return the whole body. Raises UpstreamError; BodyTooLargeError beyond `limit` bytes."""
        whole = self.try_read_all(limit)
        if whole is not None:
            return whole
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read():
            size += len(piece)
            if size > limit:
                self.abort()
                raise BodyTooLargeError(f"the body is larger than {limit} bytes")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def change(self) -> asyncio.Future[None]:
        """Return what is done when something more has come, or the call has ended."""
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def listen(self, hears: Callable[[], bool]) -> None:
        """Call `hears` whenever a `change` is about to be done: where it returns True, the waiting goes on."""
        self._hears = hears

    def then(self, heard: Callable[[], None] | None) -> None:
        """Call `heard` whenever something more has come, or the call has ended, while nobody awaits a `change`."""
        self._then = heard

    @property
    def over(self) -> bool:
        """Nothing more will come than what has come."""
        return self.complete or self._error is not None

    @property
    def failed(self) -> bool:
        """The answer will never be whole."""
        return self._error is not None

    def leftover(self) -> list[bytes]:
        """Return what came and was not read."""
        return list(self._chunks)

    def abort(self) -> None:
        """End the connection now unless the answer is complete; the upstream sees its client go."""
        connection, self._connection = self._connection, None
        if connection is not None and not self.complete:
            connection.abort()

    def let_go(self) -> None:
        """Nothing more will be read: keep the connection if the rest of the body comes at once, else end it."""
        connection = self._connection
        if connection is None or self.complete:
            return
        self.discarding = True
        self._chunks.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            connection.resume()
        connection.expect_end(_DRAIN_SECONDS)

    # The connection's side.

    def begin_body(self) -> None:
        """Note that the head is whole."""
        self.head_done = True

    def take(self, piece: bytes) -> None:
        """Queue a piece of the body; pauses the connection when the consumer is slow."""
        if self.discarding:
            return
        self._chunks.append(piece)
        self._size += len(piece)
        if self._size > _HIGH_WATER and not self._paused and self._connection is not None:
            self._paused = True
            self._connection.pause()

    def wake(self) -> None:
        """Tell the consumer that something came, if it waits."""
        waiter = self._waiter
        if waiter is None:
            if self._then is not None:
                self._then()
            return
        if not waiter.done():
            if self._hears is not None and self._hears():
                return
            waiter.set_result(None)
        self._waiter = None

    def finish(self) -> None:
        """Note the end of the body; the connection is no longer this call's."""
        self.complete = True
        self._connection = None
        self.wake()

    def fail(self, error: UpstreamError) -> None:
        """Note that no more will come. What was received before is still read first."""
        if not self.complete and self._error is None:
            self._error = error
        self._connection = None
        self.wake()

    @property
    def paused(self) -> bool:
        """The consumer is slow, so the upstream's silence is ours."""
        return self._paused
