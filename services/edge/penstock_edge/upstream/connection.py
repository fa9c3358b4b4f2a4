"""One TCP or TLS connection to an upstream: bytes in and out, one call at a time, deadlines, reuse."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, cast

import httptools

from penstock_edge.upstream.call import Call
from penstock_edge.upstream.errors import (
    ConnectionLostError,
    DeadlineError,
    MalformedAnswerError,
    TruncatedBodyError,
    UpstreamError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.upstream.deadlines import Deadlines

MAX_HEAD_BYTES = 128 * 1024
_MAX_INTERIM_ANSWERS = 16
# Up to here, joining head and body is cheaper than writing twice.
_SMALL_REQUEST_BYTES = 64 * 1024
# A kept connection that was idle this long and is lost at once had most likely been closed by the upstream before.
_STALE_IDLE_SECONDS = 1.0
_STALE_LOST_SECONDS = 1.0


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 as a client. `on_free` is called when it can take another call, `on_closed` once at its end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_free: Callable[[Connection], None],
        on_closed: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._on_free = on_free
        self._on_closed: Callable[[Connection], None] | None = on_closed
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._poll: select.poll | None = None
        self._call: Call | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._phase = ""
        self._reused = False
        self._idle_before = 0.0
        self._eof = False
        self._reset_answer()
        self.idle_since = 0.0

    def _reset_answer(self) -> None:
        self._head_bytes = 0
        self._interim = 0
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._framed = False
        self._over = False
        self._spoiled = False

    # What the pool asks.

    @property
    def alive(self) -> bool:
        """Whether an idle connection may be used: open, and nothing has come on it, not even a goodbye."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        return self._poll is None or not self._poll.poll(0)

    def begin(self, request: list[bytes], deadlines: Deadlines) -> Call:
        """Send a request and return its call."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._call is not None:
            raise ConnectionLostError(stale=True)
        call = self._call = Call(self._loop, self, deadlines)
        self._reset_answer()
        self._idle_before = call.sent_at - self.idle_since if self._reused else 0.0
        if deadlines.streamed:
            self._arm(call.sent_at + deadlines.first_byte, "first_byte")
        else:
            self._arm(call.sent_at + deadlines.response, "response")
        if sum(map(len, request)) <= _SMALL_REQUEST_BYTES:
            transport.write(b"".join(request))
        else:
            transport.writelines(request)
        return call

    def close(self) -> None:
        """Close an idle connection."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._call = None
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Stop reading: the consumer is slower than the upstream."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._touch()

    def expect_end(self, seconds: float) -> None:
        """Give the rest of an answer that is not wanted `seconds` to pass."""
        self._arm(self._loop.time() + seconds, "idle")

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self.idle_since = self._loop.time()
        descriptor = transport.get_extra_info("socket")
        if descriptor is not None:
            self._poll = select.poll()
            self._poll.register(descriptor.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)

    def data_received(self, data: bytes) -> None:
        """Parse what came and wake the call."""
        call = self._call
        if call is None or self._parser is None:
            # Nobody asked: an upstream that says goodbye (408) or that sends more than it announced.
            self.close()
            return
        if not call.answered:
            call.answered = True
            call.first_byte_at = self._loop.time()
        if not call.head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._over:
                self._fail(MalformedAnswerError("the upstream's answer is not valid HTTP/1.1"))
                return
            self._spoiled = True
        if self._over:
            self._end_call()
            return
        if not call.head_done and self._head_bytes > MAX_HEAD_BYTES:
            self._fail(MalformedAnswerError("the head of the upstream's answer is too large"))
            return
        if call.deadlines.streamed and call.head_done and not call.discarding:
            self._touch()
        call.wake()

    def eof_received(self) -> bool | None:
        """Note an orderly end; the transport then closes itself."""
        self._eof = True
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """End the call that is under way and let go of everything."""
        call, self._call = self._call, None
        if call is not None and not call.complete:
            if call.head_done and not self._framed and self._eof and exc is None:
                call.finish()
            else:
                call.fail(self._loss(call))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Parser and connection name each other; without this, memory waits for the cycle collector.
        self._parser = None
        self._transport = None
        self._poll = None
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed(self)

    def _loss(self, call: Call) -> UpstreamError:
        if call.head_done:
            return TruncatedBodyError("the upstream's answer broke off")
        quickly = self._loop.time() - call.sent_at < _STALE_LOST_SECONDS
        stale = self._reused and not call.answered and self._idle_before >= _STALE_IDLE_SECONDS and quickly
        return ConnectionLostError(stale=stale)

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """Note an answer that nobody asked for."""
        if self._over:
            self._spoiled = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Hand a final answer's head to the call."""
        call, parser = self._call, self._parser
        if call is None or parser is None or self._over:
            return
        self._status = status = parser.get_status_code()
        if status < 200:
            return
        call.status = status
        call.headers = headers = self._headers
        self._framed = status in {204, 304} or any(
            name in {b"content-length", b"transfer-encoding"} for name, _ in headers
        )
        call.begin_body()

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body to the call."""
        if self._call is not None and not self._over:
            self._call.take(body)

    def on_message_complete(self) -> None:
        """Note the answer's end, or pass over an interim one (1xx)."""
        if self._over:
            return
        if 100 <= self._status < 200:
            self._headers = []
            self._interim += 1
            if self._interim > _MAX_INTERIM_ANSWERS or self._status == 101:
                raise ValueError("too many interim answers")
            return
        self._over = True
        # The parser knows about `Connection: close` here and only here.
        if self._parser is None or not self._parser.should_keep_alive() or not self._framed:
            self._spoiled = True

    # Ends

    def _end_call(self) -> None:
        call, self._call = self._call, None
        transport = self._transport
        if call is not None:
            call.finish()
        if transport is None or transport.is_closing():
            return
        if call is not None and call.paused:
            transport.resume_reading()
        if transport.get_write_buffer_size() > 0:
            # An answer before the whole request went out: closing would wait for the rest to go.
            transport.abort()
            return
        if self._spoiled:
            transport.close()
            return
        self._reused = True
        self.idle_since = self._loop.time()
        self._on_free(self)

    def _fail(self, error: UpstreamError) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.fail(error)
        if self._transport is not None:
            self._transport.abort()

    # Deadlines: one timer per connection, armed lazily, because most of them never fire.

    def _touch(self) -> None:
        call = self._call
        if call is not None and call.deadlines.streamed:
            self._arm(self._loop.time() + call.deadlines.idle, "idle")

    def _arm(self, deadline: float, phase: str) -> None:
        self._deadline = deadline
        self._phase = phase
        timer = self._timer
        if timer is not None:
            if timer.when() <= deadline:
                return
            timer.cancel()
        self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        call = self._call
        if call is None:
            return
        now = self._loop.time()
        if call.paused:
            self._deadline = max(self._deadline, now + call.deadlines.idle)
        # Timers may fire a little early on a millisecond clock.
        if now + 0.002 < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._expire)
            return
        self._fail(DeadlineError(self._phase))
