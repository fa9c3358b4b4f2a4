"""The Messages format as accounts speak it: requests written, answers, streams and errors read. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge import errors
from penstock_edge.errors import Problem
from penstock_edge.providers.failure import Failure
from penstock_edge.providers.retry_after import number
from penstock_edge.providers.retry_after import retry_after as asked_wait
from penstock_edge.sse import data_of
from penstock_edge.usage import UsageMeter, UsageReport
from penstock_routing import outcomes
from penstock_routing.accounts import Hints

if TYPE_CHECKING:
    from penstock_edge.upstream import Target

DEFAULT_VERSION: Final = b"2023-06-01"
Headers = list[tuple[bytes, bytes]]

# What of an upstream's answer a client may see. Everything else is about our account or our connection.
PASSED_HEADERS: Final = frozenset({b"content-type", b"content-language", b"deprecation", b"sunset", b"warning"})

_FORWARDED: Final = (b"anthropic-beta", b"anthropic-version")


def request_head(
    target: Target, path: bytes, query: bytes, credential: bytes, client: Headers, request_id: str, length: int
) -> bytes:
    """Return the bytes of a request's head. Of the client's headers only its API version and betas go out."""
    parts = [
        b"POST ",
        target.path,
        path,
        b"?" + query if query else b"",
        b" HTTP/1.1\r\nhost: ",
        target.host_header,
        b"\r\naccept-encoding: identity\r\ncontent-type: application/json\r\nuser-agent: penstock\r\nx-api-key: ",
        credential,
        b"\r\nx-request-id: ",
        request_id.encode(),
    ]
    versioned = False
    for name, value in client:
        if name in _FORWARDED:
            parts += (b"\r\n", name, b": ", value)
            versioned = versioned or name == b"anthropic-version"
    if not versioned:
        parts += (b"\r\nanthropic-version: ", DEFAULT_VERSION)
    parts.append(b"\r\ncontent-length: %d\r\n\r\n" % length)
    return b"".join(parts)


# Answers


class _Answer(msgspec.Struct):
    usage: UsageReport | None = None
    type: str | None = None


_answer = msgspec.json.Decoder(_Answer)


def read_answer(body: bytes, meter: UsageMeter) -> bool:
    """Take over the usage of a unary answer; False when the body is no JSON object that could be one."""
    try:
        answer = _answer.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    if answer.type == "error":
        return False
    if answer.usage is not None:
        meter.merge(answer.usage)
        meter.final = True
    return True


# Streams


class Signal(IntEnum):
    """What an event means for the relay."""

    PRELUDE = 0
    """Nothing that a user would see: held back until output begins."""
    OUTPUT = 1
    STOP = 2
    """The stream's proper end."""
    ERROR = 3
    BROKEN = 4
    """Not an event of this format."""


class _Delta(msgspec.Struct):
    text: str = ""
    partial_json: str = ""
    thinking: str = ""


class _Message(msgspec.Struct):
    usage: UsageReport | None = None


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Event(msgspec.Struct):
    type: str
    delta: _Delta | None = None
    message: _Message | None = None
    usage: UsageReport | None = None
    error: _Error | None = None


class _Named(msgspec.Struct):
    type: str


_event = msgspec.json.Decoder(_Event)
_named = msgspec.json.Decoder(_Named)


