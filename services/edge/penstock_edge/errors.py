"""What a client is told when its request cannot be served: one table from reasons to statuses, kinds and words.

Kinds are the canonical ones (the Messages format's error types); a dialect renders them. Only texts written here, and
an upstream's own words about a client's own fault, ever reach a client.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from penstock_routing import outcomes

if TYPE_CHECKING:
    from penstock_edge.records import Refused

INVALID_REQUEST: Final = "invalid_request_error"
AUTHENTICATION: Final = "authentication_error"
BILLING: Final = "billing_error"
PERMISSION: Final = "permission_error"
NOT_FOUND: Final = "not_found_error"
TOO_LARGE: Final = "request_too_large"
RATE_LIMIT: Final = "rate_limit_error"
API: Final = "api_error"
TIMEOUT: Final = "timeout_error"
OVERLOADED: Final = "overloaded_error"

# SDKs sleep for as long as they are told; beyond this they had better give up.
_LONGEST_WAIT_SECONDS = 60
_RETRYABLE_CLIENT_ERRORS = frozenset({408, 409, 429})


@dataclass(frozen=True, slots=True)
class Problem:
    """One error answer. `detail` is the upstream's own error object as JSON, passed on with a client's own fault.

    `retry_after` is in seconds; `needs_person`: no repetition helps until somebody acts (a top-up, a new key).
    """

    status: int
    kind: str
    message: str
    retry_after: float | None = None
    needs_person: bool = False
    detail: bytes | None = None
    allow: str = ""
    """Value of the Allow header of a 405."""

    @property
    def retry_after_seconds(self) -> int | None:
        """Whole seconds for the Retry-After header, never too few."""
        return None if self.retry_after is None else max(1, math.ceil(self.retry_after))

    @property
    def should_retry(self) -> bool:
        """Whether a client library may repeat the request by itself."""
        if self.needs_person:
            return False
        if self.retry_after is not None and self.retry_after > _LONGEST_WAIT_SECONDS:
            return False
        return self.status >= 500 or self.status in _RETRYABLE_CLIENT_ERRORS


def headers(problem: Problem) -> list[tuple[bytes, bytes]]:
    """Return the headers of an error answer that all dialects share, but for request-id and limits; a new list."""
    found = [(b"content-type", b"application/json")]
    seconds = problem.retry_after_seconds
    if seconds is not None:
        found.append((b"retry-after", b"%d" % seconds))
    if not problem.should_retry:
        found.append((b"x-should-retry", b"false"))
    if problem.allow:
        found.append((b"allow", problem.allow.encode()))
    return found


class ProblemError(Exception):
    """Carries a Problem out of the code that found it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def invalid(message: str, status: int = 400) -> Problem:
    """Return the answer to a request that is wrong in itself."""
    return Problem(status, INVALID_REQUEST, message)


NO_KEY: Final = Problem(
    401,
    AUTHENTICATION,
    "an API key is required: send it as x-api-key, Authorization: Bearer or x-goog-api-key",
    needs_person=True,
)
BAD_KEY: Final = Problem(401, AUTHENTICATION, "invalid API key", needs_person=True)
BODY_TOO_LARGE: Final = Problem(413, TOO_LARGE, "the request body is larger than 32 MB")
DRAINING: Final = Problem(503, API, "this server is shutting down; please retry", retry_after=1)
SPOOL_FULL: Final = Problem(503, API, "this server cannot record requests at the moment; please retry", retry_after=2)
UNCARRIABLE: Final = invalid("the request is not shaped as its format demands, so it cannot be carried to this model")
INTERNAL: Final = Problem(500, API, "an internal error occurred")


def not_claude(model: str) -> Problem:
    """Return the answer to a Messages request for another maker's model, where the plan has no such thing."""
    return invalid(
        f"model: {model} is not a Claude model; /v1/messages serves Claude models only under this API key's plan. "
        "Use /v1/chat/completions, /v1/responses or the Gemini paths for it"
    )


def not_carried(model: str, what: str) -> Problem:
    """Return the answer when no account of this model can take such a request."""
    return invalid(f"model: {what} not available for {model}")


def no_translation(model: str) -> Problem:
    """Return the answer when only accounts of another wire format serve the model, and the plan forbids those."""
    return Problem(
        403,
        PERMISSION,
        f"the plan of this API key does not include translation, and {model} is not served in this wire format",
        needs_person=True,
    )


