"""The Messages format as clients speak it."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.dialects.anthropic import DIALECT as dialect  # noqa: N811 -- a name as short as its use
from penstock_edge.errors import Problem, ProblemError
from penstock_edge.limits import LimitState
from penstock_edge.sse import data_of

GOOD = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


def without(name):
    return {k: v for k, v in GOOD.items() if k != name}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (without("model"), "model: field required"),
        (without("max_tokens"), "max_tokens: field required"),
        (without("messages"), "messages: field required"),
        ({**GOOD, "model": 5}, "model: Input should be a valid string"),
        ({**GOOD, "model": None}, "model: Input should be a valid string"),
        ({**GOOD, "model": ""}, "model: String should have at least 1 character"),
        ({**GOOD, "max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        ({**GOOD, "max_tokens": 1.5}, "max_tokens: Input should be a valid integer"),
        ({**GOOD, "messages": "hi"}, "messages: Input should be a valid list"),
        ({**GOOD, "stream": "yes"}, "stream: Input should be a valid boolean"),
        ({**GOOD, "metadata": []}, "metadata: Input should be a valid dictionary"),
        ({**GOOD, "metadata": {"user_id": 5}}, "metadata.user_id: Input should be a valid string"),
        ([GOOD], "body: Input should be a valid dictionary"),
        ("text", "body: Input should be a valid dictionary"),
    ],
)
def test_what_is_missing_or_wrong_is_named(body, message):
    with pytest.raises(ProblemError) as error:
        dialect.head(json.dumps(body).encode())
    assert error.value.problem.message == message
    assert (error.value.problem.status, error.value.problem.kind) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"model": "m", // comment\n "max_tokens": 5, "messages": []}',
        b'{"model": "m", "max_tokens": 5, "messages": [}',
        b'{"model": "\xff\xfe", "max_tokens": 5, "messages": []}',
        json.dumps(GOOD).encode() + b"x",
        b'{"model":"m","max_tokens":5,"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_json_is_refused_without_quoting_it(body):
    with pytest.raises(ProblemError) as error:
        dialect.head(body)
    assert error.value.problem.status == 400
    assert error.value.problem.message in {
        "the request body is not valid JSON",
        "the request body is nested too deeply",
    }


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"stream": None, "metadata": None, "system": "s", "tools": [], "thinking": {"type": "adaptive"}},
        {"stream": True, "metadata": {"user_id": None}, "context_management": {"edits": []}},
        {"max_tokens": 0},
        {"max_tokens": 10**12},
        {"system": [{"type": "text", "text": "s"}], "future": [1, {"a": None}]},
    ],
)
def test_unknown_and_empty_fields_pass(more):
    head = dialect.head(json.dumps({**GOOD, **more}).encode())
    assert head.model == "m"
    assert bool(head.stream) == bool(more.get("stream"))


def test_count_tokens_needs_no_max_tokens():
    assert dialect.count_head(json.dumps(without("max_tokens")).encode()).max_tokens == 0
    for wrong in (without("model"), {**GOOD, "model": ""}, []):
        with pytest.raises(ProblemError):
            dialect.count_head(json.dumps(wrong).encode())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_body_is_read_or_refused(value):
    body = json.dumps(value).encode()
    try:
        head = dialect.head(body)
    except ProblemError as error:
        refused = error.problem.status
        assert refused == 400
    else:
        assert head.model == value["model"]


def test_session_and_prefix():
    body = {**GOOD, "system": [{"type": "text", "text": "é"}], "tools": [{"name": "t"}], "metadata": {"user_id": "u"}}
    head = dialect.head(msgspec.json.encode(body))
    assert head.session == "u"
    assert tuple(map(bytes, head.prefix)) == (
        b'[{"name":"t"}]',
        '[{"type":"text","text":"é"}]'.encode(),
        b'{"role":"user","content":"hi"}',
    )
    bare = dialect.head(json.dumps({**GOOD, "messages": []}).encode())
    assert (bare.session, tuple(map(bytes, bare.prefix))) == ("", (b"", b"", b""))


def test_error_bodies():
    problem = Problem(429, "rate_limit_error", 'say "wait"', retry_after=2.5)
    assert json.loads(dialect.error_body(problem, "req_1")) == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": 'say "wait"'},
        "request_id": "req_1",
    }
    assert dialect.error_headers(problem) == [(b"content-type", b"application/json"), (b"retry-after", b"3")]
    event = dialect.error_event(problem, "req_1", dialect.head(json.dumps(GOOD).encode()))
    assert event.startswith(b"event: error\ndata: {")
    assert event.endswith(b"}\n\n")
    assert event.count(b"\n") == 3


def test_an_upstreams_own_words_stay_as_they_are():
    detail = b'{"type":"x","message":"y","details":{"b":1,"a":2}}'
    body = dialect.error_body(Problem(400, "x", "y", detail=detail), "req_1")
    assert detail in body


def test_an_upstreams_own_words_on_several_lines_are_one_event():
    detail = b'{\n  "type": "invalid_request_error",\r\n  "message": "no\\nsuch"\n}'
    problem = Problem(400, "invalid_request_error", "no", detail=detail)
    event = dialect.error_event(problem, "req_1", dialect.head(json.dumps(GOOD).encode()))
    assert json.loads(data_of(event))["error"] == json.loads(detail)


def state(unit, amount, remaining, reset_ms=0):
    return LimitState("l", unit, amount, remaining, reset_ms, 60_000, "Key")


def test_limit_headers():
    headers = dict(
        dialect.limit_headers(
            [
                state("Requests", 100, 50, 1500),
                state("Requests", 10, 9),
                state("InputTokens", 1000, -5),
                state("OutputTokens", 1000, 1000),
                state("TotalTokens", 0, 0),
                state("CostMicroUSD", 10, 5),
                state("ConcurrentRequests", 10, 5),
            ],
            1_000_000_000.0,
        )
    )
    assert headers == {
        b"anthropic-ratelimit-requests-limit": b"100",
        b"anthropic-ratelimit-requests-remaining": b"50",
        b"anthropic-ratelimit-requests-reset": b"2001-09-09T01:46:42Z",
        b"anthropic-ratelimit-input-tokens-limit": b"1000",
        b"anthropic-ratelimit-input-tokens-remaining": b"0",
        b"anthropic-ratelimit-input-tokens-reset": b"2001-09-09T01:46:40Z",
        b"anthropic-ratelimit-output-tokens-limit": b"1000",
        b"anthropic-ratelimit-output-tokens-remaining": b"1000",
        b"anthropic-ratelimit-output-tokens-reset": b"2001-09-09T01:46:40Z",
    }
