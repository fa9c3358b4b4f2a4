"""The Messages format as clients speak it: request heads, error envelopes, keep-alives, limit headers."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge import errors
from penstock_edge.dialects.anthropic_conversation import MessagesConversation
from penstock_edge.dialects.anthropic_fields import EMPTY, read_count, read_messages
from penstock_edge.dialects.dialect import Head
from penstock_edge.dialects.plain_text import are_plain
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.splice import splice_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from penstock_edge.dialects.anthropic_fields import CountBody, MessagesBody
    from penstock_edge.dialects.dialect import Birth, Conversation, Framing, Headers
    from penstock_edge.errors import Problem
    from penstock_edge.limits import LimitState

_PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
_STREAM_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

_MISSING: Final = re.compile(r"Object missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_EXPECTED: Final = re.compile(r"Expected `([^`]+)`, got `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_TYPES: Final = {
    "str": "a valid string",
    "int": "a valid integer",
    "bool": "a valid boolean",
    "array": "a valid list",
    "object": "a valid dictionary",
}


def _read(decode: Callable[[bytes], MessagesBody | CountBody], body: bytes) -> Head:
    try:
        asked = decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProblemError(invalid(_explain(error))) from None
    model, messages, metadata = asked.model, asked.messages, asked.metadata
    if not model:
        raise ProblemError(invalid("model: String should have at least 1 character"))
    session = "" if metadata is None else metadata.user_id or ""
    first = messages[0] if messages else EMPTY
    # Places in the body: copies of a long prompt would cost as much as reading it.
    prefix = (asked.tools, asked.system, first)
    plain = are_plain(body, messages)
    return Head(model, bool(asked.stream), asked.max_tokens, session, prefix, plain=plain)


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


_LIMIT_NAMES: Final = {
    "Requests": b"requests",
    "TotalTokens": b"tokens",
    "InputTokens": b"input-tokens",
    "OutputTokens": b"output-tokens",
}


@lru_cache(maxsize=1024)
def _instant(unix_seconds: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_seconds)).encode()


class AnthropicDialect:
    """The Messages format. Stateless."""

    name = "anthropic"
    wire = "messages"

    def head(self, body: bytes) -> Head:
        """Read the head of a Messages request. Raises ProblemError (400)."""
        return _read(read_messages, body)

    def count_head(self, body: bytes) -> Head:
        """Read the head of a count_tokens request. Raises ProblemError (400)."""
        head = _read(read_count, body)
        head.stream = False
        return head

    def forwarded(self, head: Head, body: bytes, upstream_model: str) -> bytes:
        """Return the body with another model's name where the upstream has one."""
        return body if upstream_model == head.model else splice_model(body, upstream_model)

    def read(self, head: Head, body: bytes, birth: Birth) -> Conversation:
        """Understand a request whole. Raises ProblemError (400)."""
        return MessagesConversation(head, body, birth)

    def ping(self, head: Head) -> bytes:
        """Return a keep-alive."""
        del head
        return _PING

    def stream_headers(self, head: Head) -> Headers:
        """Return the headers of a streamed answer."""
        del head
        return list(_STREAM_HEADERS)

    def framing(self, head: Head) -> Framing | None:
        """Return None: streams are SSE."""
        del head
        return None

    def hides_usage(self, head: Head) -> bool:
        """Return False: every stream of this format tells its usage."""
        del head
        return False

    def error_status(self, problem: Problem) -> int:
        """Return the problem's own status."""
        return problem.status

    def error_body(self, problem: Problem, request_id: str) -> bytes:
        """Return the error envelope."""
        if problem.detail is not None:
            error: object = msgspec.Raw(problem.detail)
        else:
            error = {"type": problem.kind, "message": problem.message}
        return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})

    def error_event(self, problem: Problem, request_id: str, head: Head) -> bytes:
        """Return the event that ends a stream which cannot be finished."""
        del head
        # An upstream's own error object may stand on several lines; JSON text has no raw line ends within strings.
        data = self.error_body(problem, request_id).replace(b"\r", b"").replace(b"\n", b"")
        return b"event: error\ndata: " + data + b"\n\n"

    def error_headers(self, problem: Problem) -> list[tuple[bytes, bytes]]:
        """Return the headers of an error answer, but for request-id and limits."""
        return errors.headers(problem)

    def limit_headers(self, states: Iterable[LimitState], now: float) -> list[tuple[bytes, bytes]]:
        """Return the remaining limits as `anthropic-ratelimit-*`, of each unit its tightest window."""
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


DIALECT: Final = AnthropicDialect()
