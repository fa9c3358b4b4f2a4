"""Anthropic's errors: the type and the words of each status."""

from __future__ import annotations

import msgspec

from penstock_simulator.refusal import RefusalError

_USUAL = {
    400: ("invalid_request_error", "The request was refused by the simulator."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your account has an outstanding balance. Please visit the billing page."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "Not Found"),
    405: ("invalid_request_error", "Method Not Allowed"),
    408: ("timeout_error", "Request Timeout"),
    409: ("conflict_error", "Conflict"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your account's rate limit. Please try again later."),
    500: ("api_error", "Internal server error"),
    502: ("api_error", "Bad gateway"),
    503: ("overloaded_error", "Service temporarily unavailable"),
    504: ("timeout_error", "Gateway timeout"),
    529: ("overloaded_error", "Overloaded"),
}
CREDIT = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase "
    "credits."
)
_EVENT_WORDS = {"overloaded_error": "Overloaded", "api_error": "Internal server error"}


def usual(status: int) -> RefusalError:
    """Return the usual error of a status."""
    default = ("invalid_request_error", "Refused") if status < 500 else ("api_error", "Internal server error")
    kind, message = _USUAL.get(status, default)
    return RefusalError(status, kind, message)


def invalid(message: str) -> RefusalError:
    """Return a 400."""
    return RefusalError(400, "invalid_request_error", message)


def unknown_model(name: str) -> RefusalError:
    """Return the 404 of a model that does not exist, or not for this account."""
    return RefusalError(404, "not_found_error", f"model: {name}")


def body(kind: str, message: str, request_id: str) -> bytes:
    """Return the error envelope."""
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})


def event(kind: str, message: str, request_id: str) -> bytes:
    """Return an error within a stream."""
    text = message or _EVENT_WORDS.get(kind, "Internal server error")
    return b"event: error\ndata: " + body(kind, text, request_id) + b"\n\n"
