"""Errors as Gemini clients read them."""

from __future__ import annotations

import json

import httpx
import pytest
from google.genai import errors as sdk

from penstock_edge.dialects.gemini import DIALECT
from penstock_edge.errors import BAD_KEY, BODY_TOO_LARGE, DRAINING, INTERNAL, Problem, invalid
from penstock_edge.limits import LimitState


@pytest.mark.parametrize(
    ("problem", "status", "name"),
    [
        (invalid("contents: field required"), 400, "INVALID_ARGUMENT"),
        (BAD_KEY, 401, "UNAUTHENTICATED"),
        (Problem(402, "billing_error", "m", needs_person=True), 402, "FAILED_PRECONDITION"),
        (Problem(403, "permission_error", "m"), 403, "PERMISSION_DENIED"),
        (Problem(404, "not_found_error", "m"), 404, "NOT_FOUND"),
        (BODY_TOO_LARGE, 413, "INVALID_ARGUMENT"),
        (Problem(409, "conflict_error", "m"), 409, "ABORTED"),
        (Problem(429, "rate_limit_error", "m"), 429, "RESOURCE_EXHAUSTED"),
        (INTERNAL, 500, "INTERNAL"),
        (Problem(502, "api_error", "m"), 502, "UNAVAILABLE"),
        (DRAINING, 503, "UNAVAILABLE"),
        (Problem(504, "timeout_error", "m"), 504, "DEADLINE_EXCEEDED"),
        (Problem(529, "overloaded_error", "m"), 503, "UNAVAILABLE"),
        (Problem(418, "something_new", "m"), 418, "INVALID_ARGUMENT"),
    ],
)
def test_statuses(problem, status, name):
    body = DIALECT.error_body(problem, "req_1")
    error = json.loads(body)["error"]
    assert (error["code"], error["status"], error["message"]) == (status, name, problem.message)
    assert DIALECT.error_status(problem) == status
    assert ("details" in error) is (problem.retry_after is not None)
    with pytest.raises(sdk.APIError) as raised:
        sdk.APIError.raise_for_response(httpx.Response(status, content=body))
    assert (raised.value.code, raised.value.status, raised.value.message) == (status, name, problem.message)


def test_how_long_to_wait():
    problem = Problem(429, "rate_limit_error", "m", retry_after=1.2)
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}
    assert json.loads(DIALECT.error_body(problem, ""))["error"]["details"] == [detail]
    headers = dict(DIALECT.error_headers(problem))
    assert headers == {b"content-type": b"application/json; charset=UTF-8", b"retry-after": b"2"}


def test_who_should_not_retry():
    assert (b"x-should-retry", b"false") in DIALECT.error_headers(invalid("m"))
    assert (b"allow", b"GET") in DIALECT.error_headers(Problem(405, "invalid_request_error", "m", allow="GET"))


def test_an_upstreams_own_error_passes_on_one_line(gemini):
    detail = b'{\n  "code": 400,\r\n  "message": "a\\nb",\n  "status": "INVALID_ARGUMENT", "details": [{}]\n}'
    problem = Problem(400, "invalid_request_error", "a\nb", detail=detail)
    body = DIALECT.error_body(problem, "req_1")
    assert b"\n" not in body
    assert json.loads(body) == {"error": json.loads(detail)}
    event = DIALECT.error_event(problem, "req_1", gemini.head(gemini.asked(), streamed=True))
    assert event == b"data: " + body + b"\r\n\r\n"


def test_limits():
    state = LimitState("rpm", "Requests", 10, 3, 4000, 60_000, "Key")
    assert dict(DIALECT.limit_headers([state], 0.0)) == {
        b"x-ratelimit-limit-requests": b"10",
        b"x-ratelimit-remaining-requests": b"3",
        b"x-ratelimit-reset-requests": b"4s",
    }