@dataclass(frozen=True, slots=True)
class _Rule:
    status: int
    kind: str
    message: str
    needs_person: bool = False
    least_wait: float | None = None
    """Retry-After when the refusal names no reset."""


_REFUSALS: Final[dict[str, _Rule]] = {
    "UNKNOWN_KEY": _Rule(401, AUTHENTICATION, "invalid API key", needs_person=True),
    "DISABLED": _Rule(401, AUTHENTICATION, "this API key is disabled", needs_person=True),
    "EXPIRED": _Rule(403, PERMISSION, "this API key has expired", needs_person=True),
    "REQUESTS": _Rule(429, RATE_LIMIT, "the limit of requests{limit} is used up", least_wait=1),
    "TOKENS": _Rule(429, RATE_LIMIT, "the limit of tokens{limit} is used up", least_wait=1),
    "COST": _Rule(429, RATE_LIMIT, "the limit of spending{limit} is used up", least_wait=1),
    "CONCURRENCY": _Rule(429, RATE_LIMIT, "too many concurrent requests{limit}", least_wait=1),
    "SPEND_LIMIT": _Rule(403, PERMISSION, "the spend limit of this API key is reached", needs_person=True),
    "CREDIT": _Rule(402, BILLING, "insufficient credit: please top up", needs_person=True),
    "TOO_LARGE": _Rule(400, INVALID_REQUEST, "this request alone is larger than the limit{limit} allows"),
    "RECOVERING": _Rule(503, API, "limits are being recovered after an outage; please retry", least_wait=1),
    "PLAN_MISSING": _Rule(403, PERMISSION, "the plan of this API key does not exist", needs_person=True),
    "STORE_DOWN": _Rule(503, API, "limits cannot be checked at the moment; please retry", least_wait=2),
    "AUTH_UNAVAILABLE": _Rule(503, API, "API keys cannot be checked at the moment; please retry", least_wait=2),
}

# Profiles replace single rules of the table.
_PROFILES: Final[dict[str, dict[str, _Rule]]] = {
    "ForbiddenWhenOutOfCredit": {
        "CREDIT": _Rule(403, PERMISSION, "insufficient credit: please top up", needs_person=True),
    },
}


def refused(refusal: Refused) -> Problem:
    """Return the answer to a request that was not admitted."""
    profile = "" if refusal.key is None else refusal.key.error_profile
    rule = _PROFILES.get(profile, {}).get(refusal.reason) or _REFUSALS[refusal.reason]
    limit = f" ({refusal.limit}: {refusal.amount})" if refusal.limit else ""
    wait = refusal.reset_ms / 1000 if refusal.reset_ms > 0 else rule.least_wait
    return Problem(
        rule.status,
        rule.kind,
        rule.message.format(limit=limit),
        retry_after=None if rule.needs_person or rule.status == 400 else wait,
        needs_person=rule.needs_person,
    )


def none_left(*, throttled: bool, soonest_seconds: float) -> Problem:
    """Return the answer when no account could be tried at all."""
    if throttled:
        return Problem(
            429, RATE_LIMIT, "all providers are at capacity; please retry later", retry_after=soonest_seconds
        )
    return Problem(
        529, OVERLOADED, "no provider is available at the moment; please retry later", retry_after=soonest_seconds
    )


_LAST_FAILURES: Final[dict[str, tuple[int, str, str]]] = {
    outcomes.THROTTLED: (429, RATE_LIMIT, "the provider is at capacity; please retry later"),
    outcomes.THROTTLED_NO_HINT: (429, RATE_LIMIT, "the provider is at capacity; please retry later"),
    outcomes.OVERLOADED: (529, OVERLOADED, "the provider is overloaded; please retry later"),
}
_OTHER_FAILURE: Final = (502, API, "the provider failed to answer this request")


def last_failure(cls: str, soonest_seconds: float | None) -> Problem:
    """Return the answer when attempts were made and the last one, of class `cls`, could not be absorbed.

    `soonest_seconds`: when an account may be back; with 0 (one is there now) only a client that is to slow down is
    told to wait. It never shows an upstream's own 401, 402 or 403: they are about our account, not about the client.
    """
    status, kind, message = _LAST_FAILURES.get(cls, _OTHER_FAILURE)
    if not soonest_seconds and cls not in _LAST_FAILURES:
        soonest_seconds = None
    return Problem(status, kind, message, retry_after=soonest_seconds)
