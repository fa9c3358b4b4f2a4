"""Requests that cross from one wire format to another, before scripted upstreams: who is asked, and what comes back."""

from __future__ import annotations

import json
import time

import pytest

from penstock_edge import signatures
from penstock_routing import Cooldown

CHAT = {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "Hi"}]}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}
VECTORS = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}],
    "model": "m",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}


def chunk(delta=None, finish=None, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = chunk(usage={"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
STREAM = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hello"}), chunk({}, "stop")]


def lines(answer):
    return [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]


async def test_a_unary_answer_comes_back_in_the_callers_format(gateway, books, play):
    edge = await gateway([play.answer(headers={"anthropic-secret": "x"})])
    answer = await edge.http.post("/v1/chat/completions", json={**CHAT, "seed": 5})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Hello"
    assert answer.json()["usage"]["total_tokens"] == 15
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["penstock-ignored-fields"] == "seed"
    assert answer.headers["penstock-input-tokens"] == "10"
    assert "x-ratelimit-limit-requests" in answer.headers
    (request,) = edge.upstreams[0].requests
    assert request.line == "POST /v1/messages HTTP/1.1"
    assert request.headers["anthropic-version"] == ["2023-06-01"]
    assert json.loads(request.body)["max_tokens"] == 32_000
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.attempts[0].usage.output_tokens) == ("complete", 5)
    assert books.opened_records[closed.request_id].dialect == "openai_chat"


async def test_another_providers_account_absorbs_a_failure_unseen(gateway, books, play):
    """A stream that fails before output on one wire format goes on in another."""
    broken = play.stream([chunk({"role": "assistant", "content": ""})], end="cut")
    edge = await gateway([broken], [play.stream()], providers=["OpenAICompatible", "Anthropic"], tiers=True)
    answer, names = await edge.events()
    assert answer.content == b"".join(play.whole_stream())
    assert names[-1] == "message_stop"
    [closed] = await books.settled_count(1)
    assert [attempt.cls for attempt in closed.attempts] == ["Unstable", "Ok"]


async def test_a_messages_stream_begins_with_a_figure_and_ends_with_the_right_one(gateway, play):
    edge = await gateway([play.stream([*STREAM, USAGE, DONE])], providers=["OpenAICompatible"])
    answer, _ = await edge.events()
    told = [json.loads(line) for line in lines(answer)]
    assert told[0]["message"]["usage"]["input_tokens"] > 0
    assert told[-2]["usage"]["input_tokens"] == 10


async def test_a_translated_stream_is_held_until_output_and_never_ends_well_when_it_broke(gateway, books, play):
    pieces = [play.start(), play.block, play.text("Hel")]
    edge = await gateway([play.stream(pieces, end="cut")])
    answer = await edge.http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    assert answer.status_code == 200
    told = lines(answer)
    assert "[DONE]" not in told
    assert json.loads(told[0])["choices"][0]["delta"]["role"] == "assistant"
    assert json.loads(told[-1])["error"]["message"]
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.estimated) == ("error_after_output", True)


async def test_what_one_provider_cannot_carry_another_does(gateway, books, play):
    """`n` goes to an account of the same wire format, though its tier comes last."""
    two = {**COMPLETION, "choices": [{**COMPLETION["choices"][0], "index": i} for i in (0, 1)]}
    edge = await gateway(
        [play.answer()], [play.answer(body=two)], providers=["Anthropic", "OpenAICompatible"], tiers=True
    )
    answer = await edge.http.post("/v1/chat/completions", json={**CHAT, "n": 2})
    assert [choice["index"] for choice in answer.json()["choices"]] == [0, 1]
    assert edge.upstreams[0].requests == []
    assert (await books.settled_count(1))[0].attempts[0].account == "b"


async def test_what_a_cooling_account_could_carry_is_to_be_tried_again(gateway, books, play):
    """A 400 would end the client's attempts, though the account that can do it comes back in a while."""
    edge = await gateway([play.answer()], [play.answer()], providers=["Anthropic", "OpenAICompatible"], tiers=True)
    edge.pool.set_cooldown(
        Cooldown(account="b", model="claude-sonnet-4-6", cls="Throttled", remaining_seconds=9), time.monotonic()
    )
    answer = await edge.http.post("/v1/chat/completions", json={**CHAT, "n": 2})
    assert answer.status_code in {429, 503}
    assert int(answer.headers["retry-after"]) >= 1
    assert (books.finished, books.holds, books.slots) == ([], 0, 0)


async def test_what_nobody_can_carry_is_refused_by_name_and_costs_nothing(gateway, books, play):
    edge = await gateway([play.answer()])
    answer = await edge.http.post("/v1/chat/completions", json={**CHAT, "n": 2})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")
    assert edge.upstreams[0].requests == []
    assert (books.finished, books.holds, books.slots) == ([], 0, 0)
    assert edge.pool.in_flight("a") == 0


async def test_a_shape_that_no_reader_foresaw_is_the_clients_to_mend(gateway, play, monkeypatch):
    def crash(*_, **__):
        raise KeyError("secret")

    monkeypatch.setattr("penstock_edge.crossing._translated", crash)
    edge = await gateway([play.answer()])
    answer = await edge.http.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 400
    assert "secret" not in answer.text


async def test_embeddings_that_a_model_does_not_make_do_not_put_it_out(gateway, books, play):
    refusal = play.answer(404, {"error": {"message": "no", "type": "x", "code": "model_not_found", "param": None}})
    edge = await gateway([refusal], [play.answer(body=VECTORS)], providers=["OpenAI"] * 2, tiers=True)
    body = {"model": "claude-sonnet-4-6", "input": "x"}
    assert (await edge.http.post("/v1/embeddings", json=body)).json() == VECTORS
    edge.upstreams[1].scripts[:] = [refusal]
    answer = await edge.http.post("/v1/embeddings", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")
    edge.upstreams[0].scripts[:] = [play.answer(body=COMPLETION)]
    assert (await edge.http.post("/v1/chat/completions", json=CHAT)).status_code == 200


@pytest.mark.parametrize("asked", [False, True])
async def test_a_streams_usage_is_always_asked_for_and_shown_to_who_asked(gateway, books, play, asked):
    edge = await gateway([play.stream([*STREAM, USAGE, DONE])], providers=["OpenAICompatible"])
    options = {"stream_options": {"include_usage": True}} if asked else {}
    answer = await edge.http.post("/v1/chat/completions", json={**CHAT, "stream": True, **options})
    assert json.loads(edge.upstreams[0].requests[0].body)["stream_options"]["include_usage"] is True
    assert answer.content == b"".join([*STREAM, *([USAGE] if asked else []), DONE])
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.attempts[0].usage.whole_input, closed.estimated) == ("complete", 10, False)


async def test_a_server_that_counts_nothing_is_estimated(gateway, books, play):
    edge = await gateway([play.stream([*STREAM, DONE])], providers=["OpenAICompatible"])
    answer = await edge.http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    assert answer.content.endswith(DONE)
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.estimated, closed.attempts[0].estimated) == ("complete", True, True)
    assert closed.attempts[0].usage.input_tokens > 10
    assert closed.attempts[0].usage.output_tokens == 1


