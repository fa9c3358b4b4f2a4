"""Unary answers of OpenAI."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import signatures
from penstock_edge.canonical import Message, UnreadableError
from penstock_edge.providers.openai_responses import WIRE
from penstock_edge.usage import UsageMeter
from penstock_edge.usage_report import OutputDetails, UsageReport

MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}],
}
REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "encrypted_content": "E",
    "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'}
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 120,
}
REPORT = UsageReport(
    input_tokens=30,
    output_tokens=20,
    cache_creation_input_tokens=10,
    cache_read_input_tokens=60,
    output_tokens_details=OutputDetails(thinking_tokens=5),
)


def answer(*output, **fields):
    whole = {"id": "resp_1", "object": "response", "model": "gpt", "status": "completed", "output": list(output)}
    return json.dumps(whole | {"usage": USAGE, "error": None, "incomplete_details": None} | fields).encode()


def test_everything():
    assert WIRE.parse(answer(REASONING, MESSAGE, CALL)) == Message(
        id="resp_1",
        model="gpt",
        content=[
            {
                "type": "thinking",
                "thinking": "a\n\nb",
                "signature": signatures.tag('{"id":"rs_1","encrypted_content":"E"}', "OpenAI"),
            },
            {"type": "text", "text": "Hello"},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
        ],
        stop_reason="tool_use",
        usage=REPORT,
    )


@pytest.mark.parametrize(
    ("fields", "output", "reason"),
    [
        ({}, [MESSAGE], "end_turn"),
        ({}, [], "end_turn"),
        ({}, [{**MESSAGE, "content": [{"type": "refusal", "refusal": "no"}]}], "refusal"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, [MESSAGE], "max_tokens"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, [MESSAGE], "refusal"),
        ({"status": "incomplete"}, [MESSAGE, CALL], "max_tokens"),
        ({"status": None}, [CALL], "tool_use"),
    ],
)
def test_why_it_stopped(fields, output, reason):
    assert WIRE.parse(answer(*output, **fields)).stop_reason == reason


@pytest.mark.parametrize(
    ("item", "content"),
    [
        ({**MESSAGE, "content": [{"type": "refusal", "refusal": "no"}]}, [{"type": "text", "text": "no"}]),
        ({**MESSAGE, "content": [{"type": "output_text", "text": ""}]}, []),
        ({**CALL, "arguments": ""}, [{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None}, []),
        (
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "x"}]},
            [{"type": "thinking", "thinking": "x", "signature": ""}],
        ),
        ({"type": "web_search_call", "id": "ws_1", "status": "completed"}, []),
    ],
)
def test_items(item, content):
    assert WIRE.parse(answer(item)).content == content


# A limit of the answer's length often falls into a call; for that no account is to blame.
def test_a_call_that_is_cut_off_is_not_whole():
    answered = WIRE.parse(answer(MESSAGE, {**CALL, "status": "incomplete", "arguments": '{"a":'}, status="incomplete"))
    assert answered.content[-1] == {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
    assert answered.stop_reason == "max_tokens"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"<html>",
        b'{"output":"x"}',
        b'{"output":[5]}',
        b"[" * 100_000,
        answer(status="failed", error={"code": "server_error", "message": "x"}),
        answer(status="queued"),
        answer({**CALL, "arguments": "nonsense"}),
        answer({**CALL, "arguments": "[]"}),
        answer({**MESSAGE, "content": "x"}),
    ],
)
def test_what_is_no_answer(body):
    with pytest.raises(UnreadableError):
        WIRE.parse(body)


@pytest.mark.parametrize(
    ("body", "sound", "reported"),
    [
        (answer(MESSAGE), True, True),
        (answer(MESSAGE, usage=None), True, False),
        (answer(status="queued", usage=None, background=True), True, False),
        (answer(status="failed", error={"code": "invalid_prompt", "message": "x"}), True, True),
        (answer(status="failed", error={"code": "server_error", "message": "x"}), False, False),
        (answer(status="failed", error={"code": ["x"], "message": "x"}), True, True),
        (b'{"error":{"message":"x","code":"invalid_prompt"}}', False, False),
        (b"[]", False, False),
        (b"{", False, False),
        (b'{"usage":"x"}', False, False),
    ],
)
def test_an_answer_that_passes(body, sound, reported):
    meter = UsageMeter()
    assert WIRE.read_answer(body, meter) is sound
    assert (meter.reported, meter.final) == (reported, reported)


def test_usage_of_an_answer_that_passes():
    meter = UsageMeter()
    WIRE.read_answer(answer(MESSAGE), meter)
    usage = meter.usage()
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_write_5m_input_tokens) == (30, 60, 10)
    assert usage.output_tokens == 20


def test_counts():
    assert WIRE.parse_count(b'{"object":"response.input_tokens","input_tokens":7}') == 7
    with pytest.raises(UnreadableError):
        WIRE.parse_count(b"{}")


@given(st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode))
def test_nothing_else_is_raised(body):
    meter = UsageMeter()
    WIRE.read_answer(body, meter)
    for read in (WIRE.parse, WIRE.parse_count):
        with contextlib.suppress(UnreadableError):
            read(body)
