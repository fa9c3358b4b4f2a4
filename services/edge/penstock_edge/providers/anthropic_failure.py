"""What an account's error, in the Messages format, means; and what its headers tell of the account's own limits."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge import errors
from penstock_edge.errors import Problem
from penstock_edge.providers.anthropic_error_fields import Error, read_envelope, read_error
from penstock_edge.providers.failure import Failure
from penstock_edge.providers.retry_after import number
from penstock_edge.providers.retry_after import retry_after as asked_wait
from penstock_routing import outcomes
from penstock_routing.accounts import Hints

if TYPE_CHECKING:
    from penstock_edge.providers.wire import Headers


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


def of_status(status: int, headers: Headers, body: bytes) -> Failure:
    """Return what an error answer means for health, for the next attempt and, if it is at fault, for the client."""
    error, detail = _read_error(body)
    hint = retry_after(headers)
    return _classify(status, error, detail, hint)


def of_error_event(data: bytes) -> Failure:
    """Return what the data of an `error` event inside a stream means."""
    error, detail = _read_error(data)
    return _classify(_EVENT_STATUS.get(error.type, 500), error, detail, None)


def _read_error(body: bytes) -> tuple[Error, bytes | None]:
    try:
        detail = bytes(read_envelope(body).error)
        # Decoding the whole text: what is passed on must be sound in the parts that nobody reads too.
        return (read_error(detail.decode()), detail) if detail else (Error(), None)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Error(), None


def _classify(status: int, error: Error, detail: bytes | None, hint: float | None) -> Failure:
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
# Numbers are below 1e12.
_MOST_DIGITS: Final = 12


def hints(headers: Headers, now: datetime | None = None) -> Hints | None:
    """Return what an answer says of the account's own limits; None when it says nothing."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name.startswith(_LIMIT_PREFIX):
            found[name[len(_LIMIT_PREFIX) :]] = value
    if not found:
        return None
    at = time.time() if now is None else now.timestamp()
    return Hints(
        requests_limit=_count(found.get(b"requests-limit")),
        requests_remaining=_count(found.get(b"requests-remaining")),
        requests_reset_ms=_reset_ms(found.get(b"requests-reset"), at),
        tokens_limit=_count(found.get(b"tokens-limit")),
        tokens_remaining=_count(found.get(b"tokens-remaining")),
        tokens_reset_ms=_reset_ms(found.get(b"tokens-reset"), at),
        input_limit=_count(found.get(b"input-tokens-limit")),
        input_remaining=_count(found.get(b"input-tokens-remaining")),
        input_reset_ms=_reset_ms(found.get(b"input-tokens-reset"), at),
        output_limit=_count(found.get(b"output-tokens-limit")),
        output_remaining=_count(found.get(b"output-tokens-remaining")),
        output_reset_ms=_reset_ms(found.get(b"output-tokens-reset"), at),
    )


def _count(text: bytes | None) -> int:
    if text is None:
        return -1
    if text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    value = number(text)
    return -1 if value is None else int(value)


def _reset_ms(text: bytes | None, at: float) -> int:
    moment = None if text is None else _moment(text)
    return -1 if moment is None else max(0, round((moment - at) * 1000))


def _until(text: bytes | None, now: datetime | None) -> float | None:
    moment = None if text is None else _moment(text)
    return None if moment is None else max(0.0, moment - (time.time() if now is None else now.timestamp()))


@lru_cache(maxsize=1024)
def _moment(text: bytes) -> float | None:
    """Return a moment in unix seconds. Every answer names some, and most the same as the one before."""
    try:
        moment = datetime.fromisoformat(text.decode("latin-1"))
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
