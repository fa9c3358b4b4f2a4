"""Errors and limits as OpenAI's clients read them."""

from __future__ import annotations

import json

import pytest

from penstock_edge import errors
from penstock_edge.dialects import openai_errors as dialect
from penstock_edge.errors import NO_KEY, Problem, invalid
from penstock_edge.limits import LimitState


@pytest.mark.parametrize(
    ("problem", "status", "kind", "code", "param"),
    [
        (invalid("messages: field required"), 400, "invalid_request_error", None, "messages"),
        (invalid("messages.3.content.0: no"), 400, "invalid_request_error", None, "messages.3.content.0"),
        (invalid("messages[3].role: no"), 400, "invalid_request_error", None, "messages[3].role"),
        (invalid("this: that is: no"), 400, "invalid_request_error", None, "this"),
        (invalid("the request body is not valid JSON"), 400, "invalid_request_error", None, None),
        (NO_KEY, 401, "invalid_request_error", "invalid_api_key", None),
        (Problem(402, errors.BILLING, "no"), 402, "insufficient_quota", "insufficient_quota", None),
        (Problem(403, errors.PERMISSION, "no"), 403, "permission_error", "permission_denied", None),
        (Problem(404, errors.NOT_FOUND, "model: x"), 404, "invalid_request_error", "model_not_found", "model"),
        (Problem(404, errors.NOT_FOUND, "there is nothing"), 404, "invalid_request_error", "not_found", None),
        (Problem(413, errors.TOO_LARGE, "no"), 413, "invalid_request_error", "request_too_large", None),
        (Problem(429, errors.RATE_LIMIT, "the limit of requests"), 429, "requests", "rate_limit_exceeded", None),
        (Problem(429, errors.RATE_LIMIT, "the limit of tokens (x)"), 429, "tokens", "rate_limit_exceeded", None),
        (
            Problem(429, errors.RATE_LIMIT, "no", needs_person=True),
            429,
            "insufficient_quota",
            "insufficient_quota",
            None,
        ),
        (Problem(500, errors.API, "model: x"), 500, "server_error", None, None),
        (Problem(502, errors.API, "no"), 502, "server_error", None, None),
        (Problem(504, errors.TIMEOUT, "no"), 504, "server_error", "timeout", None),
        (Problem(529, errors.OVERLOADED, "no"), 503, "server_error", "overloaded", None),
    ],
)
def test_the_envelope(problem, status, kind, code, param):
    assert dialect.error_status(problem) == status
    error = {"message": problem.message, "type": kind, "param": param, "code": code}
    assert json.loads(dialect.error_body(problem)) == {"error": error}


def test_an_upstreams_own_error_passes_as_it_is():
    problem = Problem(400, errors.INVALID_REQUEST, "no", detail=b'{"message":"own",\r\n "code":7}')
    assert dialect.error_body(problem) == b'{"error":{"message":"own",\r\n "code":7}}'
    event = dialect.error_event(problem)
    assert event == b'data: {"error":{"message":"own", "code":7}}\n\n'


@pytest.mark.parametrize(
    ("problem", "headers"),
    [
        (invalid("no"), {b"x-should-retry": b"false"}),
        (Problem(429, errors.RATE_LIMIT, "no", retry_after=1.2), {b"retry-after": b"2"}),
        (
            Problem(429, errors.RATE_LIMIT, "no", retry_after=61),
            {b"retry-after": b"61", b"x-should-retry": b"false"},
        ),
        (Problem(529, errors.OVERLOADED, "no"), {}),
        (
            Problem(405, errors.INVALID_REQUEST, "no", allow="POST"),
            {b"x-should-retry": b"false", b"allow": b"POST"},
        ),
    ],
)
def test_the_headers(problem, headers):
    assert dict(dialect.error_headers(problem)) == {b"content-type": b"application/json", **headers}


def limit(unit, amount, remaining, reset_ms=0):
    return LimitState("l", unit, amount, remaining, reset_ms, 60_000, "Key")


def test_the_limit_with_least_room_shows():
    states = [
        limit("Requests", 100, 50, 1500),
        limit("Requests", 1000, 20, 3_600_000),
        limit("TotalTokens", 10, -3, 20),
        limit("OutputTokens", 7, 7),
        limit("Concurrent", 5, 5),
        limit("InputTokens", 0, 0),
    ]
    assert dialect.limit_headers(states) == [
        (b"x-ratelimit-limit-requests", b"1000"),
        (b"x-ratelimit-remaining-requests", b"20"),
        (b"x-ratelimit-reset-requests", b"1h0m0s"),
        (b"x-ratelimit-limit-tokens", b"10"),
        (b"x-ratelimit-remaining-tokens", b"0"),
        (b"x-ratelimit-reset-tokens", b"20ms"),
        (b"x-ratelimit-limit-output-tokens", b"7"),
        (b"x-ratelimit-remaining-output-tokens", b"7"),
        (b"x-ratelimit-reset-output-tokens", b"0ms"),
    ]


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(-5, b"0ms"), (999, b"999ms"), (1000, b"1s"), (1001, b"2s"), (60_000, b"1m0s"), (3_725_000, b"1h2m5s")],
)
def test_durations(milliseconds, text):
    assert dialect.duration(milliseconds) == text
