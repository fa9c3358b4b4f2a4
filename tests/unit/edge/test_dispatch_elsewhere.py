"""Requests that hold what one account's organization made, before accounts of several."""

from __future__ import annotations

import json

import pytest

MODEL = "gpt-5-codex"
WORDS = "The encrypted content could not be verified."
DETAIL = {"message": WORDS, "type": "invalid_request_error", "param": None, "code": "invalid_encrypted_content"}


@pytest.fixture
def options(play):
    models = [play.model(MODEL, aliases=(), owned_by="openai")]
    return {"models": models, "providers": ["OpenAI"] * 8, "tiers": True}


@pytest.fixture
def strange(play):
    return play.answer(400, {"error": DETAIL})


def completed(play):
    response = {"id": "resp_1", "status": "completed", "output": [], "usage": {"input_tokens": 3, "output_tokens": 2}}
    event = {"type": "response.completed", "sequence_number": 0, "response": response}
    return play.stream([f"event: response.completed\ndata: {json.dumps(event)}\n\n".encode()])


def failed(play):
    event = {"type": "response.failed", "sequence_number": 0, "response": {"status": "failed", "error": DETAIL}}
    return play.stream([f"event: response.failed\ndata: {json.dumps(event)}\n\n".encode()])


async def ask(edge, path="/v1/responses"):
    field = {"input": "hi"} if path.endswith("responses") else {"messages": [{"role": "user", "content": "hi"}]}
    return await edge.http.post(path, json={"model": MODEL, "max_tokens": 20, **field})


@pytest.mark.parametrize("inside", [False, True])
async def test_the_account_that_made_it_is_found(gateway, books, play, options, strange, inside):
    first = failed(play) if inside else strange
    edge = await gateway([first], [completed(play)], **options)
    answer = await ask(edge)
    assert answer.status_code == 200
    assert "response.completed" in answer.text
    [closed] = await books.settled_count(1)
    assert [attempt.cls for attempt in closed.attempts] == ["Unstable", "Ok"]
    assert [outcome.account for outcome in books.outcomes] == ["b"], "the first account has done nothing wrong"


async def test_the_client_is_told_when_no_account_made_it(gateway, play, options, strange):
    edge = await gateway([strange], [strange], [strange], **options)
    answer = await ask(edge)
    assert answer.status_code == 400
    assert answer.json() == {"error": DETAIL}
    assert answer.headers["x-should-retry"] == "false"
    assert [len(upstream.requests) for upstream in edge.upstreams] == [1, 1, 1]


async def test_a_translated_client_is_told_in_its_own_envelope(gateway, books, play, options, strange):
    books.key = play.key_facts(messages_translation="Allow")
    edge = await gateway([strange], **options)
    answer = await ask(edge, "/v1/messages")
    assert answer.status_code == 400
    assert answer.json()["error"] == {"type": "invalid_request_error", "message": WORDS}
