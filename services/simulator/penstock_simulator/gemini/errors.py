"""Google's errors: a code, a status, words, and details; among these is how long to wait, which no header tells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import msgspec

from penstock_simulator.refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_simulator.refusal import LimitError

Details = tuple[dict[str, Any], ...]

_RPC = "type.googleapis.com/google.rpc."
_SERVICE = "generativelanguage.googleapis.com"
_INTERNAL = (
    "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting"
)
_UNKNOWN_CALLER = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
_OVERLOADED = "The model is overloaded. Please try again later."
_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, head to: "
    "https://ai.dev/rate-limit. "
)
_USUAL = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", _UNKNOWN_CALLER),
    402: ("FAILED_PRECONDITION", "Billing is not enabled for this project."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: ("NOT_FOUND", "Requested entity was not found."),
    408: ("DEADLINE_EXCEEDED", "Request Timeout"),
    409: ("ABORTED", "The operation was aborted."),
    413: ("INVALID_ARGUMENT", "Request Entity Too Large"),
    429: ("RESOURCE_EXHAUSTED", _QUOTA),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", _INTERNAL),
    501: ("UNIMPLEMENTED", "Operation is not implemented, or supported, or enabled."),
    502: ("UNAVAILABLE", "Bad Gateway"),
    503: ("UNAVAILABLE", _OVERLOADED),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
    529: ("UNAVAILABLE", _OVERLOADED),
}
# Errors within a stream: Google's names, and the words of other formats, so that a script can be the same for all.
_CODES = {
    "UNAVAILABLE": 503,
    "INTERNAL": 500,
    "RESOURCE_EXHAUSTED": 429,
    "DEADLINE_EXCEEDED": 504,
    "INVALID_ARGUMENT": 400,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "NOT_FOUND": 404,
    "CANCELLED": 499,
}
_FOREIGN = {
    "overloaded_error": "UNAVAILABLE",
    "api_error": "INTERNAL",
    "server_error": "INTERNAL",
    "rate_limit_error": "RESOURCE_EXHAUSTED",
    "rate_limit_exceeded": "RESOURCE_EXHAUSTED",
    "timeout_error": "DEADLINE_EXCEEDED",
    "invalid_request_error": "INVALID_ARGUMENT",
    "authentication_error": "UNAUTHENTICATED",
    "permission_error": "PERMISSION_DENIED",
    "not_found_error": "NOT_FOUND",
}
_METRICS = {
    "requests": ("generate_content_paid_tier_requests", "GenerateRequestsPerMinutePerProjectPerModel"),
    "input-tokens": (
        "generate_content_paid_tier_input_token_count",
        "GenerateContentPaidTierInputTokensPerModelPerMinute",
    ),
    "output-tokens": (
        "generate_content_paid_tier_output_token_count",
        "GenerateContentPaidTierOutputTokensPerModelPerMinute",
    ),
    "count": ("count_tokens_requests", "CountTokensRequestsPerMinutePerProject"),
    "concurrent": ("generate_content_concurrent_requests", "GenerateContentConcurrentRequestsPerProject"),
}


class GoogleError(RefusalError):
    """An error status with its details; `kind` is Google's status."""

    def __init__(self, status: int, kind: str, message: str, details: Details = ()) -> None:
        super().__init__(status, kind, message)
        self.details = details
        self.listed = False
        """Streams without `alt=sse` tell even this as a list of one."""

    def altered(self, kind: str, message: str, headers: tuple[tuple[str, str], ...]) -> Self:  # noqa: ARG002 -- Google sends no hint as a header; `usual` has put it into the details
        """Put what a directive wants in place of status and text."""
        return super().altered(_FOREIGN.get(kind, kind), message, ())


def usual(status: int, model: str = "", wait: str = "") -> GoogleError:
    """Return the usual error of a status; `wait` is a hint such as `17s`."""
    default = ("FAILED_PRECONDITION", "Precondition check failed.") if status < 500 else ("INTERNAL", _INTERNAL)
    kind, message = _USUAL.get(status, default)
    if status == 429:
        return _exhausted("requests", 0, model, wait)
    return GoogleError(status, kind, message, _retry_info(wait))


def over_limit(error: LimitError, model: str) -> GoogleError:
    """Say in Google's words what an account's limit refuses."""
    wait = f"{math.ceil(error.wait_seconds)}s" if error.wait_seconds else ""
    return _exhausted(error.limit, error.amount, model, wait)


