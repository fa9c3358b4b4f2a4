"""OpenAI's errors: the type, the code and the words of each status; the real API's own where they are known."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock_simulator.refusal import RefusalError

INVALID = "invalid_request_error"
SERVER = "server_error"
_SERVER_WORDS = "The server had an error while processing your request. Sorry about that!"
_OVERLOADED_WORDS = "The engine is currently overloaded, please try again later."
_USUAL: dict[int, tuple[str, str, str | None]] = {
    400: (INVALID, "The request was refused by the simulator.", None),
    401: (INVALID, "Incorrect API key provided.", "invalid_api_key"),
    402: (
        INVALID,
        "Your account is not active, please check your billing details on our website.",
        "billing_not_active",
    ),
    403: ("permission_error", "You have insufficient permissions for this operation.", "insufficient_permissions"),
    404: (INVALID, "Invalid URL", None),
    405: (INVALID, "Not allowed to use this method on this URL.", "method_not_supported"),
    408: (SERVER, "The request timed out.", None),
    409: (INVALID, "The request conflicts with another one. Please try again.", "conflict"),
    413: (INVALID, "Maximum content size limit exceeded.", None),
    429: ("requests", "Rate limit reached. Please try again later.", "rate_limit_exceeded"),
    500: (SERVER, _SERVER_WORDS, None),
    502: (SERVER, "Bad gateway.", None),
    503: (SERVER, _OVERLOADED_WORDS, None),
    504: (SERVER, "Gateway timeout.", None),
    529: (SERVER, _OVERLOADED_WORDS, None),
}
# Types that stand in `type`; any other word that a directive gives is a code.
_TYPES = {INVALID, SERVER, "permission_error", "requests", "tokens", "insufficient_quota"}
QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)


def usual(status: int) -> RefusalError:
    """Return the usual error of a status."""
    kind, message, code = _USUAL.get(status, (INVALID, "Refused.", None) if status < 500 else _USUAL[500])
    return RefusalError(status, kind, message, code=code)


def invalid(message: str, param: str | None = None, code: str | None = None) -> RefusalError:
    """Return a 400."""
    return RefusalError(400, INVALID, message, param=param, code=code)


def unknown_model(name: str) -> RefusalError:
    """Return the 404 of a model that does not exist, or not for this account."""
    words = f"The model `{name}` does not exist or you do not have access to it."
    return RefusalError(404, INVALID, words, code="model_not_found")


def quota_exceeded() -> RefusalError:
    """Return the 429 of an account without money."""
    return RefusalError(429, "insufficient_quota", QUOTA, code="insufficient_quota")


def _described(kind: str, message: str, status: int) -> dict[str, Any]:
    """Return the inside of an error envelope; a word that is no type is a code."""
    if kind in _TYPES or kind.endswith("_error"):
        return {"message": message, "type": kind, "param": None, "code": kind if kind == "insufficient_quota" else None}
    return {"message": message, "type": usual(status).kind, "param": None, "code": kind}


def body(refusal: RefusalError) -> bytes:
    """Return the error envelope."""
    error = _described(refusal.kind, refusal.message, refusal.status)
    if refusal.code is not None:
        error["code"] = refusal.code
    return msgspec.json.encode({"error": error | {"param": refusal.param}})


def mid_stream(kind: str, message: str) -> dict[str, Any]:
    """Return the inside of an error within a stream; `kind` and `message` as a directive gives them, or empty."""
    kind = kind or SERVER
    usual_words = _SERVER_WORDS if kind in {SERVER, "api_error"} else _OVERLOADED_WORDS
    return _described(kind, message or usual_words, 500)


def no_such_url(method: str, path: str) -> bytes:
    """Return the body of the 404 of a path that does not exist."""
    return body(RefusalError(404, INVALID, f"Invalid URL ({method} {path})"))
