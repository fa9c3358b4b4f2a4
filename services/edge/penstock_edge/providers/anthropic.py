"""The Messages format as accounts speak it: requests sent, answers and streams followed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge.providers import anthropic_answer, anthropic_failure, anthropic_request
from penstock_edge.providers.anthropic_failure import of_error_event
from penstock_edge.providers.anthropic_fields import read_delta, read_event, read_name, read_whole
from penstock_edge.providers.odd_json import mended, mended_event
from penstock_edge.providers.wire import Signal
from penstock_edge.sse import data_of

if TYPE_CHECKING:
    from penstock_edge import canonical
    from penstock_edge.providers.anthropic_fields import Event
    from penstock_edge.providers.failure import Failure
    from penstock_edge.providers.wire import Addressee, EventParser, Headers, Sniffer, Written
    from penstock_edge.upstream import Target
    from penstock_edge.usage import UsageMeter
    from penstock_routing.accounts import Hints

DEFAULT_VERSION: Final = b"2023-06-01"
_DEFAULT_VERSION_LINE: Final = b"\r\nanthropic-version: " + DEFAULT_VERSION
# Most of a client's headers are told apart by their lengths.
_VERSION: Final = b"anthropic-version"
_VERSION_SIZE: Final = 17
_BETA: Final = b"anthropic-beta"
_BETA_SIZE: Final = 14


def request_head(
    target: Target, path: bytes, query: bytes, credential: bytes, client: Headers, request_id: str, length: int
) -> bytes:
    """Return the bytes of a request's head. Of the client's headers only its API version and betas go out."""
    said = b""
    versioned = False
    for name, value in client:
        size = len(name)
        if size == _VERSION_SIZE and name == _VERSION:
            said = said + b"\r\nanthropic-version: " + value
            versioned = True
        elif size == _BETA_SIZE and name == _BETA:
            said = said + b"\r\nanthropic-beta: " + value
    if not versioned:
        said += _DEFAULT_VERSION_LINE
    # One format costs, compiled, less than half of joining as many parts.
    return (
        b"POST %b%b%b HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\ncontent-type: application/json\r\n"
        b"user-agent: penstock\r\nx-api-key: %b\r\nx-request-id: %b%b\r\ncontent-length: %d\r\n\r\n"
    ) % (
        target.path,
        path,
        b"?" + query if query else b"",
        target.host_header,
        credential,
        request_id.encode(),
        said,
        length,
    )


# Answers


def read_answer(body: bytes, meter: UsageMeter) -> bool:
    """Take over the usage of a unary answer; False when the body is no JSON object that could be one."""
    try:
        answer = read_whole(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        plain = mended(body)
        return read_answer(plain, meter) if plain else False
    if answer.type == "error":
        return False
    if answer.usage is not None:
        meter.merge(answer.usage)
        meter.final = True
    return True


# Streams


# Only a hint: what an event is, its data says.
_A_DELTA: Final = b"event: content_block_delta\n"


class StreamSniffer:
    """Follows one stream: usage, how much was said, and what each event means."""

    __slots__ = ("characters", "failure", "meter")

    def __init__(self, meter: UsageMeter) -> None:
        self.meter = meter
        self.characters = 0
        """Characters of all deltas so far."""
        self.failure: Failure | None = None
        """Set by an error event."""

    def observe(self, raw: bytes) -> Signal:
        """Read one whole event."""
        data = data_of(raw)
        if not data:
            return Signal.PRELUDE
        try:
            if raw.startswith(_A_DELTA):
                said = read_delta(data)
                if said.type == "content_block_delta":
                    delta = said.delta
                    if delta is not None:
                        self.characters += len(delta.text) + len(delta.partial_json) + len(delta.thinking)
                    return Signal.OUTPUT
            event = read_event(data)
        except msgspec.ValidationError:
            return self._unknown(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            plain = mended_event(data)
            return self.observe(plain) if plain else Signal.BROKEN
        return self._hear(event, data)

    def _hear(self, event: Event, data: bytes) -> Signal:
        kind = event.type
        if kind == "content_block_delta":
            delta = event.delta
            if delta is not None:
                self.characters += len(delta.text) + len(delta.partial_json) + len(delta.thinking)
            return Signal.OUTPUT
        if kind == "ping":
            return Signal.PRELUDE
        if kind == "message_start":
            if event.message is not None and event.message.usage is not None:
                self.meter.merge(event.message.usage)
            return Signal.PRELUDE
        if kind == "message_delta":
            if event.usage is not None:
                self.meter.merge(event.usage)
                self.meter.final = event.usage.output_tokens is not None
            return Signal.OUTPUT
        if kind == "message_stop":
            return Signal.STOP
        if kind == "error":
            self.failure = of_error_event(data)
            return Signal.ERROR
        return Signal.OUTPUT

    def at_end(self) -> Signal:
        """Judge a body that ended without the stream's proper end: it broke off."""
        return Signal.BROKEN

    @staticmethod
    def _unknown(data: bytes) -> Signal:
        """Judge an event whose fields are not as known: it passes if it names a type at all."""
        try:
            kind = read_name(data).type
        except msgspec.DecodeError:
            return Signal.BROKEN
        return Signal.STOP if kind == "message_stop" else Signal.OUTPUT


class MessagesWire:
    """The wire format of Anthropic's accounts."""

    name = "messages"
    request_id_header = b"request-id"

    def path(self, model: str, *, streamed: bool, counting: bool) -> bytes:
        """Return the path below the base URL."""
        del model, streamed
        return b"/v1/messages/count_tokens" if counting else b"/v1/messages"

    def query(self, client: bytes, *, streamed: bool) -> bytes:
        """Pass the client's query on: Claude Code sends `beta=true`."""
        del streamed
        return client

    def head(
        self,
        target: Target,
        path: bytes,
        query: bytes,
        credential: bytes,
        client: Headers,
        request_id: str,
        length: int,
    ) -> bytes:
        """Return the bytes of a request's head."""
        return request_head(target, path, query, credential, client, request_id, length)

    def read_answer(self, body: bytes, meter: UsageMeter) -> bool:
        """Take over the usage of a unary answer."""
        return read_answer(body, meter)

    def sniffer(self, meter: UsageMeter) -> Sniffer:
        """Return a sniffer for one stream."""
        return StreamSniffer(meter)

    def write(self, request: canonical.Request, to: Addressee, *, streamed: bool) -> Written:
        """Write a translated request."""
        return anthropic_request.write(request, to, streamed=streamed)

    def write_count(self, request: canonical.Request, to: Addressee) -> Written:
        """Write a translated request to count tokens."""
        return anthropic_request.write_count(request, to)

    def parse(self, body: bytes) -> canonical.Message:
        """Read a unary answer."""
        return anthropic_answer.parse(body)

    def parse_count(self, body: bytes) -> int:
        """Read a token count."""
        return anthropic_answer.parse_count(body)

    def parser(self) -> EventParser:
        """Return a parser for one stream."""
        return anthropic_answer.Parser()

    def of_status(self, status: int, headers: Headers, body: bytes) -> Failure:
        """Return what an error answer means."""
        return anthropic_failure.of_status(status, headers, body)

    def hints(self, headers: Headers) -> Hints | None:
        """Return what an answer says of the account's own limits."""
        return anthropic_failure.hints(headers)


WIRE: Final[MessagesWire] = MessagesWire()
