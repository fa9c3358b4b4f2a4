"""Errors as Google writes them: `{"error": {"code", "message", "status", "details"?}}`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import errors

if TYPE_CHECKING:
    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.errors import Problem

CONTENT_TYPE: Final = (b"content-type", b"application/json; charset=UTF-8")

_BY_KIND: Final = {
    errors.INVALID_REQUEST: "INVALID_ARGUMENT",
    errors.AUTHENTICATION: "UNAUTHENTICATED",
    errors.BILLING: "FAILED_PRECONDITION",
    errors.PERMISSION: "PERMISSION_DENIED",
    errors.NOT_FOUND: "NOT_FOUND",
    errors.TOO_LARGE: "INVALID_ARGUMENT",
    errors.RATE_LIMIT: "RESOURCE_EXHAUSTED",
    errors.TIMEOUT: "DEADLINE_EXCEEDED",
    errors.OVERLOADED: "UNAVAILABLE",
    "conflict_error": "ABORTED",
}
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"


def error_status(problem: Problem) -> int:
    """Return the status that Google's clients understand: they know no 529."""
    return 503 if problem.status == 529 else problem.status


def error_headers(problem: Problem) -> Headers:
    """Return the headers of an error answer, but for request-id and limits; a new list."""
    headers = [CONTENT_TYPE]
    seconds = problem.retry_after_seconds
    if seconds is not None:
        headers.append((b"retry-after", b"%d" % seconds))
    if not problem.should_retry:
        headers.append((b"x-should-retry", b"false"))
    if problem.allow:
        headers.append((b"allow", problem.allow.encode()))
    return headers


def error_body(problem: Problem) -> bytes:
    """Return the error envelope, without line ends; an upstream's own error object stands in it as it is."""
    if problem.detail is not None:
        # JSON text has no raw line ends within strings.
        detail = problem.detail.replace(b"\r", b"").replace(b"\n", b"")
        return msgspec.json.encode({"error": msgspec.Raw(detail)})
    error: dict[str, Any] = {
        "code": error_status(problem),
        "message": problem.message,
        "status": _status_name(problem),
    }
    seconds = problem.retry_after_seconds
    if seconds is not None:
        error["details"] = [{"@type": _RETRY_INFO, "retryDelay": f"{seconds}s"}]
    return msgspec.json.encode({"error": error})


def _status_name(problem: Problem) -> str:
    name = _BY_KIND.get(problem.kind)
    if name is not None:
        return name
    if problem.status < 500:
        return "INVALID_ARGUMENT"
    return "UNAVAILABLE" if problem.status in {502, 503} else "INTERNAL"