def credit_too_low() -> GoogleError:
    """Return the error of an account whose prepaid money is gone; there is no use in waiting."""
    words = (
        "Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects to manage your "
        "project and billing."
    )
    return GoogleError(429, "RESOURCE_EXHAUSTED", words)


def invalid(message: str, details: Details = ()) -> GoogleError:
    """Return a 400."""
    return GoogleError(400, "INVALID_ARGUMENT", message, details)


def bad_payload(violations: Iterable[tuple[str, str]]) -> GoogleError:
    """Return the 400 of a body that is no such message; `violations` are (path, words)."""
    told = [{"field": path, "description": words} if path else {"description": words} for path, words in violations]
    details = {"@type": _RPC + "BadRequest", "fieldViolations": told}
    return invalid("\n".join(one["description"] for one in told), (details,))


def unknown_model(name: str, version: str, method: str) -> GoogleError:
    """Return the 404 of a model that does not exist, cannot do this, or not for this account."""
    words = (
        f"models/{name} is not found for API version {version}, or is not supported for {method}. Call ListModels to "
        "see the list of available models and their supported methods."
    )
    return GoogleError(404, "NOT_FOUND", words)


def no_model(name: str, version: str) -> GoogleError:
    """Return the 404 of a model whose row is asked for."""
    return GoogleError(404, "NOT_FOUND", f"Model is not found: models/{name} for api version {version}")


def delay(hint: str) -> str:
    """Return a directive's hint as Google gives it: seconds, whether it was to be a date or not."""
    seconds = hint.removeprefix("date:")
    return f"{seconds}s" if seconds else ""


def code(kind: str) -> int:
    """Return the code of a status that a directive names; by default that of an overloaded model."""
    return _CODES.get(_FOREIGN.get(kind, kind), 500) if kind else 503


def missing_key() -> GoogleError:
    """Return the 403 of a request without a key."""
    words = (
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
        "form of API consumer identity to call this API."
    )
    return GoogleError(403, "PERMISSION_DENIED", words)


def wrong_key() -> GoogleError:
    """Return the 400 of a key that nobody has; 400 is what Google says."""
    words = "API key not valid. Please pass a valid API key."
    message = {"@type": _RPC + "LocalizedMessage", "locale": "en-US", "message": words}
    return invalid(words, (_info("API_KEY_INVALID"), message))


def bearer_given() -> GoogleError:
    """Return the 401 of a bearer token, which is refused even beside a good key."""
    refusal = usual(401)
    refusal.details = (_info("ACCESS_TOKEN_TYPE_UNSUPPORTED"),)
    return refusal


def body(refusal: RefusalError) -> bytes:
    """Return the body of an error status."""
    details = refusal.details if isinstance(refusal, GoogleError) else ()
    told = envelope(refusal.status, _FOREIGN.get(refusal.kind, refusal.kind), refusal.message, details)
    listed = isinstance(refusal, GoogleError) and refusal.listed
    return msgspec.json.format(msgspec.json.encode([told] if listed else told), indent=2) + b"\n"


def within_stream(kind: str, message: str) -> dict[str, Any]:
    """Return the element of a stream that is an error."""
    number = code(kind)
    return envelope(number, _FOREIGN.get(kind, kind or "UNAVAILABLE"), message or _USUAL[number][1])


def envelope(number: int, status: str, message: str, details: Details = ()) -> dict[str, Any]:
    """Return an error as JSON shows it."""
    error: dict[str, Any] = {"code": number, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return {"error": error}


def _exhausted(limit: str, amount: int, model: str, wait: str) -> GoogleError:
    metric, quota = _METRICS[limit]
    dimensions = {"location": "global", **({"model": model} if model else {})}
    violation = {"quotaMetric": f"{_SERVICE}/{metric}", "quotaId": quota, "quotaDimensions": dimensions}
    words = _QUOTA
    if amount:
        violation["quotaValue"] = str(amount)
        words += f"\n* Quota exceeded for metric: {_SERVICE}/{metric}, limit: {amount}, model: {model}"
    if wait:
        words += f"\nPlease retry in {wait}."
    link = {
        "description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
    }
    details: Details = (
        {"@type": _RPC + "Help", "links": [link]},
        {"@type": _RPC + "QuotaFailure", "violations": [violation]},
    )
    return GoogleError(429, "RESOURCE_EXHAUSTED", words, details + _retry_info(wait))


def _retry_info(wait: str) -> Details:
    return ({"@type": _RPC + "RetryInfo", "retryDelay": wait},) if wait else ()


def _info(reason: str) -> dict[str, Any]:
    metadata = {"service": _SERVICE}
    return {"@type": _RPC + "ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}
