"""The Messages format as clients speak it: request heads, error envelopes, keep-alives, limit headers."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from penstock_edge.errors import ProblemError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge.errors import Problem
    from penstock_edge.records import LimitState

NAME = "anthropic"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

_EMPTY = msgspec.Raw(b"")


class Metadata(msgspec.Struct):
    """`metadata` of a request."""

    user_id: str | None = None


class CountHead(msgspec.Struct):
    """What the gateway reads of a count_tokens request; everything else passes unread."""

    model: str
    messages: list[msgspec.Raw]
    system: msgspec.Raw = _EMPTY
    tools: msgspec.Raw = _EMPTY
    stream: bool | None = None
    max_tokens: int = 0
    metadata: Metadata | None = None


class MessagesHead(msgspec.Struct):
    """What the gateway reads of a Messages request; everything else passes unread."""

    model: str
    max_tokens: int
    messages: list[msgspec.Raw]
    system: msgspec.Raw = _EMPTY
    tools: msgspec.Raw = _EMPTY
    stream: bool | None = None
    metadata: Metadata | None = None


Head = MessagesHead | CountHead

_messages = msgspec.json.Decoder(MessagesHead)
_count = msgspec.json.Decoder(CountHead)

_MISSING = re.compile(r"Object missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_EXPECTED = re.compile(r"Expected `([^`]+)`, got `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_TYPES = {
    "str": "a valid string",
    "int": "a valid integer",
    "bool": "a valid boolean",
    "array": "a valid list",
    "object": "a valid dictionary",
}


def read_messages(body: bytes) -> MessagesHead:
    """Read the head of a Messages request. Raises ProblemError (400)."""
    try:
        head = _messages.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProblemError(invalid(_explain(error))) from None
    if not head.model:
        raise ProblemError(invalid("model: String should have at least 1 character"))
    return head


def read_count(body: bytes) -> CountHead:
    """Read the head of a count_tokens request. Raises ProblemError (400)."""
    try:
        head = _count.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProblemError(invalid(_explain(error))) from None
    if not head.model:
        raise ProblemError(invalid("model: String should have at least 1 character"))
    return head


def session_of(head: Head) -> str:
    """Return the client's own name of its user or conversation, "" without one."""
    return (head.metadata.user_id or "") if head.metadata is not None else ""


def prefix_of(head: Head) -> tuple[bytes, ...]:
    """Return the parts of a request that stay the same from turn to turn, as raw JSON."""
    first = bytes(head.messages[0]) if head.messages else b""
    return bytes(head.tools), bytes(head.system), first


def _explain(error: Exception) -> str:
    """Say what is wrong with a body as the upstream itself would, without quoting any of it."""
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        if match := _MISSING.match(text):
            where = ".".join(part for part in (match[2], match[1]) if part)
            return f"{where}: field required"
        if match := _EXPECTED.match(text):
            wanted = match[1].split(" | ")[0]
            where = match[3] or "body"
            return f"{where}: Input should be {_TYPES.get(wanted, wanted)}"
        return "the request body has a field of a wrong type"
    if isinstance(error, RecursionError):
        return "the request body is nested too deeply"
    return "the request body is not valid JSON"


def error_body(problem: Problem, request_id: str) -> bytes:
    """Return the error envelope."""
    if problem.detail is not None:
        error: object = msgspec.Raw(problem.detail)
    else:
        error = {"type": problem.kind, "message": problem.message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})


def error_event(problem: Problem, request_id: str) -> bytes:
    """Return the event that ends a stream which cannot be finished."""
    return b"event: error\ndata: " + error_body(problem, request_id) + b"\n\n"


def error_headers(problem: Problem) -> list[tuple[bytes, bytes]]:
    """Return the headers of an error answer, but for request-id and limits."""
    headers = [(b"content-type", b"application/json")]
    seconds = problem.retry_after_seconds
    if seconds is not None:
        headers.append((b"retry-after", b"%d" % seconds))
    if not problem.should_retry:
        headers.append((b"x-should-retry", b"false"))
    if problem.allow:
        headers.append((b"allow", problem.allow.encode()))
    return headers


_LIMIT_NAMES = {
    "Requests": b"requests",
    "TotalTokens": b"tokens",
    "InputTokens": b"input-tokens",
    "OutputTokens": b"output-tokens",
}


def limit_headers(states: Iterable[LimitState], now: float) -> list[tuple[bytes, bytes]]:
    """Return the remaining limits as `anthropic-ratelimit-*`; of several windows of a unit, the one with least room."""
    tightest: dict[bytes, LimitState] = {}
    for state in states:
        name = _LIMIT_NAMES.get(state.unit)
        if name is None or state.amount <= 0:
            continue
        known = tightest.get(name)
        if known is None or state.remaining * known.amount < known.remaining * state.amount:
            tightest[name] = state
    headers: list[tuple[bytes, bytes]] = []
    for name, state in tightest.items():
        prefix = b"anthropic-ratelimit-" + name
        headers.append((prefix + b"-limit", b"%d" % state.amount))
        headers.append((prefix + b"-remaining", b"%d" % max(0, state.remaining)))
        headers.append((prefix + b"-reset", _instant(int(now + (state.reset_ms + 999) / 1000))))
    return headers


@lru_cache(maxsize=1024)
def _instant(unix_seconds: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_seconds)).encode()
