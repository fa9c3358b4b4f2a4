"""How one attempt crosses from the client's wire format to the account's: as bytes, or through the canonical form.

Pure: bodies and events in, bodies and events out. Same wire format: what passes is touched only where it must be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from penstock_edge import canonical
from penstock_edge.canonical import UnreadableError
from penstock_edge.client_words import in_client_words
from penstock_edge.images import refuse_where_none_are_made
from penstock_edge.providers.wire import Addressee, Signal
from penstock_edge.tool_disguise import disguised

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge.canonical import Event, Json
    from penstock_edge.dialects.dialect import Conversation, Dialect, EventWriter, Framing, Head
    from penstock_edge.errors import Problem
    from penstock_edge.providers.failure import Failure
    from penstock_edge.providers.wire import EventParser, Sniffer, Wire
    from penstock_edge.usage import UsageMeter
    from penstock_edge.usage_report import UsageReport


class Follower(Protocol):
    """Follows one stream of one attempt: what each event means, and what of it the client gets."""

    @property
    def characters(self) -> int:
        """Characters of all deltas so far."""
        ...

    @property
    def failure(self) -> Failure | None:
        """What an error event within the stream meant."""
        ...

    def take(self, raw: bytes) -> tuple[Signal, bytes]:
        """Read one whole event; returns what goes out for it (b"" for nothing)."""
        ...

    def end(self, tail: bytes) -> tuple[Signal, bytes]:
        """Judge a body that ended in due form: STOP, or it broke off. `tail`: an event without its blank line."""
        ...

    def fail(self, problem: Problem) -> bytes:
        """Return what ends the stream instead of its proper end."""
        ...


class Passage(Protocol):
    """One attempt's way."""

    wire: Wire
    native: bool
    """Both sides speak one wire format."""
    body: bytes
    """The request as the account reads it."""
    ignored: list[str]
    """What of the client's request could not be carried."""

    def whole(self, body: bytes, meter: UsageMeter) -> bytes | None:
        """Return the client's answer for an account's; None when that is none. Usage goes to `meter`."""
        ...

    def follower(self, meter: UsageMeter) -> Follower:
        """Return a follower for the attempt's stream."""
        ...


class NativePassage:
    """Same wire format on both sides: bytes pass."""

    __slots__ = ("_counting", "_dialect", "_head", "_request_id", "body", "ignored", "wire")

    native = True

    def __init__(
        self, dialect: Dialect, wire: Wire, head: Head, body: bytes, request_id: str, *, counting: bool
    ) -> None:
        self.wire = wire
        self.body = body
        self.ignored: list[str] = []
        self._dialect = dialect
        self._head = head
        self._request_id = request_id
        self._counting = counting

    def whole(self, body: bytes, meter: UsageMeter) -> bytes | None:
        """Return the answer as it is, if it is one."""
        if not self._counting:
            return body if self.wire.read_answer(body, meter) else None
        try:
            self.wire.parse_count(body)
        except UnreadableError:
            return None
        return body

    def follower(self, meter: UsageMeter) -> Follower:
        """Return a follower that passes events untouched."""
        return NativeFollower(self._dialect, self.wire.sniffer(meter), self._head, self._request_id)


class NativeFollower:
    """Passes events; the sniffer reads them for the books."""

    __slots__ = ("_dialect", "_framing", "_head", "_hides_usage", "_request_id", "_sniffer")

    def __init__(self, dialect: Dialect, sniffer: Sniffer, head: Head, request_id: str) -> None:
        self._dialect = dialect
        self._sniffer = sniffer
        self._head = head
        self._request_id = request_id
        self._framing: Framing | None = dialect.framing(head)
        self._hides_usage = dialect.hides_usage(head)

    @property
    def characters(self) -> int:
        """Characters of all deltas so far."""
        return self._sniffer.characters

    @property
    def failure(self) -> Failure | None:
        """What an error event within the stream meant."""
        return self._sniffer.failure

    def take(self, raw: bytes) -> tuple[Signal, bytes]:
        """Read one event and pass it."""
        signal = self._sniffer.observe(raw)
        if signal is Signal.USAGE:
            return Signal.PRELUDE, b"" if self._hides_usage else raw
        if self._framing is not None:
            return signal, self._framing.event(raw)
        return signal, raw

    def end(self, tail: bytes) -> tuple[Signal, bytes]:
        """Judge the end of the body."""
        out = b""
        if tail.strip():
            signal, out = self.take(tail + b"\n\n")
            if signal in {Signal.STOP, Signal.ERROR, Signal.BROKEN}:
                return signal, out
        if self._sniffer.at_end() is not Signal.STOP:
            return Signal.BROKEN, b""
        return Signal.STOP, out + (b"" if self._framing is None else self._framing.close())

    def fail(self, problem: Problem) -> bytes:
        """Return the dialect's error event."""
        if self._framing is not None:
            return self._framing.fail(problem, self._request_id)
        return self._dialect.error_event(problem, self._request_id, self._head)


