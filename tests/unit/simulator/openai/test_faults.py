"""Every fault in OpenAI's forms, as a reader of raw bytes meets it."""

import json

import openai
import pytest

from .conftest import CHAT, EMBEDDINGS, RESPONSES, chat, events, respond


def ask(path, directive, *, stream=False):
    make = chat if path == CHAT else respond
    return make(f"hello [[sim: {directive}]]", **({"stream": True} if stream else {}))


def error_of(wire):
    return json.loads(wire.body)["error"]


PATHS = pytest.mark.parametrize("path", [CHAT, RESPONSES])


@pytest.mark.parametrize("stream", [False, True])
@PATHS
@pytest.mark.parametrize(
    ("fault", "status", "kind", "code"),
    [
        ("400", 400, "invalid_request_error", None),
        ("401", 401, "invalid_request_error", "invalid_api_key"),
        ("403", 403, "permission_error", "insufficient_permissions"),
        ("404", 404, "invalid_request_error", "model_not_found"),
        ("413", 413, "invalid_request_error", None),
        ("429", 429, "requests", "rate_limit_exceeded"),
        ("500", 500, "server_error", None),
        ("503", 503, "server_error", None),
        ("529", 529, "server_error", None),
        ("credit", 429, "insufficient_quota", "insufficient_quota"),
    ],
)
async def test_statuses(sim, send, path, fault, status, kind, code, stream):
    wire = await send(ask(path, f"fault={fault}", stream=stream), path)
    error = error_of(wire)
    assert (wire.status, error["type"], error["code"]) == (status, kind, code)
    assert "application/json" in wire.head
    (record,) = sim.records
    assert (record.status, record.fault, record.state, record.reported) == (status, fault, "refused", False)
    assert record.error_type == (code or kind)


@PATHS
async def test_words_and_hints(send, path):
    wire = await send(ask(path, 'fault=429 error=insufficient_quota message="so it is" retry_after=7'), path)
    assert error_of(wire) == {
        "message": "so it is",
        "type": "insufficient_quota",
        "param": None,
        "code": "insufficient_quota",
    }
    assert "retry-after: 7\r\n" in wire.head + "\r\n"
    unknown = error_of(await send(ask(path, "nosuch=1"), path))
    assert unknown["message"] == "[[sim]]: nosuch: no such directive"


async def test_embeddings_and_models_fail_too(sim, send):
    wire = await send({"model": "text-embedding-3-small", "input": ["a", "b [[sim: fault=502]]"]}, EMBEDDINGS)
    assert (wire.status, error_of(wire)["type"]) == (502, "server_error")
    wire = await send({"model": "text-embedding-3-small", "input": "[[sim: fault=cut_mid_stream]]"}, EMBEDDINGS)
    assert sim.records.select()[-1].state == "broken"
    assert len(wire.body) > 0
    assert not sim.records.select()[-1].reported


@PATHS
@pytest.mark.parametrize(
    ("directive", "status", "kind", "code"),
    [
        ("stream_error_before", 503, "server_error", None),
        ("stream_error_after", 503, "server_error", None),
        ("stream_error_after error=server_error", 500, "server_error", None),
        ("stream_error_after error=rate_limit_exceeded", 429, "requests", "rate_limit_exceeded"),
    ],
)
async def test_errors_of_a_stream_are_statuses_without_one(send, path, directive, status, kind, code):
    wire = await send(ask(path, f"fault={directive}"), path)
    assert (wire.status, error_of(wire)["type"], error_of(wire)["code"]) == (status, kind, code)


@pytest.mark.parametrize(("after", "deltas"), [(0, 0), (1, 1), (3, 3)])
async def test_an_error_within_a_chat(sim, send, after, deltas):
    how = f"fault=stream_error_after after={after} tokens=60 error=rate_limit_exceeded message=slow"
    wire = await send(ask(CHAT, how, stream=True))
    *chunks, last = events(wire)
    assert last == {"error": {"message": "slow", "type": "server_error", "param": None, "code": "rate_limit_exceeded"}}
    assert len(chunks) == deltas + 1
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)
    assert wire.ended_well
    (record,) = sim.records
    assert (record.state, record.error_type, record.reported) == ("broken", "rate_limit_exceeded", False)
    assert record.relayed_tokens == deltas * 6


@pytest.mark.parametrize("fault", ["stream_error_before", "stream_error_after after=2"])
async def test_an_error_within_a_response(sim, send, fault):
    *told, error, failed = events(await send(ask(RESPONSES, f"fault={fault} tokens=60", stream=True), RESPONSES))
    assert [event["sequence_number"] for event in (*told, error, failed)] == list(range(len(told) + 2))
    assert (error["type"], error["code"]) == ("error", "server_error")
    assert (failed["type"], failed["response"]["status"], failed["response"]["error"]["code"]) == (
        "response.failed",
        "failed",
        "server_error",
    )
    assert told[0]["response"]["id"] == failed["response"]["id"]
    assert [event["type"] for event in told[:2]] == ["response.created", "response.in_progress"]
    assert (len(told) == 2) == (fault == "stream_error_before")
    assert sim.records.select()[0].error_type == "server_error"


