"""The head of a Gemini request, and bodies that pass untranslated."""

from __future__ import annotations

import json

import pytest

from penstock_edge.dialects.gemini import DIALECT
from penstock_edge.errors import ProblemError

TURN = {"role": "user", "parts": [{"text": "hi"}]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "contents: field required"),
        ({"contents": None}, "contents: field required"),
        ({"contents": "hi"}, "contents: Input should be a valid list"),
        ({"contents": [TURN], "generationConfig": 5}, "generationConfig: Input should be a valid dictionary"),
        (
            {"contents": [TURN], "generationConfig": {"maxOutputTokens": True}},
            "generationConfig.maxOutputTokens: Input should be a valid integer",
        ),
        (
            {"contents": [TURN], "generationConfig": {"maxOutputTokens": "many"}},
            "generationConfig.maxOutputTokens: Input should be a valid integer",
        ),
        ([TURN], "body: Input should be a valid dictionary"),
        (b"{", "the request body is not valid JSON"),
        (b"", "the request body is not valid JSON"),
        (b'{"contents":["\xff"', "the request body is not valid JSON"),
        (b'{"contents":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "the request body is nested too deeply"),
    ],
)
def test_what_is_missing_or_wrong_is_named(gemini, body, message):
    with pytest.raises(ProblemError) as error:
        gemini.head(body)
    assert error.value.problem.message == message
    assert error.value.problem.status == 400


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({}, 0),
        ({"maxOutputTokens": 7}, 7),
        ({"max_output_tokens": 7}, 7),
        ({"maxOutputTokens": 7.0}, 7),
        ({"maxOutputTokens": "7"}, 7),
        ({"maxOutputTokens": None}, 0),
        ({"maxOutputTokens": -3}, 0),
        ({"maxOutputTokens": 10**30}, 1_000_000_000),
    ],
)
def test_the_most_tokens(gemini, config, tokens):
    assert gemini.head(gemini.asked(generationConfig=config)).max_tokens == tokens
    assert gemini.head(gemini.asked(generation_config=config)).max_tokens == tokens


def test_what_stays_the_same_from_turn_to_turn(gemini):
    for system in ("systemInstruction", "system_instruction"):
        body = {"tools": [1], system: {"parts": []}, "contents": [TURN, TURN]}
        head = gemini.head(body, model="m", streamed=True, sse=False)
        assert tuple(map(bytes, head.prefix)) == (b"[1]", b'{"parts": []}', json.dumps(TURN).encode())
    assert (head.model, head.stream, head.sse, head.counting, head.session) == ("m", True, False, False, "")
    # Google takes a single content without brackets, as its own curl samples write it.
    assert json.loads(bytes(gemini.head({"contents": TURN}).prefix[2])) == TURN
    assert tuple(map(bytes, gemini.head({"contents": []}).prefix)) == (b"", b"", b"")


def test_the_head_of_a_count(gemini):
    whole = {"contents": [TURN], "tools": [2]}
    assert gemini.head({"contents": [TURN]}, counting=True).counting
    for name in ("generateContentRequest", "generate_content_request"):
        assert bytes(gemini.head({name: whole}, counting=True).prefix[0]) == b"[2]"
    with pytest.raises(ProblemError, match="contents: field required"):
        gemini.head({"generateContentRequest": whole})


@pytest.mark.parametrize(
    "body",
    [
        b'{ "contents" : [ {"parts":[{"text":"a \\"model\\" b"}]} ],  "future": [1] }',
        b'{"contents":[{"parts":[{"functionCall":{"name":"f","args":{"model":"models/old"}}}]}]}',
        b'{"contents":[], "model": null}',
    ],
)
def test_a_body_passes_byte_for_byte(gemini, body):
    assert DIALECT.forwarded(gemini.head(body), body, "new") == body


def test_a_model_within_a_body_is_the_accounts(gemini):
    body = b'{ "model": "models/old", "contents" : [ ] }'
    assert DIALECT.forwarded(gemini.head(body), body, "new") == b'{ "model": "models/new", "contents" : [ ] }'
    tuned = DIALECT.forwarded(gemini.head(body), body, "tunedModels/new")
    assert tuned == b'{ "model": "tunedModels/new", "contents" : [ ] }'


def test_a_model_within_a_count_is_the_accounts(gemini):
    body = b'{"generateContentRequest": { "model": "models/old", "contents" : [ ] }, "a": 1}'
    head = gemini.head(body, counting=True)
    assert DIALECT.forwarded(head, body, "new") == body.replace(b"old", b"new")
    # In any other request that is an unknown field, and Google's to judge.
    other = b'{"contents":[], "generateContentRequest": {"model": "models/old"}}'
    assert DIALECT.forwarded(gemini.head(other), other, "new") == other