class StreamReader:
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
            event = _event.decode(data)
        except msgspec.ValidationError:
            return self._unknown(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return Signal.BROKEN
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
            self.failure = of_error_event(event.error or _Error(), data)
            return Signal.ERROR
        return Signal.OUTPUT

    @staticmethod
    def _unknown(data: bytes) -> Signal:
        """Judge an event whose fields are not as known: it passes if it names a type at all."""
        try:
            kind = _named.decode(data).type
        except msgspec.DecodeError:
            return Signal.BROKEN
        return Signal.STOP if kind == "message_stop" else Signal.OUTPUT


# Errors

_EVENT_STATUS: Final = {
    errors.INVALID_REQUEST: 400,
    errors.AUTHENTICATION: 401,
    errors.BILLING: 402,
    errors.PERMISSION: 403,
    errors.NOT_FOUND: 404,
    "conflict_error": 409,
    errors.TOO_LARGE: 413,
    errors.RATE_LIMIT: 429,
    errors.API: 500,
    errors.TIMEOUT: 504,
    errors.OVERLOADED: 529,
}


class _Envelope(msgspec.Struct):
    # Not `Raw | None`: msgspec would then refuse everything but null.
    error: msgspec.Raw = msgspec.Raw()


_envelope = msgspec.json.Decoder(_Envelope)
_error = msgspec.json.Decoder(_Error)


def of_status(status: int, headers: Headers, body: bytes) -> Failure:
    """Return what an error answer means for health, for the next attempt and, if it is at fault, for the client."""
    error, detail = _read_error(body)
    hint = retry_after(headers)
    return _classify(status, error, detail, hint)


def of_error_event(error: _Error, data: bytes) -> Failure:
    """Return what an `error` event inside a stream means."""
    status = _EVENT_STATUS.get(error.type, 500)
    try:
        raw = bytes(_envelope.decode(data).error)
    except msgspec.DecodeError:
        raw = b""
    return _classify(status, error, raw or None, None)


def _read_error(body: bytes) -> tuple[_Error, bytes | None]:
    try:
        detail = bytes(_envelope.decode(body).error)
        return (_error.decode(detail), detail) if detail else (_Error(), None)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _Error(), None


def _classify(status: int, error: _Error, detail: bytes | None, hint: float | None) -> Failure:
    words = error.message.lower()
    # Only as it begins: further on a message may quote what a client wrote, which must not put the account out.
    if status == 402 or error.type == errors.BILLING or words.startswith("your credit balance"):
        return Failure(outcomes.QUOTA_EXHAUSTED, status, hint)
    if status == 429:
        cls = outcomes.THROTTLED_NO_HINT if hint is None else outcomes.THROTTLED
        return Failure(cls, status, hint)
    if status in {503, 529} or error.type == errors.OVERLOADED:
        return Failure(outcomes.OVERLOADED, status, hint)
    if status == 401:
        return Failure(outcomes.CREDENTIAL_INVALID, status)
    if status == 403:
        return Failure(outcomes.FORBIDDEN, status)
    if status in {408, 409} or not 400 <= status < 500:
        return Failure(outcomes.UNSTABLE, status, hint)
    if status == 404 and "model" in words:
        return Failure(outcomes.MODEL_MISSING, status)
    kind = error.type or (errors.NOT_FOUND if status == 404 else errors.INVALID_REQUEST)
    message = error.message or f"the provider refused this request with status {status}"
    fault = Problem(status, kind, message, detail=detail if error.type and error.message else None)
    return Failure(outcomes.CLIENT_FAULT, status, fault=fault)


def retry_after(headers: Headers, now: datetime | None = None) -> float | None:
    """Return the seconds that an upstream asks to wait: Retry-After in any form, else the reset of a used-up limit."""
    asked = asked_wait(headers, now)
    if asked is not None or any(name in {b"retry-after", b"retry-after-ms"} for name, _ in headers):
        return asked
    found: dict[bytes, bytes] = dict(reversed(headers))
    resets = [
        reset
        for name, value in found.items()
        if name.startswith(b"anthropic-ratelimit-")
        and name.endswith(b"-remaining")
        and number(value) == 0
        and (reset := _until(found.get(name[: -len(b"remaining")] + b"reset"), now)) is not None
    ]
    return max(resets) if resets else None


_LIMIT_PREFIX: Final = b"anthropic-ratelimit-"


def hints(headers: Headers, now: datetime | None = None) -> Hints | None:
    """Return what an answer says of the account's own limits; None when it says nothing."""
    found = {name: value for name, value in headers if name.startswith(_LIMIT_PREFIX)}
    if not found:
        return None

    def count(name: bytes) -> int:
        value = number(found.get(_LIMIT_PREFIX + name, b""))
        return -1 if value is None else int(value)

    def reset_ms(name: bytes) -> int:
        seconds = _until(found.get(_LIMIT_PREFIX + name), now)
        return -1 if seconds is None else int(seconds * 1000)

    return Hints(
        requests_limit=count(b"requests-limit"),
        requests_remaining=count(b"requests-remaining"),
        requests_reset_ms=reset_ms(b"requests-reset"),
        tokens_limit=count(b"tokens-limit"),
        tokens_remaining=count(b"tokens-remaining"),
        tokens_reset_ms=reset_ms(b"tokens-reset"),
    )


def _until(text: bytes | None, now: datetime | None) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.decode("latin-1"))
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
