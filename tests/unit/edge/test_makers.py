"""Requests that go on from a stored answer meet the account that made it."""

from __future__ import annotations

import json

import pytest

from penstock_edge.makers import Makers

MODEL = "gpt-5"
STRANGE = {"error": {"message": "gone", "type": "invalid_request_error", "code": "previous_response_not_found"}}


def test_makers_are_remembered_within_bounds():
    makers = Makers(remembered=3)
    for number in range(7):
        makers.made(f"resp_{number}", f"account-{number % 2}")
        assert makers.of(f"resp_{number}") == f"account-{number % 2}"
        assert makers.of(f"resp_{max(0, number - 2)}") is not None
    assert [makers.of(f"resp_{number}") is None for number in range(4)] == [True, True, True, False]
    assert makers.of("") is None


@pytest.fixture
def options(play):
    models = [play.model(name, aliases=(), owned_by="openai") for name in (MODEL, "gpt-5-codex")]
    return {"models": models, "providers": ["OpenAI"] * 8, "tiers": True}


@pytest.fixture
def strange(play):
    return play.answer(400, STRANGE)


@pytest.fixture
def made(play):
    """Return the script of an answer, unary or streamed."""

    def script(name, *, streamed=False):
        usage = {"input_tokens": 3, "output_tokens": 2}
        response = {"id": name, "object": "response", "status": "completed", "output": [], "usage": usage}
        if not streamed:
            return play.answer(body=response)
        event = {"type": "response.completed", "sequence_number": 0, "response": response}
        return play.stream([f"event: response.completed\ndata: {json.dumps(event)}\n\n".encode()])

    return script


async def ask(edge, follows=None, **fields):
    asked = {"model": MODEL, "input": "hi", **fields}
    return await edge.http.post("/v1/responses", json=asked | ({"previous_response_id": follows} if follows else {}))


def asked(edge):
    return [len(upstream.requests) for upstream in edge.upstreams]


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_maker_is_asked_at_once(gateway, books, play, options, made, strange, streamed):
    edge = await gateway([strange, strange], [made(f"resp_{n}", streamed=streamed) for n in range(3)], **options)
    assert (await ask(edge, stream=streamed)).status_code == 200
    assert asked(edge) == [1, 1]
    for number in range(2):
        answer = await ask(edge, f"resp_{number}", stream=streamed)
        assert f"resp_{number + 1}" in answer.text
    assert asked(edge) == [1, 3]
    [*_, closed] = await books.settled_count(3)
    assert [attempt.account for attempt in closed.attempts] == ["b"]


@pytest.mark.parametrize(
    ("fields", "follows"), [({"store": False}, "resp_0"), ({"model": "gpt-5-codex"}, "resp_0"), ({}, "resp_9")]
)
async def test_what_is_not_stored_or_not_known_is_looked_for(gateway, options, made, strange, fields, follows):
    streamed = "model" in fields
    scripts = [made("resp_0", streamed=streamed), made("resp_1")]
    edge = await gateway([strange, strange], scripts, **options)
    assert (await ask(edge, **fields)).status_code == 200
    assert (await ask(edge, follows)).status_code == 200
    assert asked(edge) == [2, 2]


@pytest.mark.parametrize("follows", [5, "", {"a": "resp_0"}])
async def test_what_is_no_id_is_the_upstreams_to_judge(gateway, options, made, follows):
    edge = await gateway([made("resp_0"), made("resp_1")], **options)
    await ask(edge)
    assert (await ask(edge, previous_response_id=follows)).status_code == 200


async def test_while_the_maker_is_away_nobody_says_that_the_answer_is_gone(gateway, play, options, made, strange):
    throttled = play.failure(429, retry_after="30")
    edge = await gateway([strange] * 3, [made("resp_0"), throttled], **options)
    assert (await ask(edge)).status_code == 200
    failed = await ask(edge, "resp_0")
    assert (failed.status_code, asked(edge)) == (429, [2, 2])
    assert int(failed.headers["retry-after"]) > 0
    away = await ask(edge, "resp_0")
    assert (away.status_code, asked(edge)) == (429, [3, 2])
    assert 20 < int(away.headers["retry-after"]) <= 31


async def test_another_account_of_the_makers_organization_will_do(gateway, play, options, made):
    edge = await gateway([made("resp_0"), play.failure(500)], [made("resp_1")], **options)
    assert (await ask(edge)).status_code == 200
    answer = await ask(edge, "resp_0")
    assert (answer.json()["id"], asked(edge)) == ("resp_1", [2, 1])


async def test_an_answer_that_its_maker_has_forgotten_is_gone(gateway, options, made, strange):
    edge = await gateway([made("resp_0"), strange], [strange], **options)
    await ask(edge)
    answer = await ask(edge, "resp_0")
    assert (answer.status_code, answer.json(), asked(edge)) == (400, STRANGE, [2, 1])
