"""Brings one account's answer to the client: whole for a unary request, event by event for a stream.

Nothing of a stream goes out before its output begins, so that until then another account can take over unseen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.decoding import UndecodableError, decoder_for
from penstock_edge.providers.failure import Failure
from penstock_edge.providers.wire import Signal
from penstock_edge.sse import EventSplitter, EventTooLargeError
from penstock_edge.standing import ENDED, UNDERWAY, UNFIT
from penstock_edge.upstream import BodyTooLargeError, TruncatedBodyError
from penstock_edge.upstream.fields import Names
from penstock_routing import outcomes

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.exchange import Attempt, Exchange
    from penstock_edge.passage import Follower
    from penstock_edge.upstream import Call

# What of an upstream's answer a client may see. Everything else is about our account or our connection.
_PASSED: Final = Names(b"content-type", b"content-language", b"deprecation", b"sunset", b"warning")
_TRANSLATED: Final = [(b"content-type", b"application/json")]

# Errors of our account, in words that may name it: the client gets our own instead.
_OUR_OWN: Final = frozenset(
    {
        outcomes.CREDENTIAL_INVALID,
        outcomes.FORBIDDEN,
        outcomes.MODEL_MISSING,
        outcomes.QUOTA_EXHAUSTED,
        outcomes.THROTTLED,
        outcomes.THROTTLED_NO_HINT,
    }
)

MOST_ANSWER_BYTES: Final = 64 * 1024 * 1024
_MOST_HELD_BYTES: Final = 1024 * 1024
_OPENING_EVENTS: Final = 4
"""So many events may open an answer before its output, and each may repeat the whole request."""
BROKEN: Final = Failure(outcomes.UNSTABLE)
"""An answer that came and cannot be used."""


def passed_headers(fields: list[bytes], *, native: bool) -> Headers:
    """Return those of an upstream's headers that a client may see; a translated answer has its own."""
    return _PASSED.among(fields) if native else list(_TRANSLATED)


def try_receive(call: Call) -> bytes | None:
    """Return a unary answer as it came, if all of it has come and it needs no decoding; else None."""
    return call.try_read_all(MOST_ANSWER_BYTES) if not call.header(b"content-encoding") else None


async def receive(call: Call) -> bytes | None:
    """Return a unary answer, decoded; None when it is larger than anybody will hold.

    Raises UpstreamError and UndecodableError.
    """
    try:
        decoder = decoder_for(call.header(b"content-encoding"))
        body = await call.read_all(MOST_ANSWER_BYTES)
    except BodyTooLargeError:
        return None
    if decoder is not None:
        body = decoder.feed(body)
        if not decoder.whole():
            raise TruncatedBodyError("the compressed body broke off")
    return body


def read_whole(attempt: Attempt, body: bytes) -> bytes | None:
    """Return the client's answer for an account's; None when that is none."""
    answer = attempt.passage.whole(body, attempt.meter)
    if answer is not None and not attempt.meter.reported:
        # An upstream that counts nothing: an estimate is made of what it said.
        attempt.characters = len(body)
    return answer