async def test_the_sdk_meets_errors_within_streams(sdk):
    messages = [{"role": "user", "content": "[[sim: fault=stream_error_after]]"}]
    with pytest.raises(openai.APIError, match="The server had an error while processing your request"):
        async for _ in await sdk.chat.completions.create(model="gpt-4o", messages=messages, stream=True):
            pass
    async with sdk.responses.stream(model="gpt-5", input="[[sim: fault=stream_error_after]]") as stream:
        kinds = [event.type async for event in stream]
    assert kinds[-2:] == ["error", "response.failed"]


async def test_a_chat_that_ends_early(sim, send):
    wire = await send(ask(CHAT, "fault=end_early tokens=60", stream=True))
    chunks = events(wire)
    assert len(chunks) == 4
    assert {chunk["choices"][0]["finish_reason"] for chunk in chunks} == {None}
    assert wire.ended_well
    assert sim.records.select()[0].state == "broken"


async def test_a_response_that_ends_early(send):
    wire = await send(ask(RESPONSES, "fault=end_early tokens=60", stream=True), RESPONSES)
    assert wire.ended_well
    assert not {"response.output_text.done", "response.completed"} & {event["type"] for event in events(wire)}


@PATHS
async def test_cuts(sim, send, path):
    whole = await send(ask(path, "tokens=60", stream=True), path)
    between = await send(ask(path, "fault=cut_mid_stream tokens=60", stream=True), path)
    within = await send(ask(path, "fault=cut_mid_chunk tokens=60", stream=True), path)
    assert whole.ended_well
    for wire in (between, within):
        assert not wire.ended_well
    assert between.body.endswith(b"\n\n")
    assert len(between.rest) < len(within.rest) < len(whole.rest)
    none = await send(ask(path, "fault=cut_before_headers", stream=True), path)
    assert none.all == b""
    bare = await send(ask(path, "fault=cut_after_headers", stream=True), path)
    assert (bare.status, bare.rest) == (200, b"")
    assert [record.state for record in sim.records] == ["complete", *["broken"] * 4]


@PATHS
async def test_silence(send, path):
    wire = await send(ask(path, "fault=silence_mid_stream after=0", stream=True), path, patience=0.3)
    assert wire.silent
    told = events(wire)
    assert len(told) == (1 if path == CHAT else 2)
    assert (await send(ask(path, "fault=silence"), path, patience=0.2)).all == b""


@PATHS
async def test_pages_and_lengths(send, path):
    html = await send(ask(path, "fault=html"), path)
    assert (html.status, b"<html>" in html.body) == (502, True)
    assert (await send(ask(path, "fault=not_json", stream=True), path)).body.startswith(b"upstream connect error")
    long = await send(ask(path, "fault=length_long"), path)
    assert json.loads(long.rest)["object"] in {"chat.completion", "response"}
    assert int(long.head.partition("content-length: ")[2].split("\r\n")[0]) == len(long.rest) + 64


async def test_slowness_and_split_writes(send):
    whole = await send(ask(CHAT, "tokens=20 text=unicode", stream=True))
    split = await send(ask(CHAT, "tokens=20 text=unicode split stall=10ms pace=1ms", stream=True))
    assert len(split.reads) > len(whole.reads)
    assert "🌊" in split.body.decode() or "水" in split.body.decode()
    dripped = await send(ask(RESPONSES, "say=hey drip=10us"), RESPONSES)
    assert json.loads(dripped.body)["output"][-1]["content"][0]["text"] == "hey"


async def test_what_compatible_servers_do(sim, send):
    counted = {"stream": True, "stream_options": {"include_usage": True}}
    endless = await send(chat("[[sim: done=no]]", **counted), key="key-c")
    assert b"[DONE]" not in endless.body
    assert endless.ended_well
    silent = events(await send(chat("[[sim: usage=none]]", **counted), key="key-c"))
    assert silent[-1] == "[DONE]"
    assert not any(chunk.get("usage") for chunk in silent[:-1])
    early = events(await send(chat("[[sim: usage=last_choice]]", stream=True), key="key-c"))
    assert early[-2]["choices"][0]["finish_reason"] == "stop"
    assert early[-2]["usage"]["completion_tokens"] > 0
    assert [(record.complete, record.reported) for record in sim.records] == [(True, True), (True, False), (True, True)]


async def test_times_and_accounts_of_a_directive(send):
    document = ask(CHAT, "fault=500 times=1 account=a")
    assert [(await send(document)).status for _ in range(2)] == [500, 200]
    assert (await send(document, key="key-b")).status == 200


async def test_the_record_keeps_what_was_sent(sim, send):
    wire = await send(ask(RESPONSES, "tokens=5", stream=True), RESPONSES)
    (record,) = sim.records
    assert record.answer == wire.body
    assert "key-a" not in str(record.headers)
    assert record.sent_bytes == len(wire.body)