@pytest.mark.parametrize("native", [False, True])
async def test_a_server_without_done_ends_well_after_a_finish_reason(gateway, books, play, native):
    edge = await gateway([play.stream([*STREAM, USAGE])], providers=["OpenAICompatible"])
    if native:
        answer = await edge.http.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert answer.content == b"".join(STREAM)
    else:
        _, names = await edge.events()
        assert names[-1] == "message_stop"
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.attempts[0].usage.whole_input) == ("complete", 10)


async def test_thinking_goes_to_its_signer_first_and_elsewhere_without_it(gateway, books, play):
    thought = {"type": "thinking", "thinking": "hm", "signature": signatures.tag("sig", "OpenAICompatible")}
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "Well"}]},
        {"role": "user", "content": "So?"},
    ]
    edge = await gateway(
        [play.answer()], [play.answer(body=COMPLETION)], providers=["Anthropic", "OpenAICompatible"], tiers=True
    )
    answer = await edge.post(messages=turns)
    assert answer.json()["content"][0]["text"] == "Hello"
    assert [len(upstream.requests) for upstream in edge.upstreams] == [0, 1]
    edge.upstreams[1].scripts[:] = [play.failure(500)]
    answer = await edge.post(messages=turns)
    assert answer.status_code == 200
    assert "thinking" in answer.headers["penstock-ignored-fields"]
    sent = json.loads(edge.upstreams[0].requests[0].body)["messages"][1]["content"]
    assert sent == [{"type": "text", "text": "Well"}]


