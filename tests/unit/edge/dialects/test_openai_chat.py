"""Heads of chat requests, and what passes to an account of the same format."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.dialects.openai_chat import DIALECT
from penstock_edge.errors import Problem, ProblemError, invalid

GOOD = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def head(**fields):
    return DIALECT.head(json.dumps({**GOOD, **fields}).encode())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": []}, "model: field required"),
        ({"model": "m"}, "messages: field required"),
        ({**GOOD, "model": ""}, "model: String should have at least 1 character"),
        ({**GOOD, "model": 5}, "model: Input should be a valid string"),
        ({**GOOD, "messages": "hi"}, "messages: Input should be a valid list"),
        ({**GOOD, "max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        ({**GOOD, "stream": "yes"}, "stream: Input should be a valid boolean"),
        ({**GOOD, "user": 5}, "user: Input should be a valid string"),
        ({**GOOD, "metadata": {"user_id": 5}}, "metadata.user_id: Input should be a valid string"),
        ({**GOOD, "stream_options": 5}, "stream_options: Input should be a valid dictionary"),
        (
            {**GOOD, "stream_options": {"include_usage": 5}},
            "stream_options.include_usage: Input should be a valid boolean",
        ),
        ([GOOD], "body: Input should be a valid dictionary"),
    ],
)
def test_what_is_missing_or_wrong_is_named(body, message):
    with pytest.raises(ProblemError) as error:
        DIALECT.head(json.dumps(body).encode())
    problem = error.value.problem
    assert (problem.status, problem.kind, problem.message) == (400, "invalid_request_error", message)


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"model":"\xff","messages":[]}', b'{"model":"m","messages":' + b"[" * 99_999]
)
def test_junk(body):
    with pytest.raises(ProblemError):
        DIALECT.head(body)


@given(st.binary(max_size=80))
def test_any_junk(body):
    with pytest.raises(ProblemError):
        DIALECT.head(body)


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({}, "max_tokens", 0),
        ({"max_tokens": 5}, "max_tokens", 5),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", 6),
        ({"max_tokens": -5}, "max_tokens", 0),
        ({"max_tokens": 10**18}, "max_tokens", 2**31),
        ({}, "stream", False),
        ({"stream": None}, "stream", False),
        ({"stream": True}, "stream", True),
        ({}, "session", ""),
        ({"metadata": {"user_id": "m"}}, "session", "m"),
        ({"metadata": {"user_id": "m"}, "user": "u"}, "session", "u"),
        ({"metadata": {"user_id": "m"}, "safety_identifier": "s"}, "session", "s"),
        ({"metadata": None, "user": "u", "prompt_cache_key": "k"}, "session", "k"),
        ({}, "wants_usage", False),
        ({"stream_options": None}, "wants_usage", False),
        ({"stream_options": {}}, "wants_usage", False),
        ({"stream_options": {"include_usage": True}}, "wants_usage", True),
        ({"stream_options": {"include_usage": None}}, "wants_usage", False),
    ],
)
def test_the_head(fields, name, value):
    assert getattr(head(**fields), name) == value


def test_the_prefix_ends_with_what_a_user_said_first():
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "a"},
    ]
    prefix = head(messages=messages, tools=[{"type": "function"}]).prefix
    assert [json.loads(bytes(part)) for part in prefix] == [[{"type": "function"}], *messages[:2]]
    assert tuple(map(bytes, head(messages=[]).prefix)) == (b"",)
    assert tuple(map(bytes, head(messages=[5, 6]).prefix)) == (b"", b"5")
    assert len(head(messages=messages[:1] * 9).prefix) == 5


@pytest.mark.parametrize(
    ("body", "model", "sent"),
    [
        (b'{"model":"m", "messages":[]}', "m", b'{"model":"m", "messages":[]}'),
        (b'{"model":"m", "messages":[]}', "x", b'{"model":"x", "messages":[]}'),
        (
            b'{"model":"m", "messages":[], "stream":true}',
            "m",
            b'{"stream_options":{"include_usage":true},"model":"m", "messages":[], "stream":true}',
        ),
        (
            b'{"model":"m","stream_options":null,"messages":[],"stream":true}',
            "x",
            b'{"model":"x","stream_options":{"include_usage":true},"messages":[],"stream":true}',
        ),
        (
            b'{"model":"m","stream_options":{"a": 1},"messages":[],"stream":true}',
            "m",
            b'{"model":"m","stream_options":{"include_usage":true,"a": 1},"messages":[],"stream":true}',
        ),
        (
            b'{"model":"m","stream_options":{"include_usage":false },"messages":[],"stream":true}',
            "m",
            b'{"model":"m","stream_options":{"include_usage":true },"messages":[],"stream":true}',
        ),
        (
            b'{"model":"m","stream_options":{"include_usage":true},"messages":[],"stream":true}',
            "m",
            b'{"model":"m","stream_options":{"include_usage":true},"messages":[],"stream":true}',
        ),
    ],
)
def test_what_passes(body, model, sent):
    read = DIALECT.head(body)
    assert DIALECT.forwarded(read, body, model) == sent
    assert DIALECT.hides_usage(read) is not read.wants_usage


def test_manners():
    read = head()
    assert DIALECT.ping(read) == b": keep-alive\n\n"
    assert DIALECT.framing(read) is None
    assert dict(DIALECT.stream_headers(read))[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert DIALECT.stream_headers(read) is not DIALECT.stream_headers(read)
    assert DIALECT.error_status(Problem(529, "overloaded_error", "no")) == 503
    assert json.loads(DIALECT.error_body(invalid("x: no"), "req_1"))["error"]["param"] == "x"
    assert DIALECT.error_event(invalid("no"), "req_1", read).startswith(b'data: {"error":{"message":"no"')
    assert DIALECT.limit_headers([], 0.0) == []
    assert dict(DIALECT.error_headers(invalid("no")))[b"x-should-retry"] == b"false"
