"""Brings an answer to the wire, whole or broken, and keeps the record true to what has gone out."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from penstock_simulator import text
from penstock_simulator.behaviour import Behaviour, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from penstock_simulator.answer import Answer, Event
    from penstock_simulator.connection import Exchange
    from penstock_simulator.records import Record, Usage

_LAST_CHUNK = b"0\r\n\r\n"
_BATCH_BYTES = 16 * 1024
# Long enough for a busy reader on the same machine to read the first part alone.
_SPLIT_SECONDS = 0.001
_EXTRA_BYTES = 64
_HTML = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_GARBLE = b"upstream connect error or disconnect/reset before headers\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}
_MID_STREAM = {
    Fault.STREAM_ERROR_BEFORE,
    Fault.STREAM_ERROR_AFTER,
    Fault.CUT_MID_STREAM,
    Fault.CUT_MID_CHUNK,
    Fault.END_EARLY,
    Fault.SILENCE_MID_STREAM,
}


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the status line and headers of an answer."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\n{lines}\r\n".encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Return data as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def retry_after(hint: str, wall: float) -> list[tuple[str, str]]:
    """Return the header of a hint: `7`, `date:7`, or none. `wall` is Unix seconds."""
    if hint.startswith("date:"):
        return [("retry-after", formatdate(wall + float(hint[5:]), usegmt=True))]
    return [("retry-after", hint)] if hint else []


def seams(data: bytes) -> Iterator[bytes]:
    """Cut bytes within each multi-byte character and before the last byte; joined again they are the same."""
    start = 0
    for index, value in enumerate(data):
        if value & 0xC0 == 0x80 or (index and index == len(data) - 1):
            yield data[start:index]
            start = index
    yield data[start:]


class Delivery:
    """The delivery of one answer."""

    def __init__(self, exchange: Exchange, record: Record, behaviour: Behaviour, *, silence_seconds: float) -> None:
        self._exchange = exchange
        self._record = record
        self._how = behaviour
        self._silence_seconds = silence_seconds
        self._keep = record.body is not None

    # -- the parts of an answer on the wire

    async def _head(self, status: int, headers: list[tuple[str, str]], also: bytes = b"") -> None:
        """Send status and headers, and the start of the body in the same write."""
        if not self._exchange.keep_alive:
            headers = [*headers, ("connection", "close")]
        await self._exchange.send(head(status, headers) + also)
        self._record.status = status
        self._started()

    def _started(self) -> None:
        if self._record.first_byte is None:
            self._record.first_byte = asyncio.get_running_loop().time()

    def _body_sent(self, data: bytes) -> None:
        self._record.sent_bytes += len(data)
        if self._keep:
            if self._record.answer is None:
                self._record.answer = bytearray()
            self._record.answer += data

    def _told(self, usage: Usage | None, chars: int) -> None:
        record = self._record
        if usage is not None:
            record.usage = usage
            record.reported = True
        if chars:
            record.relayed_chars += chars
            record.relayed_tokens = text.tokens(record.relayed_chars)

    async def _raw(self, data: bytes) -> None:
        """Send bytes in the asked for manner: whole, dripping or split."""
        if self._how.drip > 0:
            for value in data:
                await self._exchange.send(bytes((value,)))
                await asyncio.sleep(self._how.drip)
        elif self._how.split:
            for part in seams(data):
                await self._exchange.send(part)
                await asyncio.sleep(_SPLIT_SECONDS)
        else:
            await self._exchange.send(data)

    def _cut(self) -> None:
        self._record.state = "broken"
        self._exchange.cut(reset=self._how.reset)

    async def silence(self) -> None:
        """Say nothing until the client leaves or patience ends."""
        await asyncio.sleep(self._silence_seconds)
        self._cut()

    def _complete(self) -> None:
        self._record.complete = True
        self._record.state = "complete"
        if self._how.hangup:
            self._exchange.hang_up()

    # -- whole answers

    async def before(self) -> bool:
        """Latency, and the faults that come instead of any answer; returns whether the answer is still to be given."""
        if self._how.latency > 0:
            await asyncio.sleep(self._how.latency)
        fault = self._how.fault
        if fault == Fault.SILENCE:
            await self.silence()
        elif fault == Fault.CUT_BEFORE_HEADERS:
            self._cut()
        else:
            return True
        return False

    async def page(self, headers: list[tuple[str, str]]) -> None:
        """Send what some proxy between would send: HTML, or a 200 that is not JSON."""
        html = self._how.fault == Fault.HTML
        body = _HTML if html else _GARBLE
        media_type = "text/html" if html else "text/plain"
        await self.plain((self._how.status or 502) if html else 200, media_type, body, headers)
        self._record.state = "refused" if html else "broken"

    async def plain(self, status: int, media_type: str, body: bytes, headers: list[tuple[str, str]]) -> None:
        """Send one body with its length; also for errors."""
        sized = [("content-type", media_type), ("content-length", str(len(body))), *headers]
        if self._how.drip > 0 or self._how.split:
            await self._head(status, sized)
            await self._raw(body)
        else:
            await self._head(status, sized, body)
        self._body_sent(body)
        self._record.state = "refused" if status >= 400 else "complete"
        self._record.complete = True

    async def answer(self, answer: Answer) -> None:
        """Send a good answer, or break it off as asked."""
        self._record.input_tokens = answer.input_tokens
        self._record.stop_reason = answer.stop_reason
        fault = self._how.fault
        if fault in {Fault.CUT_AFTER_HEADERS, Fault.SILENCE_AFTER_HEADERS}:
            await self._bare_head(answer)
        elif fault in {Fault.LENGTH_LONG, Fault.LENGTH_SHORT}:
            await self._wrong_length(answer)
        elif answer.events is None:
            await self._unary(answer)
        else:
            await self._stream(answer)

    async def _bare_head(self, answer: Answer) -> None:
        if answer.events is None:
            framing = ("content-length", str(len(answer.body)))
        else:
            framing = ("transfer-encoding", "chunked")
        await self._head(200, [("content-type", answer.media_type), framing, *answer.headers])
        if self._how.fault == Fault.SILENCE_AFTER_HEADERS:
            await self.silence()
        else:
            self._cut()

    async def _wrong_length(self, answer: Answer) -> None:
        """Tell a wrong length, send everything, end. Only what a reader of that length gets counts as told."""
        events = list(answer.events or ())
        body = b"".join(event.data for event in events) if events else answer.body
        short = self._how.fault == Fault.LENGTH_SHORT
        length = len(body) - min(_EXTRA_BYTES, len(body) // 2) if short else len(body) + _EXTRA_BYTES
        headers = [("content-type", answer.media_type), ("content-length", str(length)), *answer.headers]
        await self._head(200, headers, body)
        self._body_sent(body[:length])
        end = 0
        for event in events:
            end += len(event.data)
            if end <= length:
                self._told(event.usage, event.chars)
        self._cut()

    async def _unary(self, answer: Answer) -> None:
        body = answer.body
        headers = [("content-type", answer.media_type), ("content-length", str(len(body))), *answer.headers]
        if self._how.fault in _MID_STREAM:
            half = body[: len(body) // 2]
            await self._head(200, headers, half)
            self._body_sent(half)
            if self._how.fault == Fault.SILENCE_MID_STREAM:
                await self.silence()
            else:
                self._cut()
            return
        if self._how.drip > 0 or self._how.split:
            await self._head(200, headers)
            await self._raw(body)
        else:
            await self._head(200, headers, body)
        self._body_sent(body)
        self._told(answer.usage, answer.chars)
        self._complete()

    # -- streams

    async def _stream(self, answer: Answer) -> None:
        assert answer.events is not None  # noqa: S101 -- `answer` chose this way
        how = self._how
        opening = [("content-type", answer.media_type), ("cache-control", "no-cache"), ("transfer-encoding", "chunked")]
        await self._head(200, [*opening, *answer.headers])
        breaks = how.fault in _MID_STREAM
        after = 0 if how.fault == Fault.STREAM_ERROR_BEFORE else how.after
        plain = not (how.pace > 0 or how.drip > 0 or how.split)
        deltas = 0
        begun = False
        batch: list[Event] = []
        size = 0
        for event in answer.events:
            # A fault strikes before the delta after `after` ones (0: before any content), at the latest before the end.
            if breaks and (event.phase == 2 or (event.phase == 1 and deltas >= after and (event.chars or not after))):
                await self._flush(batch)
                await self._break(event, answer)
                return
            if event.phase and not begun:
                begun = True
                if how.stall > 0:
                    await self._flush(batch)
                    size = 0
                    await asyncio.sleep(how.stall)
            if event.chars:
                deltas += 1
            if plain:
                batch.append(event)
                size += len(event.data)
                if size >= _BATCH_BYTES:
                    await self._flush(batch)
                    size = 0
                continue
            if how.pace > 0 and event.paced:
                await asyncio.sleep(how.pace)
            await self._raw(chunk(event.data))
            self._sent(event)
        await self._flush(batch, _LAST_CHUNK)
        self._complete()

    def _sent(self, event: Event) -> None:
        self._body_sent(event.data)
        self._told(event.usage, event.chars)

    async def _flush(self, batch: list[Event], also: bytes = b"") -> None:
        data = b"".join([chunk(event.data) for event in batch]) + also
        if data:
            await self._exchange.send(data)
        for event in batch:
            self._sent(event)
        batch.clear()

    async def _break(self, event: Event, answer: Answer) -> None:
        fault = self._how.fault
        self._record.state = "broken"
        if fault in {Fault.STREAM_ERROR_BEFORE, Fault.STREAM_ERROR_AFTER}:
            told = answer.error_event
            error = told if isinstance(told, bytes) else told()
            await self._raw(chunk(error) + _LAST_CHUNK)
            self._body_sent(error)
            self._record.error_type = self._how.error or answer.error_type
        elif fault == Fault.END_EARLY:
            await self._exchange.send(_LAST_CHUNK)
        elif fault == Fault.SILENCE_MID_STREAM:
            await self.silence()
        else:
            if fault == Fault.CUT_MID_CHUNK:
                framed = chunk(event.data)
                await self._exchange.send(framed[: len(framed) // 2])
            self._cut()
