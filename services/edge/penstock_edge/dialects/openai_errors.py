"""What OpenAI's clients read beside answers, whichever endpoint they call: errors, limits, the headers of streams."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge.dialects.dialect import Framing, Head, Headers
    from penstock_edge.errors import Problem
    from penstock_edge.limits import LimitState

KEEP_ALIVE: Final = b": keep-alive\n\n"
DONE: Final = b"data: [DONE]\n\n"

_PARAM: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.\[\]]{0,199}): ")


def stream_headers() -> Headers:
    """Return the headers of a streamed answer; a new list."""
    return [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
    ]


def error_status(problem: Problem) -> int:
    """Return the status that OpenAI's clients understand: they know no 529, and some repeat it without end."""
    return 503 if problem.status == 529 else problem.status


def error_headers(problem: Problem) -> Headers:
    """Return the headers of an error answer, but for request-id and limits; a new list."""
    return errors.headers(problem)


def error_fields(problem: Problem) -> dict[str, Any]:
    """Return message, type, param and code of a problem in OpenAI's words."""
    kind, code = _named(problem)
    param = _PARAM.match(problem.message) if problem.kind in {errors.INVALID_REQUEST, errors.NOT_FOUND} else None
    return {"message": problem.message, "type": kind, "param": param[1] if param else None, "code": code}


def error_body(problem: Problem) -> bytes:
    """Return the error envelope; an upstream's own error object stands in it as it is."""
    error = error_fields(problem) if problem.detail is None else msgspec.Raw(problem.detail)
    return msgspec.json.encode({"error": error})


def error_event(problem: Problem) -> bytes:
    """Return the event that ends a stream of chunks which cannot be finished. Nothing may follow it."""
    return b"data: " + error_body(problem).replace(b"\r", b"").replace(b"\n", b"") + b"\n\n"


def _named(problem: Problem) -> tuple[str, str | None]:
    """Return type and code."""
    kind = problem.kind
    if kind == errors.BILLING or (kind == errors.RATE_LIMIT and problem.needs_person):
        return "insufficient_quota", "insufficient_quota"
    if kind == errors.RATE_LIMIT:
        unit = "tokens" if problem.message.startswith("the limit of tokens") else "requests"
        return unit, "rate_limit_exceeded"
    if kind == errors.NOT_FOUND:
        return errors.INVALID_REQUEST, "model_not_found" if problem.message.startswith("model") else "not_found"
    return _NAMES.get(kind, (errors.INVALID_REQUEST if problem.status < 500 else "server_error", None))


_NAMES: Final[dict[str, tuple[str, str | None]]] = {
    errors.AUTHENTICATION: (errors.INVALID_REQUEST, "invalid_api_key"),
    errors.PERMISSION: ("permission_error", "permission_denied"),
    errors.TOO_LARGE: (errors.INVALID_REQUEST, "request_too_large"),
    errors.TIMEOUT: ("server_error", "timeout"),
    errors.OVERLOADED: ("server_error", "overloaded"),
}


_LIMIT_NAMES: Final = {
    "Requests": b"requests",
    "TotalTokens": b"tokens",
    "InputTokens": b"input-tokens",
    "OutputTokens": b"output-tokens",
}


def limit_headers(states: Iterable[LimitState]) -> Headers:
    """Return the remaining limits as `x-ratelimit-*`; of several windows of a unit, the one with least room."""
    tightest: dict[bytes, LimitState] = {}
    for state in states:
        name = _LIMIT_NAMES.get(state.unit)
        if name is None or state.amount <= 0:
            continue
        known = tightest.get(name)
        if known is None or state.remaining * known.amount < known.remaining * state.amount:
            tightest[name] = state
    headers: Headers = []
    for name, state in tightest.items():
        headers.append((b"x-ratelimit-limit-" + name, b"%d" % state.amount))
        headers.append((b"x-ratelimit-remaining-" + name, b"%d" % max(0, state.remaining)))
        headers.append((b"x-ratelimit-reset-" + name, duration(state.reset_ms)))
    return headers


def duration(milliseconds: int) -> bytes:
    """Return a time as OpenAI writes it: `250ms`, `12s`, `6m0s`, `1h0m5s`."""
    if milliseconds < 1000:
        return b"%dms" % max(0, milliseconds)
    seconds = -(-milliseconds // 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, seconds)
    return b"%dm%ds" % (minutes, seconds) if minutes else b"%ds" % seconds


class OpenAIManners:
    """What all of OpenAI's endpoints have in common; stateless."""

    def ping(self, head: Head) -> bytes:  # noqa: ARG002  # the same for all
        """Return a comment."""
        return KEEP_ALIVE

    def stream_headers(self, head: Head) -> Headers:  # noqa: ARG002  # the same for all
        """Return the headers of a streamed answer; a new list."""
        return stream_headers()

    def framing(self, head: Head) -> Framing | None:  # noqa: ARG002  # always SSE
        """Return nothing: this is SSE."""
        return None

    def error_status(self, problem: Problem) -> int:
        """Return the status of an error."""
        return error_status(problem)

    def error_headers(self, problem: Problem) -> Headers:
        """Return the headers of an error answer; a new list."""
        return error_headers(problem)

    def error_body(self, problem: Problem, request_id: str) -> bytes:  # noqa: ARG002  # it stands in a header
        """Return the error envelope."""
        return error_body(problem)

    def error_event(self, problem: Problem, request_id: str, head: Head) -> bytes:
        """Return what ends a stream of which nothing but keep-alives went out."""
        del request_id, head
        return error_event(problem)

    def limit_headers(self, states: Iterable[LimitState], now: float) -> Headers:  # noqa: ARG002  # resets are spans
        """Return the remaining limits."""
        return limit_headers(states)