class TranslatedPassage:
    """Two wire formats: through the canonical form."""

    native = False

    def __init__(
        self, conversation: Conversation, wire: Wire, to: Addressee, *, streamed: bool, counting: bool
    ) -> None:
        request = conversation.request
        refuse_where_none_are_made(request, to.provider)
        named, self._names = disguised(request, to.provider)
        written = wire.write_count(named, to) if counting else wire.write(named, to, streamed=streamed)
        self.wire = wire
        self.body = written.body
        self.ignored = [*request.ignored, *in_client_words(written.ignored, request.names)]
        self._conversation = conversation
        self._counting = counting

    def whole(self, body: bytes, meter: UsageMeter) -> bytes | None:
        """Return the answer in the client's format."""
        try:
            if self._counting:
                return self._conversation.counted(self.wire.parse_count(body))
            message = self.wire.parse(body)
        except UnreadableError:
            return None
        if message.usage.output_tokens is not None or message.usage.input_tokens is not None:
            meter.merge(message.usage)
            meter.final = True
        if self._names:
            for block in message.content:
                _undisguise(block, self._names)
        return self._conversation.answer(message)

    def follower(self, meter: UsageMeter) -> Follower:
        """Return a follower that translates."""
        return TranslatedFollower(self.wire.parser(), self._conversation.writer(), meter, self._names)


class TranslatedFollower:
    """Reads one format's events and writes another's."""

    __slots__ = ("_meter", "_names", "_parser", "_stopped", "_writer", "characters", "failure")

    def __init__(self, parser: EventParser, writer: EventWriter, meter: UsageMeter, names: dict[str, str]) -> None:
        self._parser = parser
        self._writer = writer
        self._meter = meter
        self._names = names
        self._stopped = False
        self.characters = 0
        self.failure: Failure | None = None

    def take(self, raw: bytes) -> tuple[Signal, bytes]:
        """Translate one event."""
        try:
            return self._write(self._parser.feed(raw))
        except UnreadableError:
            return Signal.BROKEN, b""

    def end(self, tail: bytes) -> tuple[Signal, bytes]:
        """Translate the end of the body."""
        try:
            signal, out = Signal.PRELUDE, b""
            if tail.strip():
                signal, out = self._write(self._parser.feed(tail + b"\n\n"))
                if signal in {Signal.STOP, Signal.ERROR}:
                    return signal, out
            signal, last = self._write(self._parser.end())
        except UnreadableError:
            return Signal.BROKEN, b""
        return (signal, out + last) if signal is Signal.STOP else (Signal.BROKEN, b"")

    def fail(self, problem: Problem) -> bytes:
        """Return the dialect's error."""
        return self._writer.fail(problem)

    def _write(self, events: Iterable[Event]) -> tuple[Signal, bytes]:
        signal, out = Signal.PRELUDE, b""
        for event in events:
            kind = type(event)
            if kind is canonical.Failed:
                self.failure = event.failure  # type: ignore[union-attr]  # by its type, just above
                return Signal.ERROR, b""
            self._hear(event)
            if kind is canonical.UsageSoFar:
                continue
            if self._names and kind is canonical.BlockStart:
                _undisguise(event.block, self._names)  # type: ignore[union-attr]  # by its type, just above
            said = self._writer.write(event)
            if kind is canonical.MessageStop:
                signal = Signal.STOP
            elif said and kind not in _PRELUDE:
                signal = Signal.OUTPUT
            out += said
        return signal, out

    def _hear(self, event: Event) -> None:
        """Keep the books of one event."""
        match event:
            case canonical.TextDelta():
                self.characters += len(event.text)
            case canonical.InputDelta():
                self.characters += len(event.partial_json)
            case canonical.ThinkingDelta():
                self.characters += len(event.thinking)
            case canonical.MessageStart() | canonical.UsageSoFar():
                self._merge(event.usage)
            case canonical.MessageDelta():
                self._merge(event.usage)
                self._stopped = self._stopped or event.stop_reason is not None
                if self._stopped and event.usage.output_tokens is not None:
                    self._meter.final = True

    def _merge(self, usage: UsageReport) -> None:
        if usage.input_tokens is not None or usage.output_tokens is not None:
            self._meter.merge(usage)


_PRELUDE: Final = frozenset({canonical.MessageStart, canonical.Ping})


def _undisguise(block: Json, names: dict[str, str]) -> None:
    """Give a tool call the name by which the client knows its tool."""
    if block.get("type") == "tool_use" and block.get("name") in names:
        block["name"] = names[block["name"]]
