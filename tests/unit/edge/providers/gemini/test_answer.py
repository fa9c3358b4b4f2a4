"""Unary answers of Gemini accounts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import signatures
from penstock_edge.canonical import UnreadableError
from penstock_edge.providers.gemini import WIRE
from penstock_edge.usage import UsageMeter
from penstock_edge.usage_report import OutputDetails, UsageReport


def tag(signature):
    return signatures.tag(signature, "Gemini")


def body(*parts, finish="STOP", **more):
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return json.dumps({"candidates": [candidate], "modelVersion": "gemini-x", "responseId": "r-1", **more}).encode()


def parse(*parts, **how):
    return WIRE.parse(body(*parts, **how))


def text(words):
    return {"type": "text", "text": words}


def thinking(words, signature):
    return {"type": "thinking", "thinking": words, "signature": tag(signature)}


@pytest.mark.parametrize(
    ("parts", "content"),
    [
        ([{"text": "a"}, {"text": "b"}], [text("ab")]),
        ([{"text": ""}, {}], []),
        ([{"text": "T", "thought": True}, {"text": "a"}], [thinking("T", ""), text("a")]),
        ([{"text": "T", "thought": True, "thoughtSignature": "s"}], [thinking("T", "s")]),
        ([{"text": "a"}, {"text": "b", "thoughtSignature": "s"}], [text("a"), thinking("", "s"), text("b")]),
        ([{"text": "a"}, {"text": "", "thoughtSignature": "s"}], [text("a"), thinking("", "s")]),
        ([{"inlineData": {"data": "x"}}, {"executableCode": {}}, {"text": "a"}], [text("a")]),
    ],
)
def test_parts(parts, content):
    message = parse(*parts)
    assert (message.content, message.stop_reason) == (content, "end_turn")
    assert (message.id, message.model) == ("r-1", "gemini-x")


def test_calls():
    message = parse(
        {"text": "a"},
        {"functionCall": {"name": "f", "args": {"x": [1]}, "id": "given"}, "thoughtSignature": "s"},
        {"functionCall": {"name": "g"}},
        {"functionCall": {"name": "h", "args": None, "id": "given"}},
        {"functionCall": {"name": "h", "id": "not fit"}},
    )
    assert message.stop_reason == "tool_use"
    assert message.content == [
        text("a"),
        thinking("", "s"),
        {"type": "tool_use", "id": "given", "name": "f", "input": {"x": [1]}},
        {"type": "tool_use", "id": "call_r-1_1", "name": "g", "input": {}},
        {"type": "tool_use", "id": "call_r-1_2", "name": "h", "input": {}},
        {"type": "tool_use", "id": "call_r-1_3", "name": "h", "input": {}},
    ]


def test_made_ids_differ_from_answer_to_answer():
    def made(**more):
        return parse({"functionCall": {"name": "f"}}, **more).content[0]["id"]

    ids = {made(), made(responseId="r-2"), made(responseId=None), made(responseId=None, x=1), made(responseId="é")}
    assert len(ids) == 5
    assert all(one.isascii() and len(one) <= 64 for one in ids)
    assert made(responseId=None) == made(responseId=None)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("STOP", "end_turn"),
        ("MAX_TOKENS", "max_tokens"),
        ("SAFETY", "refusal"),
        ("PROHIBITED_CONTENT", "refusal"),
        ("RECITATION", "refusal"),
        ("MALFORMED_FUNCTION_CALL", "refusal"),
        ("SOMETHING_NEW", "refusal"),
        (None, "end_turn"),
    ],
)
def test_why_it_ended(finish, reason):
    assert parse({"text": "a"}, finish=finish).stop_reason == reason


def test_a_limit_is_a_limit_with_calls_too():
    assert parse({"functionCall": {"name": "f"}}, finish="MAX_TOKENS").stop_reason == "max_tokens"


def test_a_prompt_that_was_blocked_is_a_refusal():
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    for answer in (blocked, {**blocked, "candidates": []}):
        message = WIRE.parse(json.dumps(answer).encode())
        assert (message.content, message.stop_reason, message.usage.input_tokens) == ([], "refusal", 3)


def test_a_candidate_without_content():
    message = WIRE.parse(b'{"candidates":[{"finishReason":"SAFETY"}]}')
    assert (message.content, message.stop_reason) == ([], "refusal")


@pytest.mark.parametrize(
    ("usage", "report"),
    [
        (
            {"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 3},
            UsageReport(6, 8, None, 4, None, OutputDetails(3)),
        ),
        ({"promptTokenCount": 10, "toolUsePromptTokenCount": 2}, UsageReport(12, None, None, 0)),
        ({"candidatesTokenCount": 5}, UsageReport(None, 5, None, None, None, OutputDetails(0))),
        ({"promptTokenCount": 1, "cachedContentTokenCount": 4}, UsageReport(0, None, None, 4)),
        ({"totalTokenCount": 9, "promptTokensDetails": [{"modality": "TEXT"}]}, UsageReport()),
        (None, UsageReport()),
    ],
)
def test_usage(usage, report):
    assert parse({"text": "a"}, usageMetadata=usage).usage == report


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"candidates":[]}',
        b'{"candidates":[{"content":{"parts":[]}}]}',
        b'{"candidates":[{"index":1,"finishReason":"STOP"}]}',
        b'{"error":{"code":500}}',
        b'{"candidates":"x"}',
        b'{"candidates":[{"content":{"parts":[{"text":5}]},"finishReason":"STOP"}]}',
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":"\xff"}}}]},"finishReason":"STOP"}]}',
        b'{"candidates":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_what_is_no_answer(raw):
    with pytest.raises(UnreadableError):
        WIRE.parse(raw)


@given(st.binary(max_size=50) | st.recursive(st.none() | st.integers(), st.lists).map(lambda x: json.dumps(x).encode()))
def test_nothing_else_comes_of_any_bytes(raw):
    for read in (WIRE.parse, WIRE.parse_count):
        with pytest.raises(UnreadableError):
            read(raw)
    assert not WIRE.read_answer(raw, UsageMeter())


def test_counts():
    assert WIRE.parse_count(b'{"totalTokens": 31, "promptTokensDetails": []}') == 31
    assert WIRE.parse_count(b"{}") == 0
    for raw in (b'{"error": {}}', b'{"totalTokens": -1}', b'{"totalTokens": "x"}', b"[]"):
        with pytest.raises(UnreadableError):
            WIRE.parse_count(raw)


def test_answers_that_pass_are_read_for_the_books():
    meter = UsageMeter()
    usage = {"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 3}
    assert WIRE.read_answer(body({"text": "a"}, usageMetadata=usage), meter)
    assert meter.final
    found = meter.usage()
    assert (found.input_tokens, found.cache_read_input_tokens, found.output_tokens) == (6, 4, 8)
    for raw, sound in (
        (b'{"candidates": 5}', True),
        (b'{"error": null}', True),
        (b'{"error":{}}', False),
        (b"{", False),
    ):
        silent = UsageMeter()
        assert WIRE.read_answer(raw, silent) is sound
        assert not silent.reported
