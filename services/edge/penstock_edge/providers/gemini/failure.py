"""What Google's errors mean for health, for the next attempt and, where it is at fault, for the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import errors
from penstock_edge.errors import Problem
from penstock_edge.providers.failure import Failure
from penstock_edge.providers.retry_after import number, retry_after
from penstock_routing import outcomes

if TYPE_CHECKING:
    from penstock_edge.providers.wire import Headers


class _Error(msgspec.Struct):
    code: Any = None
    message: Any = None
    status: Any = None
    details: Any = None

    @property
    def words(self) -> str:
        """The message in lower case, "" without one."""
        return self.message.lower() if isinstance(self.message, str) else ""

    def rows(self) -> list[dict[str, Any]]:
        """Return the details, as far as they are objects."""
        return [row for row in self.details if isinstance(row, dict)] if isinstance(self.details, list) else []


class _Envelope(msgspec.Struct):
    # Not `Raw | None`: msgspec would then refuse everything but null.
    error: msgspec.Raw = msgspec.Raw()


_envelope = msgspec.json.Decoder(_Envelope)
_listed = msgspec.json.Decoder(list[_Envelope])
_error = msgspec.json.Decoder(_Error)
_UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

# Inside a stream there is no HTTP status but the one that the error object tells.
_CODES: Final = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_KINDS: Final = {
    "NOT_FOUND": errors.NOT_FOUND,
    "PERMISSION_DENIED": errors.PERMISSION,
}
# How messages begin. Further on they may quote what a client wrote, which must not put an account out.
_CLIENTS_OWN_THINGS: Final = ("you do not have permission to access the file", "cachedcontent not found")
_MODEL_WORDS: Final = ("models/", "tunedmodels/", "model ", "this model", "the model", "publisher model")
_NO_MONEY: Final = ("your prepayment credits", "your credit balance", "billing account")
_NOT_HERE: Final = ("user location", "gemini api free tier", "billing", "this api method requires billing")


def of_status(status: int, headers: Headers, body: bytes) -> Failure:
    """Return what an error answer means."""
    error, detail = _read(_object_of(body))
    hint = retry_after(headers)
    return _classify(status, error, detail, _asked_wait(error) if hint is None else hint)


def of_error_object(raw: bytes) -> Failure:
    """Return what an error object inside a stream means."""
    error, detail = _read(raw)
    code = error.code if isinstance(error.code, int) else 0
    if not 400 <= code <= 599:
        code = _CODES.get(error.status, 500) if isinstance(error.status, str) else 500
    return _classify(code, error, detail, _asked_wait(error))


def stray_error(raw: bytes) -> Failure | None:
    """Return what an error means that stands in a stream without `data:`, as some do; None for anything else."""
    begin = raw.lstrip()[:1]
    if begin not in {b"{", b"["}:
        return None
    found = _object_of(raw)
    return of_error_object(found) if found else None


def _object_of(body: bytes) -> bytes:
    """Return the error object; streams that are no SSE tell it as a list of one."""
    try:
        if body.lstrip().startswith(b"["):
            listed = _listed.decode(body)
            return bytes(listed[0].error) if listed else b""
        return bytes(_envelope.decode(body).error)
    except _UNREADABLE:
        return b""


def _read(raw: bytes) -> tuple[_Error, bytes | None]:
    try:
        # Decoding the whole text: what is passed on must be sound in the parts that nobody reads too.
        return _error.decode(raw.decode()), raw
    except _UNREADABLE:
        return _Error(), None


def _asked_wait(error: _Error) -> float | None:
    for row in error.rows():
        delay = row.get("retryDelay")
        if isinstance(delay, str) and delay.endswith("s"):
            return number(delay[:-1].encode("utf-8", "replace"))
        if isinstance(delay, dict):
            return number(str(delay.get("seconds", 0)).encode("utf-8", "replace"))
    return None


def _classify(status: int, error: _Error, detail: bytes | None, hint: float | None) -> Failure:
    words = error.words
    reasons = {row.get("reason") for row in error.rows() if isinstance(row.get("reason"), str)}
    if status == 402 or (status in {403, 429} and words.startswith(_NO_MONEY)):
        return Failure(outcomes.QUOTA_EXHAUSTED, status, hint)
    if status == 429:
        return Failure(outcomes.THROTTLED_NO_HINT if hint is None else outcomes.THROTTLED, status, hint)
    if status in {503, 529}:
        return Failure(outcomes.OVERLOADED, status, hint)
    if status == 401 or "API_KEY_INVALID" in reasons or words.startswith(("api key not valid", "api key expired")):
        return Failure(outcomes.CREDENTIAL_INVALID, status)
    if _forbids(status, error, words):
        return Failure(outcomes.FORBIDDEN, status)
    if status in {408, 409, 499} or not 400 <= status < 500:
        return Failure(outcomes.UNSTABLE, status, hint)
    if status == 404 and words.startswith(_MODEL_WORDS):
        return Failure(outcomes.MODEL_MISSING, status)
    return Failure(outcomes.CLIENT_FAULT, status, fault=_fault(status, error, detail))


def _forbids(status: int, error: _Error, words: str) -> bool:
    """Whether the account as such may not do this."""
    if status == 403:
        return not words.startswith(_CLIENTS_OWN_THINGS)
    return status == 400 and error.status == "FAILED_PRECONDITION" and words.startswith(_NOT_HERE)


def _fault(status: int, error: _Error, detail: bytes | None) -> Problem:
    named = isinstance(error.status, str) and isinstance(error.message, str) and bool(error.message)
    kind = _KINDS.get(error.status) if isinstance(error.status, str) else None
    if kind is None:
        kind = {404: errors.NOT_FOUND, 413: errors.TOO_LARGE}.get(status, errors.INVALID_REQUEST)
    message = error.message if named else f"the provider refused this request with status {status}"
    return Problem(status, kind, message, detail=detail if named else None)