class StreamRelay:
    """Relays one stream of one attempt.

    What comes from the upstream goes on to the client in the very call that brought it (`try_run`), as long as the
    client has room. A task (`run`) is needed where something has to be waited for, and sleeps through what goes on.
    """

    __slots__ = (
        "_attempt",
        "_call",
        "_crash",
        "_decoder",
        "_exchange",
        "_follower",
        "_headers",
        "_held",
        "_held_bytes",
        "_last",
        "_on_output",
        "_out",
        "_splitter",
        "ended",
    )

    def __init__(
        self,
        exchange: Exchange,
        attempt: Attempt,
        call: Call,
        headers: Callable[[], Headers],
        on_output: Callable[[], None],
    ) -> None:
        self._exchange = exchange
        self._attempt = attempt
        self._call = call
        self._headers = headers
        self._on_output = on_output
        self._follower: Follower = attempt.passage.follower(attempt.meter)
        self._splitter = EventSplitter()
        self._decoder = decoder_for(call.header(b"content-encoding"))
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._out: list[bytes] = []
        """What may go out and has not."""
        self._last = Signal.OUTPUT
        """How the stream stands: OUTPUT (it goes on), STOP, ERROR or BROKEN."""
        self._crash: Exception | None = None
        self.ended = False
        """All of it has gone out."""

    async def run(self) -> None:
        """Relay to the stream's end. Raises UpstreamError; a failure inside the stream is left in `attempt.failure`."""
        call = self._call
        call.listen(self._hear)
        try:
            while (standing := self.try_run()) != ENDED:
                if standing == UNDERWAY:
                    await call.change()
                    self._rethrow()
                elif not await self._step():
                    return
        finally:
            call.listen(_nobody)
            self._count()

    def try_run(self) -> int:
        """Relay what has come as far as nothing has to be waited for; returns how the stream stands.

        UNFIT: it is for `run` to go on, also where the stream has failed. Raises UpstreamError.
        """
        call, out = self._call, self._out
        try:
            while not self.ended:
                if out or self._last is not Signal.OUTPUT:
                    if not self._try_pass_on():
                        return UNFIT
                # All of it is read: the upstream may be held up for what would be left.
                elif (chunk := call.try_read()) is None:
                    return UNDERWAY
                elif not chunk:
                    return UNFIT
                else:
                    self._take(chunk)
        except Exception:
            # Whoever deals with it may not come here again.
            self._count()
            raise
        self._count()
        return ENDED

    def _hear(self) -> bool:
        """Pass on all that has come, if that takes no more; False: the task has to see to it."""
        try:
            return self.try_run() == UNDERWAY
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is the task's and not the connection's
            self._crash = error
            return False

    def _rethrow(self) -> None:
        """Raise what was thrown while the task slept."""
        crash, self._crash = self._crash, None
        try:
            if crash is not None:
                raise crash
        finally:
            # Its traceback names this frame.
            del crash

    def _count(self) -> None:
        self._attempt.characters = self._follower.characters

    def _take(self, chunk: bytes) -> None:
        """Read a piece of the stream, up to the first event after which it does not simply go on."""
        try:
            events = self._splitter.feed(chunk if self._decoder is None else self._decoder.feed(chunk))
        except (UndecodableError, EventTooLargeError):
            self._last = Signal.BROKEN
            return
        for event in events:
            signal, said = self._follower.take(event)
            if signal is Signal.OUTPUT and self._exchange.output_committed:
                if said:
                    self._out.append(said)
                continue
            self._last = self._judge(signal, said, self._out)
            if self._last is not Signal.OUTPUT:
                return

    def _try_pass_on(self) -> bool:
        """Send what was read, and the end, at once; False, and nothing is sent, where that takes more."""
        reply, out, last = self._exchange.reply, self._out, self._last
        if last is not Signal.OUTPUT and last is not Signal.STOP:
            return False
        if not reply.started and not reply.try_begin(200, self._headers()):
            return False
        data = out[0] if len(out) == 1 else b"".join(out)
        if last is Signal.STOP:
            if not reply.try_end(data):
                return False
            self._attempt.cls = outcomes.OK
            self.ended = True
        elif not reply.try_piece(data):
            return False
        out.clear()
        return True

    async def _step(self) -> bool:
        """Do what has to be waited for; returns whether the stream goes on."""
        if not self._out and self._last is Signal.OUTPUT:
            await self._end()
            return False
        return await self._pass_on()

    async def _pass_on(self) -> bool:
        """Send what was read, waiting for the client; returns whether the stream goes on."""
        data = b"".join(self._out)
        self._out.clear()
        if self._last is Signal.STOP:
            await self._stop(data)
            return False
        if data:
            await self._open_reply()
            await self._exchange.reply.piece(data)
        if self._last is Signal.OUTPUT:
            return True
        self._attempt.failure = self._follower.failure or BROKEN
        return False

    async def _end(self) -> None:
        """Judge a body that ended in due form. Raises TruncatedBodyError when the stream had more to say."""
        signal, last = self._follower.end(self._splitter.rest())
        if signal is Signal.ERROR:
            self._attempt.failure = self._follower.failure or BROKEN
            return
        if signal is not Signal.STOP:
            raise TruncatedBodyError("the stream ended before its last event")
        out: list[bytes] = []
        if not self._exchange.output_committed:
            self._commit(out)
        out.append(last)
        await self._stop(b"".join(out))

    async def _stop(self, data: bytes) -> None:
        self._attempt.cls = outcomes.OK
        await self._open_reply()
        await self._exchange.reply.end(data)

    def salvage(self, chunks: list[bytes]) -> None:
        """Read, for the books only, what had come when the exchange was interrupted."""
        self._count()
        try:
            for chunk in chunks:
                data = chunk if self._decoder is None else self._decoder.feed(chunk)
                for event in self._splitter.feed(data):
                    # Not relayed: it counts for usage, not for what the client got.
                    self._follower.take(event)
        except (UndecodableError, EventTooLargeError):
            return

    def _judge(self, signal: Signal, said: bytes, out: list[bytes]) -> Signal:
        """Add to `out` what may go out for one event; returns how the stream stands after it."""
        exchange = self._exchange
        if signal is Signal.OUTPUT or signal is Signal.STOP:
            if not exchange.output_committed:
                self._commit(out)
            if said:
                out.append(said)
            return signal
        if signal is Signal.PRELUDE:
            if said and exchange.output_committed:
                out.append(said)
            elif said:
                self._hold(said)
            return Signal.OUTPUT
        if said and signal is Signal.ERROR and exchange.output_committed and self._may_be_told():
            out.append(said)
            exchange.error_forwarded = True
        return signal

    def _may_be_told(self) -> bool:
        failure = self._follower.failure
        return failure is None or failure.cls not in _OUR_OWN

    def _commit(self, out: list[bytes]) -> None:
        exchange = self._exchange
        exchange.output_committed = True
        exchange.delivered = self._attempt.index
        exchange.follower = self._follower
        out.extend(self._held)
        self._held = []
        # Once is all: nothing is kept for it while the stream lasts.
        begins, self._on_output = self._on_output, _nothing
        begins()

    def _hold(self, event: bytes) -> None:
        # An upstream that pings for minutes before it says anything must not fill memory.
        if len(self._held) < _OPENING_EVENTS or self._held_bytes + len(event) <= _MOST_HELD_BYTES:
            self._held.append(event)
            self._held_bytes += len(event)

    async def _open_reply(self) -> None:
        reply = self._exchange.reply
        if not reply.started:
            await reply.begin(200, self._headers())


def _nobody() -> bool:
    return False


def _nothing() -> None:
    """Do what is left of what was done."""