async def test_messages_are_for_claude_unless_the_plan_says_otherwise(gateway, books, play):
    models = [play.model("gpt-5", owned_by="openai", aliases=())]
    edge = await gateway([play.answer(body=COMPLETION)], models=models, providers=["OpenAICompatible"])
    answer = await edge.post(model="gpt-5")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "/v1/chat/completions" in answer.json()["error"]["message"]
    books.key = play.key_facts(messages_translation="Allow")
    assert (await edge.post(model="gpt-5")).json()["content"][0]["text"] == "Hello"


async def test_a_plan_without_translation(gateway, books, play):
    books.key = play.key_facts(translation="Deny")
    edge = await gateway([play.answer()])
    answer = await edge.http.post("/v1/chat/completions", json=CHAT)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (403, "false")
    assert (await edge.post()).status_code == 200


async def test_tokens_are_counted_where_a_provider_counts(gateway, books, play):
    edge = await gateway([play.answer(body={"input_tokens": 9})])
    contents = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    answer = await edge.http.post("/v1beta/models/claude-sonnet-4-6:countTokens", json=contents)
    assert answer.json()["totalTokens"] == 9
    assert edge.upstreams[0].requests[0].line == "POST /v1/messages/count_tokens HTTP/1.1"
    assert books.opened_records == {}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1beta/interactions", 404), ("/v1/interactions", 404), ("/v1beta/models/m:embedContent", 404)],
)
async def test_what_of_gemini_is_not_served_says_so_in_its_envelope(gateway, play, path, status):
    edge = await gateway([play.answer()])
    answer = await edge.http.post(path, json={})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (status, status, "NOT_FOUND")
    assert "generateContent" in error["message"]


async def test_a_key_in_the_query_goes_no_further(gateway, books, play):
    edge = await gateway([play.answer()])
    del edge.http.headers["x-api-key"]
    contents = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    path = "/v1/models/claude-sonnet-4-6:generateContent"
    answer = await edge.http.post(path, params={"key": play.key}, json=contents)
    assert answer.json()["candidates"][0]["content"]["parts"][0]["text"] == "Hello"
    assert play.key.encode() not in edge.upstreams[0].requests[0].head
    assert (await edge.http.post(path, json=contents)).status_code == 401


async def test_codex_models_stream_whatever_was_asked(gateway, books, play):
    done = {
        "type": "response.completed",
        "sequence_number": 0,
        "response": {
            "id": "resp_1",
            "object": "response",
            "status": "completed",
            "output": [],
            "usage": {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9},
        },
    }
    stream = [f"event: response.completed\ndata: {json.dumps(done)}\n\n".encode()]
    edge = await gateway(
        [play.stream(stream)],
        models=[play.model("gpt-5-codex", owned_by="openai", aliases=())],
        providers=["OpenAI"],
    )
    answer = await edge.http.post("/v1/responses", json={"model": "gpt-5-codex", "input": "hi"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    sent = json.loads(edge.upstreams[0].requests[0].body)
    assert (sent["stream"], sent["store"]) == (True, False)
    assert sent["instructions"]
    [closed] = await books.settled_count(1)
    assert closed.attempts[0].usage.whole_input == 7
