"""What errors and limit headers of OpenAI, and of servers that speak as it does, mean. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge import errors
from penstock_edge.errors import Problem
from penstock_edge.providers.failure import Failure
from penstock_edge.providers.openai_error_fields import Error, read_envelope, read_error, read_text
from penstock_edge.providers.retry_after import number
from penstock_edge.providers.retry_after import retry_after as asked_wait
from penstock_routing import outcomes
from penstock_routing.accounts import Hints

if TYPE_CHECKING:
    from datetime import datetime

    from penstock_edge.providers.wire import Headers

_UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


_NO_QUOTA: Final = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance", errors.BILLING}
)
_OVERLOADED: Final = frozenset({"overloaded", "server_is_overloaded", "slow_down", errors.OVERLOADED})
_BAD_KEY: Final = frozenset({"invalid_api_key", "account_deactivated"})
# Encrypted or stored by one account's organization, and of no use to any other's.
_ELSEWHERE: Final = frozenset({"invalid_encrypted_content", "previous_response_not_found"})
# What is known by words alone: items and conversations that are stored elsewhere, and what an organization has to show
# its papers for, such as streams and summaries of some models.
_ELSEWHERE_WORDS: Final = re.compile(r"[\w ]+ with id '[\w-]+' not found\b|Your organization must be verified\b")

# Inside a stream there is no status: what an error calls itself has to do.
_STATUSES: Final = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "tokens": 429,
    "requests": 429,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "invalid_encrypted_content": 400,
    "previous_response_not_found": 400,
    "content_policy_violation": 400,
    "invalid_image": 400,
    "image_too_large": 400,
    "invalid_request_error": 400,
    "server_error": 500,
    "timeout": 504,
    "timeout_error": 504,
    "overloaded": 503,
    "server_is_overloaded": 503,
    "slow_down": 503,
    "overloaded_error": 503,
}


def of_status(status: int, headers: Headers, body: bytes) -> Failure:
    """Return what an error answer means for health, for the next attempt and, if it is at fault, for the client."""
    error, detail = _read(body)
    return _classify(status, error, detail, retry_after(headers))


def of_error_object(detail: bytes) -> Failure:
    """Return what an error object (`{"message", "type", "code"}`, or a mere text) inside a stream means."""
    error, kept = _read_object(detail)
    return _classify(_status_of(error), error, kept, None)


def _read(body: bytes) -> tuple[Error, bytes | None]:
    try:
        envelope = read_envelope(body)
    except _UNREADABLE:
        return Error(), None
    if bytes(envelope.error) not in {b"", b"null"}:
        return _read_object(bytes(envelope.error))
    # Some servers leave the envelope out, some only say what is wrong as `detail`.
    message = envelope.message if envelope.message is not None else envelope.detail
    return Error(message, envelope.type, envelope.code), None


def _read_object(detail: bytes) -> tuple[Error, bytes | None]:
    try:
        # Decoding the whole text: what is passed on must be sound in the parts that nobody reads too.
        return read_error(detail.decode()), detail
    except _UNREADABLE:
        pass
    try:
        return Error(read_text(detail)), None
    except _UNREADABLE:
        return Error(), None


def _status_of(error: Error) -> int:
    code = error.code
    if isinstance(code, int) and 400 <= code <= 599:
        return code
    if isinstance(code, str):
        if len(code) == 3 and code.isdecimal() and code[0] in "45":
            return int(code)
        if code in _STATUSES:
            return _STATUSES[code]
    return _STATUSES.get(error.type, 500) if isinstance(error.type, str) else 500


def _classify(status: int, error: Error, detail: bytes | None, hint: float | None) -> Failure:
    names = error.names
    if status == 402 or names & _NO_QUOTA:
        return Failure(outcomes.QUOTA_EXHAUSTED, status, hint)
    if status == 429:
        return Failure(outcomes.THROTTLED_NO_HINT if hint is None else outcomes.THROTTLED, status, hint)
    if status in {503, 529} or names & _OVERLOADED:
        return Failure(outcomes.OVERLOADED, status, hint)
    if status in {400, 403, 404} and _misses_model(status, error):
        return Failure(outcomes.MODEL_MISSING, status)
    if status == 401 or names & _BAD_KEY:
        return Failure(outcomes.CREDENTIAL_INVALID, status)
    if status == 403:
        return Failure(outcomes.FORBIDDEN, status)
    if status in {408, 409} or not 400 <= status < 500:
        return Failure(outcomes.UNSTABLE, status, hint)
    message = error.words or f"the provider refused this request with status {status}"
    fault = Problem(status, _kind(status), message, detail=detail if error.words else None)
    if names & _ELSEWHERE or _ELSEWHERE_WORDS.match(error.words):
        # The account that made it, or that may do it, may be the next one.
        return Failure(outcomes.UNSTABLE, status, fault=fault, blames_account=False)
    return Failure(outcomes.CLIENT_FAULT, status, fault=fault)


def _misses_model(status: int, error: Error) -> bool:
    if isinstance(error.code, str):
        return error.code == "model_not_found"
    words = error.words.lower()
    # A model that is there and does something else is the client's mistake: it must not put the model out for others.
    return status == 404 and "model" in words and "not a chat model" not in words and "not supported in" not in words


def _kind(status: int) -> str:
    return {404: errors.NOT_FOUND, 413: errors.TOO_LARGE}.get(status, errors.INVALID_REQUEST)


# Limits

_PREFIX: Final = b"x-ratelimit-"
_DURATION: Final = re.compile(
    rb"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,12}(?:\.\d{1,9})?)ms)?"
)


def retry_after(headers: Headers, now: datetime | None = None) -> float | None:
    """Return the seconds that an upstream asks to wait: Retry-After in any form, else the reset of a used-up limit."""
    asked = asked_wait(headers, now)
    if asked is not None or any(name in {b"retry-after", b"retry-after-ms"} for name, _ in headers):
        return asked
    found = dict(reversed(headers))
    resets = [
        reset
        for unit in (b"requests", b"tokens")
        if number(found.get(_PREFIX + b"remaining-" + unit, b"")) == 0
        and (reset := seconds(found.get(_PREFIX + b"reset-" + unit, b""))) is not None
    ]
    return max(resets) if resets else None


def hints(headers: Headers) -> Hints | None:
    """Return what an answer says of the account's own limits; None when it says nothing."""
    found = {name: value for name, value in headers if name.startswith(_PREFIX)}
    if not found:
        return None

    def count(name: bytes) -> int:
        value = number(found.get(_PREFIX + name, b""))
        return -1 if value is None else int(value)

    def reset_ms(name: bytes) -> int:
        value = seconds(found.get(_PREFIX + name, b""))
        return -1 if value is None else int(value * 1000)

    told = Hints(
        requests_limit=count(b"limit-requests"),
        requests_remaining=count(b"remaining-requests"),
        requests_reset_ms=reset_ms(b"reset-requests"),
        tokens_limit=count(b"limit-tokens"),
        tokens_remaining=count(b"remaining-tokens"),
        tokens_reset_ms=reset_ms(b"reset-tokens"),
    )
    return None if told == _NOTHING else told


_NOTHING: Final = Hints()
# A plain number beyond this is a moment, not a length of time.
_LONGEST_SECONDS: Final = 1e7


def seconds(text: bytes) -> float | None:
    """Return the seconds of `6m0s`, `1.5s`, `20ms` or a plain number; None for anything else."""
    text = text.strip()
    if not text:
        return None
    plain = number(text)
    if plain is not None:
        return plain if plain < _LONGEST_SECONDS else None
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    hours, minutes, whole, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + whole + milliseconds / 1000
