"""Heads of Responses requests, and what passes to accounts of the same format."""

from __future__ import annotations

import json

import pytest

from penstock_edge.dialects.openai_responses import DIALECT
from penstock_edge.errors import ProblemError
from tests.unit.edge.dialects.openai_responses.conversations import CODEX, encoded


def test_what_a_head_says():
    head = DIALECT.head(encoded(stream=True, max_output_tokens=5, user="u", tools=[{"type": "web_search"}]))
    assert (head.model, head.stream, head.max_tokens, head.session) == ("claude", True, 5, "u")
    assert head.tools == b'[{"type": "web_search"}]'
    assert (head.codex, head.instructed) == (False, False)


@pytest.mark.parametrize(
    "fields",
    [{"input": None}, {"stream": None, "max_output_tokens": None, "tools": None, "metadata": None}, {"input": []}],
)
def test_nulls_are_absent(fields):
    head = DIALECT.head(encoded(**fields))
    assert (head.stream, head.max_tokens, head.session, head.tools) == (False, 0, "", b"")


@pytest.mark.parametrize(
    ("fields", "session"),
    [
        ({"prompt_cache_key": "k", "user": "u", "metadata": {"user_id": "m"}}, "k"),
        ({"user": "u", "metadata": {"user_id": "m"}}, "u"),
        ({"safety_identifier": "s", "metadata": {"user_id": "m"}}, "s"),
        ({"metadata": {"user_id": "m", "more": "x"}}, "m"),
    ],
)
def test_who_or_what_a_session_is(fields, session):
    assert DIALECT.head(encoded(**fields)).session == session


def test_the_prefix_stays_as_the_conversation_grows():
    begin = [
        {"role": "developer", "content": "d"},
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
    ]
    more = [{"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}]
    first, second = DIALECT.head(encoded(input=begin)), DIALECT.head(encoded(input=[*begin, *more]))
    assert first.prefix == second.prefix
    assert len(first.prefix) == 5
    other = DIALECT.head(encoded(input=[*begin[:2], {"role": "user", "content": "w"}]))
    assert other.prefix != first.prefix


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "model: field required"),
        (encoded(model=5), "model: Input should be a valid string"),
        (encoded(model=""), "model: String should have at least 1 character"),
        (encoded(stream="yes"), "stream: Input should be a valid boolean"),
        (encoded(max_output_tokens="5"), "max_output_tokens: Input should be a valid integer"),
        (encoded(metadata=[]), "metadata: Input should be a valid dictionary"),
        (encoded(background=True), "background: answers are not made in the background here"),
        (encoded(background="yes"), "background: Input should be a valid boolean"),
        (b"[]", "body: Input should be a valid dictionary"),
        (b"{", "the request body is not valid JSON"),
        (b'{"model":"\xff"}', "the request body is not valid JSON"),
        (b'{"model":"m","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "the request body is nested too deeply"),
    ],
)
def test_what_is_no_body(body, message):
    with pytest.raises(ProblemError) as error:
        DIALECT.head(body)
    assert error.value.problem.message == message
    assert error.value.problem.status == 400


def test_an_input_of_a_wrong_type_is_named():
    with pytest.raises(ProblemError, match=r"^input: Input should be "):
        DIALECT.head(encoded(input=5))


def test_only_the_model_changes():
    body = b'{ "input":"model", "future":{"model":1}, "model" : "alias", "stream":false }'
    forwarded = DIALECT.forwarded(DIALECT.head(body), body, 'gpt-"x"')
    assert forwarded == b'{ "input":"model", "future":{"model":1}, "model" : "gpt-\\"x\\"", "stream":false }'


# E: forced stream on /v1/responses, store forced false, default instructions if absent.
def test_codex_models_are_always_streamed_and_never_stored():
    body = encoded(model="gpt-5.2-codex", stream=False, store=True)
    head = DIALECT.head(body)
    assert head.stream is True
    forwarded = json.loads(DIALECT.forwarded(head, body, "gpt-5.2-codex"))
    assert (forwarded["stream"], forwarded["store"]) == (True, False)
    assert forwarded["instructions"]


REASONING = "reasoning.encrypted_content"


@pytest.mark.parametrize(
    ("fields", "include"),
    [
        ({}, [REASONING]),
        ({"store": True, "include": None}, [REASONING]),
        ({"include": ["web_search_call.results"]}, ["web_search_call.results", REASONING]),
        ({"include": [REASONING]}, [REASONING]),
        ({"include": "nonsense"}, "nonsense"),
        ({"store": False}, None),
    ],
)
def test_reasoning_can_come_back_though_it_is_stored_against_the_clients_wish_nowhere(fields, include):
    body = encoded(model="gpt-5-codex", **fields)
    assert json.loads(DIALECT.forwarded(DIALECT.head(body), body, "gpt-5-codex")).get("include") == include


@pytest.mark.parametrize(
    ("fields", "default"),
    [
        ({}, True),
        ({"instructions": None}, True),
        ({"instructions": ""}, True),
        ({"instructions": "mine"}, False),
        ({"input": [{"role": "developer", "content": "mine"}, {"role": "user", "content": "hi"}]}, False),
        ({"input": [{"role": "system", "content": "mine"}]}, False),
        ({"input": [{"role": "user", "content": "hi"}]}, True),
        ({"input": [{"role": "user", "content": "hi"}, {"role": "developer", "content": "mine"}]}, False),
        ({"input": [7, {"role": 5}]}, True),
    ],
)
def test_instructions_are_supplied_only_where_there_are_none(fields, default):
    body = encoded(model="gpt-5-codex", **fields)
    forwarded = json.loads(DIALECT.forwarded(DIALECT.head(body), body, "gpt-5-codex"))
    assert (forwarded.get("instructions") not in {None, "", "mine"}) is default


def test_codex_itself_passes_unchanged():
    body = CODEX.replace(b"claude-sonnet-4-6", b"gpt-5-codex")
    assert DIALECT.forwarded(DIALECT.head(body), body, "gpt-5-codex") == body
