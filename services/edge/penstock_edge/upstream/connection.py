"""One TCP or TLS connection to an upstream: bytes in and out, one call at a time, deadlines, reuse."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final, cast

from penstock_edge.corking import CorkedTransport
from penstock_edge.upstream.answer_reader import AnswerReader
from penstock_edge.upstream.answers import declared_idle_seconds, ends_by_itself
from penstock_edge.upstream.call import Call
from penstock_edge.upstream.errors import (
    ConnectionLostError,
    DeadlineError,
    TruncatedBodyError,
    UpstreamError,
)
from penstock_edge.upstream.outgoing import Outgoing

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Callable

    from penstock_edge.corking import Cork
    from penstock_edge.upstream.deadlines import Deadlines

_FOREVER: Final = float("inf")


class Connection(AnswerReader):
    """Speaks HTTP/1.1 as a client. `on_free` is called when it can take another call, `on_closed` once at its end."""

    __slots__ = (
        "__weakref__",
        "_clock",
        "_cork",
        "_deadline",
        "_eof",
        "_idle_seconds",
        "_loop",
        "_on_closed",
        "_on_first_answer",
        "_on_free",
        "_outgoing",
        "_phase",
        "_poll",
        "_retire_at",
        "_reused",
        "_rings_at",
        "_streamed",
        "_timer",
        "_transport",
        "_unanswerable",
        "idle_limit",
        "idle_since",
        "lost",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_free: Callable[[Connection], None],
        on_closed: Callable[[Connection], None],
        cork: Cork,
        *,
        age_seconds: float = _FOREVER,
        forwarded: bool = False,
        on_first_answer: Callable[[Connection], None] | None = None,
    ) -> None:
        """Begin unconnected. `forwarded`: a proxy stands between, and answers itself when it does not know us."""
        super().__init__(forwarded=forwarded)
        self._loop = loop
        self._cork = cork
        self._clock: Callable[[], float] = loop.time
        self._on_free = on_free
        self._on_closed: Callable[[Connection], None] | None = on_closed
        self._transport: CorkedTransport | None = None
        self._outgoing: Outgoing | None = None
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._deadline = 0.0
        self._phase = ""
        self._streamed = False
        self._idle_seconds = 0.0
        self._reused = False
        self._eof = False
        self._unanswerable = False
        self._retire_at = loop.time() + age_seconds
        self._on_first_answer = on_first_answer
        self.idle_since = 0.0
        self.idle_limit = _FOREVER
        """Seconds after which the upstream closes an idle connection, as far as it said so."""
        self.lost = False
        """It has ended."""

    # What the pool asks.

    @property
    def alive(self) -> bool:
        """Whether an idle connection may be used: open, and nothing has come on it, not even a goodbye."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if self.idle_limit < _FOREVER and self._clock() - self.idle_since >= self.idle_limit:
            return False
        return self._poll is None or not self._poll(0)

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS layer of a connection that has one."""
        return None if self._transport is None else self._transport.get_extra_info("ssl_object")

    @property
    def reused(self) -> bool:
        """An answer was read from it before the present call."""
        return self._reused

    def begin(self, request: list[bytes], deadlines: Deadlines) -> Call:
        """Send a request, its body last, and return its call."""
        transport, outgoing = self._transport, self._outgoing
        if transport is None or outgoing is None or transport.is_closing() or self._call is not None:
            raise ConnectionLostError(stale=True)
        call = self._call = Call(self._loop, self, deadlines)
        self._reset_answer()
        self._streamed, self._idle_seconds = deadlines.streamed, deadlines.idle
        if self._streamed:
            self._arm(call.sent_at + deadlines.first_byte, "first_byte")
        else:
            self._arm(call.sent_at + deadlines.response, "response")
        outgoing.send(request, self._idle_seconds, call.sent_at)
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

    def cut(self) -> None:
        """End the connection, and its call with an error."""
        call = self._call
        if call is not None and call.head_done:
            self._fail(TruncatedBodyError("this process is closing"))
        else:
            self._fail(ConnectionLostError(stale=False))

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
        self._transport = made = CorkedTransport(cast("asyncio.Transport", transport), self._cork)
        self._outgoing = Outgoing(self._loop, made, self._waits, self._stalled)
        self.begin_reading()
        self.idle_since = self._loop.time()
        descriptor = transport.get_extra_info("socket")
        if descriptor is not None:
            poll = select.poll()
            poll.register(descriptor.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
            # 0.8 µs; peeking raises where there is nothing, 3.3 µs, and TCP_INFO, 0.9 µs, says nothing of bytes.
            self._poll = poll.poll

    def data_received(self, data: bytes) -> None:
        """Parse what came and wake the call."""
        call = self._call
        if call is None:
            # Nobody asked: an upstream that says goodbye (408) or that sends more than it announced.
            self.close()
            return
        now = self._clock()
        if not call.answered:
            if self._never_sent():
                # No answer, then, but a goodbye (408) that crossed the request.
                self._fail(ConnectionLostError(stale=True))
                return
            call.answered = True
            call.first_byte_at = now
        wrong = self.read(data)
        if wrong is not None:
            self._fail(wrong)
            return
        if self._over:
            self._end_call(now)
            return
        if self._streamed and call.head_done and not call.discarding:
            self._arm(now + self._idle_seconds, "idle")
        call.wake()

    def eof_received(self) -> bool | None:
        """Note an orderly end; the transport then closes itself."""
        self._eof = True
        self._unanswerable = self._nothing_arrived()
        if self._transport is not None and self._outgoing is not None and self._outgoing.unsent():
            # Closing would wait for the rest of the request to go, to which no answer will come.
            self._transport.abort()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """End the call that is under way and let go of everything."""
        self.lost = True
        call = self._call
        if call is not None and not call.complete:
            if call.head_done and self._eof and exc is None and not ends_by_itself(call.fields):
                call.finish()
            else:
                call.fail(self._loss(call, exc))
        self._call = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._outgoing is not None:
            self._outgoing.stop()
        # These and the connection name each other; without this, memory waits for the cycle collector.
        self._outgoing = None
        self.end_reading()
        self._transport = None
        self._poll = None
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed(self)

    def _loss(self, call: Call, exc: Exception | None) -> UpstreamError:
        if call.head_done:
            return TruncatedBodyError("the upstream's answer broke off")
        if self._never_sent():
            return ConnectionLostError(stale=True)
        if call.answered or not self._reused:
            return ConnectionLostError(stale=False)
        # Linux says EPIPE instead of ECONNRESET when the upstream's FIN had come before its RST.
        closed_before = self._unanswerable or (isinstance(exc, BrokenPipeError) and self._nothing_arrived())
        return ConnectionLostError(stale=closed_before)

    def _never_sent(self) -> bool:
        """Whether the request still waits for the end of the loop's turn, or did when the connection ended."""
        transport = self._transport
        return transport is not None and transport.held > 0

    def _nothing_arrived(self) -> bool:
        """Whether nothing of the request can have reached the upstream, whose FIN is there."""
        return self._waits() and self._outgoing is not None and self._outgoing.nothing_arrived()

    def _waits(self) -> bool:
        """Whether nothing of an answer has come yet."""
        return self._call is not None and not self._call.answered

    def _stalled(self) -> None:
        self._fail(DeadlineError("write"))

    # Ends

    def _end_call(self, now: float) -> None:
        call, self._call = self._call, None
        transport = self._transport
        if call is not None:
            call.finish()
        if transport is None or transport.is_closing():
            return
        if not self._reused:
            self._learn(call)
        if call is not None and call.paused:
            transport.resume_reading()
        if self._outgoing is not None and self._outgoing.unsent():
            # An answer before the whole request went out: closing would wait for the rest to go.
            transport.abort()
            return
        if self._spoiled or now >= self._retire_at:
            transport.close()
            return
        self.idle_since = now
        self._on_free(self)

    def _learn(self, call: Call | None) -> None:
        """Take from a connection's first answer what holds for all that follow."""
        self._reused = True
        if call is not None:
            self.idle_limit = declared_idle_seconds(call.header(b"keep-alive"))
        if self._on_first_answer is not None:
            self._on_first_answer(self)

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
        if self._timer is not None:
            if self._rings_at <= deadline:
                return
            self._timer.cancel()
        self._set_timer(deadline)

    def _set_timer(self, at: float) -> None:
        self._timer = self._loop.call_at(at, self._expire)
        self._rings_at = at

    def _expire(self) -> None:
        self._timer = None
        call, outgoing = self._call, self._outgoing
        if call is None or outgoing is None:
            return
        now = self._loop.time()
        if call.paused:
            self._deadline = max(self._deadline, now + call.deadlines.idle)
        # Timers may fire a little early on a millisecond clock.
        if now + 0.002 < self._deadline:
            self._set_timer(self._deadline)
            return
        # Without the whole request nobody can have answered it.
        waited_for = "write" if not call.answered and outgoing.unsent() else self._phase
        self._fail(DeadlineError(waited_for))
