"""Streams of Gemini accounts as canonical events."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import canonical as c
from penstock_edge import signatures
from penstock_edge.canonical import UnreadableError
from penstock_edge.providers.gemini import WIRE
from penstock_edge.providers.gemini.call_ids import CallIds
from penstock_edge.sse import EventSplitter
from penstock_edge.usage_report import OutputDetails, UsageReport

EARLY = {"promptTokenCount": 10, "totalTokenCount": 10}
LATE = {"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 3}


def tag(signature):
    return signatures.tag(signature, "Gemini")


def chunk(*parts, finish=None, **more):
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return event({"candidates": [candidate], "modelVersion": "gemini-x", "responseId": "r-1", **more})


def event(data):
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\r\n\r\n"


def read(*raws, end=True):
    parser = WIRE.parser()
    events = [event for raw in raws for event in parser.feed(raw) if not isinstance(event, c.UsageSoFar)]
    return events + list(parser.end()) if end else events


STREAM = [
    chunk({"text": "Hm", "thought": True}, usageMetadata=EARLY),
    chunk({"text": "m.", "thought": True}),
    chunk({"text": "Hel"}),
    chunk({"text": "lo\u2028"}, {"text": "!"}),
    chunk({"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "s"}, {"functionCall": {"name": "g"}}),
    chunk({"text": ""}, finish="STOP", usageMetadata=LATE),
]
EVENTS = [
    c.MessageStart("r-1", "gemini-x", UsageReport(10, None, None, 0)),
    c.BlockStart(0, {"type": "thinking", "thinking": "", "signature": ""}),
    c.ThinkingDelta(0, "Hm"),
    c.ThinkingDelta(0, "m."),
    c.SignatureDelta(0, tag("")),
    c.BlockStop(0),
    c.BlockStart(1, {"type": "text", "text": ""}),
    c.TextDelta(1, "Hel"),
    c.TextDelta(1, "lo\u2028"),
    c.TextDelta(1, "!"),
    c.BlockStop(1),
    c.BlockStart(2, {"type": "thinking", "thinking": "", "signature": ""}),
    c.SignatureDelta(2, tag("s")),
    c.BlockStop(2),
    c.BlockStart(3, {"type": "tool_use", "id": "call_r-1_0", "name": "f", "input": {}}),
    c.InputDelta(3, '{"x": 1}'),
    c.BlockStop(3),
    c.BlockStart(4, {"type": "tool_use", "id": "call_r-1_1", "name": "g", "input": {}}),
    c.InputDelta(4, "{}"),
    c.BlockStop(4),
    c.MessageDelta("tool_use", None, UsageReport(6, 8, None, 4, None, OutputDetails(3))),
    c.MessageStop(),
]


def test_a_stream():
    assert read(*STREAM) == EVENTS


def test_wherever_the_bytes_are_cut():
    whole = b"".join(STREAM)
    for cut in range(1, len(whole)):
        splitter = EventSplitter()
        assert read(*splitter.feed(whole[:cut]), *splitter.feed(whole[cut:])) == EVENTS
    splitter = EventSplitter()
    assert read(*[raw for i in range(len(whole)) for raw in splitter.feed(whole[i : i + 1])]) == EVENTS


@pytest.mark.parametrize(
    ("parts", "kinds"),
    [
        # A signature belongs to the part it came with.
        ([{"text": "a"}, {"text": "b", "thoughtSignature": "s"}], "text a|thinking s|text b"),
        ([{"text": "a"}, {"text": "", "thoughtSignature": "s"}], "text a|thinking s"),
        ([{"thoughtSignature": "s"}, {"thoughtSignature": "t"}], "thinking s|thinking t"),
        (
            [{"text": "T", "thought": True, "thoughtSignature": "s"}, {"text": "U", "thought": True}],
            "thinking Ts|thinking U",
        ),
        ([{"text": "", "thought": True}, {"text": ""}], ""),
        ([{"inlineData": {}}, {"executableCode": {"code": "x"}}], ""),
    ],
)
def test_blocks(parts, kinds):
    found = []
    for one in read(*[chunk(part) for part in parts], chunk(finish="STOP")):
        match one:
            case c.BlockStart():
                found.append(one.block["type"] + " ")
            case c.TextDelta():
                found[-1] += one.text
            case c.ThinkingDelta():
                found[-1] += one.thinking
            case c.SignatureDelta():
                found[-1] += signatures.own(one.signature, "Gemini")
    assert "|".join(found) == kinds


@pytest.mark.parametrize(
    ("raws", "reason"),
    [
        ([chunk({"text": "a"}, finish="STOP")], "end_turn"),
        ([chunk({"text": "a"}, finish="MAX_TOKENS")], "max_tokens"),
        ([chunk({"text": "a"}, finish="SAFETY")], "refusal"),
        ([chunk({"functionCall": {"name": "f"}}), chunk(finish="STOP")], "tool_use"),
        ([event({"promptFeedback": {"blockReason": "SAFETY"}})], "refusal"),
    ],
)
def test_why_it_ended(raws, reason):
    delta, stop = read(*raws)[-2:]
    assert (delta.stop_reason, type(stop)) == (reason, c.MessageStop)


def test_usage_may_come_after_the_finish():
    delta = read(chunk({"text": "a"}, finish="STOP", usageMetadata=EARLY), event({"usageMetadata": LATE}))[-2]
    assert (delta.usage.input_tokens, delta.usage.output_tokens) == (6, 8)


def test_another_candidate_is_passed_over():
    other = {"candidates": [{"index": 1, "content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}
    assert [type(one) for one in read(event(other), end=False)] == [c.MessageStart]


@pytest.mark.parametrize("raws", [[], [chunk({"text": "a"})], [event({"usageMetadata": LATE})]])
def test_a_stream_that_broke_off(raws):
    with pytest.raises(UnreadableError):
        read(*raws)


@pytest.mark.parametrize(
    "raw",
    [
        event({"error": {"code": 503, "status": "UNAVAILABLE"}}),
        b'{\n"error": {"code": 503}\n}\n\n',
        b'[{\n"error": {"code": 503}\n}\n]\n\n',
    ],
)
def test_an_error_within(raw):
    (failed,) = read(chunk({"text": "a"}), raw, end=False)[-1:]
    assert (type(failed), failed.failure.cls) == (c.Failed, "Overloaded")


@pytest.mark.parametrize(
    "raw", [b"\n\n", b": comment\n\n", b"event: x\nid: 1\n\n", b"data:\n\n", event({}), event({"new": 1})]
)
def test_what_says_nothing(raw):
    assert [one for one in read(raw, end=False) if type(one) is not c.MessageStart] == []


@pytest.mark.parametrize(
    "raw",
    [
        b"data: {\n\n",
        b"data: [1]\n\n",
        b'data: {"candidates": 5}\n\n',
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":"\xff"}}}]}}]}\n\n',
        b'data: {"candidates":' + b"[" * 5000 + b"]" * 5000 + b"}\n\n",
    ],
)
def test_junk(raw):
    with pytest.raises(UnreadableError):
        read(raw)


@given(st.lists(st.binary(max_size=30).map(lambda b: b"data: " + b + b"\n\n"), max_size=3))
def test_nothing_else_comes_of_any_bytes(raws):
    with pytest.raises(UnreadableError):
        read(*raws)


def test_usage_is_heard_when_it_comes_though_the_stream_breaks_off():
    parser = WIRE.parser()
    for output in (2, 5):
        usage = {"promptTokenCount": 9, "candidatesTokenCount": output}
        raw = json.dumps({"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": usage}).encode()
        heard = parser.feed(b"data: " + raw + b"\r\n\r\n")
    assert [e.usage.output_tokens for e in heard if isinstance(e, c.UsageSoFar)] == [5]


@pytest.mark.parametrize("name", ["r" * 99, "", "weird/id=="])
def test_ids_of_calls_are_ones_that_every_provider_takes_back(name):
    ids = CallIds(name, b"{}")
    made = [ids.take(None) for _ in range(200)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", one) for one in made)
