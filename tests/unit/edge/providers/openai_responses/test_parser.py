"""Streams of OpenAI in canonical events."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import signatures
from penstock_edge.canonical import (
    BlockStart,
    BlockStop,
    Failed,
    InputDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    UnreadableError,
)
from penstock_edge.providers.openai_responses import WIRE
from penstock_edge.sse import EventSplitter
from penstock_edge.usage_report import OutputDetails, UsageReport
from penstock_routing import outcomes
from tests.unit.edge.providers.openai_responses.streams import (
    CREATED,
    EVERYTHING,
    PROGRESS,
    TEXT,
    added,
    call,
    delta,
    done,
    ended,
    message,
    reasoning,
    sse,
)

SIGNATURE = signatures.tag('{"id":"rs_1","encrypted_content":"E"}', "OpenAI")
REPORT = UsageReport(
    input_tokens=40,
    output_tokens=20,
    cache_read_input_tokens=60,
    output_tokens_details=OutputDetails(thinking_tokens=5),
)
START = MessageStart("resp_1", "gpt")


def parsed(*chunks):
    splitter, parser = EventSplitter(), WIRE.parser()
    events = [event for chunk in chunks for raw in splitter.feed(chunk) for event in parser.feed(raw)]
    return events + list(parser.end())


def between(*events):
    """Return what lies between start and end."""
    found = parsed(sse(CREATED, *events, ended()))
    assert found[0] == START
    assert isinstance(found[-2], MessageDelta)
    assert found[-1] == MessageStop()
    return found[1:-2]


def text(index, *words):
    return [
        BlockStart(index, {"type": "text", "text": ""}),
        *(TextDelta(index, word) for word in words),
        BlockStop(index),
    ]


def use(index, number, *pieces):
    block = {"type": "tool_use", "id": f"call_{number}", "name": "f", "input": {}}
    return [BlockStart(index, block), *(InputDelta(index, piece) for piece in pieces), BlockStop(index)]


def test_text():
    assert parsed(TEXT) == [START, *text(0, "Hel", "lo"), MessageDelta("end_turn", None, REPORT), MessageStop()]


def test_everything():
    assert parsed(EVERYTHING) == [
        START,
        BlockStart(0, {"type": "thinking", "thinking": "", "signature": ""}),
        ThinkingDelta(0, "a"),
        ThinkingDelta(0, "\n\nb"),
        ThinkingDelta(0, "c"),
        SignatureDelta(0, SIGNATURE),
        BlockStop(0),
        *text(1, "x"),
        *text(2, "y\u2028"),
        *use(3, 1, '{"a"', ":1}"),
        MessageDelta("tool_use", None, REPORT),
        MessageStop(),
    ]


@pytest.mark.parametrize("stream", [TEXT, EVERYTHING])
def test_wherever_it_is_cut(stream):
    whole = parsed(stream)
    assert all(parsed(stream[:cut], stream[cut:]) == whole for cut in range(len(stream)))
    assert parsed(*(bytes([byte]) for byte in stream)) == whole


@pytest.mark.parametrize("stream", [TEXT, EVERYTHING])
def test_an_end_that_is_missing(stream):
    cut = stream.rindex(b"event: ")
    with pytest.raises(UnreadableError):
        parsed(stream[:cut])


def test_calls_side_by_side_are_told_one_after_the_other():
    found = between(
        added(0, call(1)),
        added(1, call(2)),
        delta("function_call_arguments", 1, "{"),
        delta("function_call_arguments", 0, '{"a":'),
        delta("function_call_arguments", 1, "}"),
        done(1, call(2, "{}")),
        delta("function_call_arguments", 0, "1}"),
        done(0, call(1, '{"a":1}')),
        added(2, message()),
        delta("output_text", 2, "x"),
    )
    assert found == [*use(0, 1, '{"a":', "1}"), *use(1, 2, "{", "}"), *text(2, "x")]


def test_the_first_call_is_not_held_back():
    parser = WIRE.parser()
    parser.feed(sse(CREATED))
    for event in (added(0, call(1)), added(1, call(2))):
        first = parser.feed(sse(event))
    assert first == []
    assert parser.feed(sse(delta("function_call_arguments", 0, "{"))) == [InputDelta(0, "{")]


@pytest.mark.parametrize(
    ("events", "found"),
    [
        # Whole items, without deltas.
        ([added(0, call(1)), done(0, call(1, "{}"))], use(0, 1, "{}")),
        ([done(0, call(1, "{}"))], use(0, 1, "{}")),
        ([done(0, call(1))], use(0, 1)),
        ([done(0, message("a", "b"))], [*text(0, "a"), *text(1, "b")]),
        ([done(0, message(""))], []),
        (
            [done(0, reasoning("a", "b"))],
            [
                BlockStart(0, {"type": "thinking", "thinking": "", "signature": ""}),
                ThinkingDelta(0, "a\n\nb"),
                BlockStop(0),
            ],
        ),
        (
            [added(0, reasoning(encrypted="E")), done(0, reasoning(encrypted="E"))],
            [
                BlockStart(0, {"type": "thinking", "thinking": "", "signature": ""}),
                SignatureDelta(0, SIGNATURE),
                BlockStop(0),
            ],
        ),
        ([added(0, reasoning()), done(0, reasoning())], []),
        # Deltas, without items.
        ([delta("output_text", 0, "a")], text(0, "a")),
        # Twice the same.
        ([done(0, message("a")), done(0, message("a")), delta("output_text", 0, "a")], text(0, "a")),
        # Reasoning told in two ways.
        (
            [
                added(0, reasoning()),
                delta("reasoning_text", 0, "a", content_index=0),
                delta("reasoning_summary_text", 0, "b", summary_index=0),
            ],
            [
                BlockStart(0, {"type": "thinking", "thinking": "", "signature": ""}),
                ThinkingDelta(0, "a"),
                BlockStop(0),
            ],
        ),
        # What nobody here asked for.
        ([added(0, {"type": "web_search_call", "id": "ws_1"}), done(0, {"type": "web_search_call", "id": "ws_1"})], []),
        ([{"type": "keepalive"}, {"type": "response.future", "delta": {"a": 1}}, PROGRESS, CREATED], []),
    ],
)
def test_what_may_come(events, found):
    assert between(*events) == found


def test_a_stream_without_a_beginning():
    assert parsed(sse(delta("output_text", 0, "a"), ended()))[0] == MessageStart("", "")
    assert parsed(sse(ended()))[0] == MessageStart("resp_1", "gpt", REPORT)


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([ended("incomplete", incomplete_details={"reason": "max_output_tokens"})], "max_tokens"),
        ([ended("incomplete", incomplete_details={"reason": "content_filter"})], "refusal"),
        ([delta("refusal", 0, "no"), ended()], "refusal"),
        ([done(0, {**message(), "content": [{"type": "refusal", "refusal": "no"}]}), ended()], "refusal"),
        ([done(0, call(1, "{}")), ended()], "tool_use"),
        ([ended()], "end_turn"),
    ],
)
def test_why_it_stopped(events, reason):
    found = parsed(sse(CREATED, *events))
    assert found[-2] == MessageDelta(reason, None, REPORT)
    assert all(event == TextDelta(0, "no") for event in found if isinstance(event, TextDelta))


@pytest.mark.parametrize(
    ("event", "cls"),
    [
        ({"type": "error", "code": "server_error", "message": "x", "param": None}, outcomes.UNSTABLE),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, outcomes.OVERLOADED),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "x"}, outcomes.THROTTLED_NO_HINT),
        ({"type": "error", "code": {"a": []}, "message": ["x"]}, outcomes.UNSTABLE),
        ({"type": "error", "error": "x"}, outcomes.UNSTABLE),
        (ended("failed", error={"code": "server_is_overloaded", "message": "x"}), outcomes.OVERLOADED),
        (ended("failed", error={"code": "insufficient_quota", "message": "x"}), outcomes.QUOTA_EXHAUSTED),
        (ended("failed", error={"code": "invalid_prompt", "message": "x"}), outcomes.CLIENT_FAULT),
        (ended("failed"), outcomes.UNSTABLE),
        ({"type": "response.failed", "response": 5}, outcomes.UNSTABLE),
    ],
)
def test_failures(event, cls):
    found = parsed(sse(CREATED, delta("output_text", 0, "a"), event, delta("output_text", 0, "b")))
    assert isinstance(found[-1], Failed)
    assert found[-1].failure.cls == cls
    assert sum(isinstance(one, Failed) for one in found) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b"5",
        b'{"kind":"x"}',
        b'{"type":5}',
        b'{"type":"response.output_text.delta","delta":5}',
        b'{"type":"response.output_item.done","item":5}',
        b'{"type":"response.completed","response":{"usage":"x"}}',
        b'{"type":"\xff"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_event(data):
    with pytest.raises(UnreadableError):
        WIRE.parser().feed(b"data: " + data + b"\n\n")


@pytest.mark.parametrize("raw", [b"\n\n", b": comment\n\n", b"event: ping\n\n"])
def test_what_says_nothing(raw):
    assert list(WIRE.parser().feed(raw)) == []


def test_what_comes_after_an_items_end_is_not_part_of_it():
    """The second item is whole before the first, and waits for it."""
    late = [delta("function_call_arguments", 1, "x"), done(1, call(1, '{"late":1}')), delta("output_text", 1, "x")]
    found = parsed(
        sse(
            CREATED,
            added(0, message()),
            added(1, call(1)),
            done(1, call(1, "{}")),
            *late,
            done(0, message("a")),
            ended(),
        )
    )
    inputs = [event for event in found if isinstance(event, InputDelta)]
    assert [(event.index, event.partial_json) for event in inputs] == [(1, "{}")]
    assert [event.index for event in found if isinstance(event, BlockStop)] == [0, 1]


EVENTS = st.sampled_from(
    [
        CREATED,
        *(added(place, item) for place in (0, 1) for item in (message(), reasoning(), call(1))),
        *(
            done(place, item)
            for place in (0, 1)
            for item in (message("a"), reasoning("a", encrypted="E"), call(1, "{}"))
        ),
        *(
            delta(kind, place, "x")
            for place in (0, 1)
            for kind in (
                "output_text",
                "reasoning_summary_text",
                "reasoning_text",
                "function_call_arguments",
                "refusal",
            )
        ),
        {"type": "error", "message": "x"},
        ended(),
    ]
)


@given(st.lists(EVENTS, max_size=12))
def test_whatever_comes_the_order_is_canonical(events):
    parser = WIRE.parser()
    found = [event for raw in events for event in parser.feed(sse(raw))]
    opened, blocks = None, 0
    for number, event in enumerate(found):
        match event:
            case MessageStart():
                assert number == 0
            case BlockStart():
                assert opened is None
                assert event.index == blocks
                opened, blocks = blocks, blocks + 1
            case BlockStop():
                assert event.index == opened
                opened = None
            case TextDelta() | InputDelta() | ThinkingDelta() | SignatureDelta():
                assert event.index == opened
            case MessageStop():
                assert opened is None
                assert number == len(found) - 1
            case Failed():
                assert number == len(found) - 1
            case _:
                pass


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_nothing_else_is_raised(value):
    for known in (CREATED, added(0, message("a")), delta("output_text", 0, "x"), ended()):
        for name in [*known, "error"]:
            parser = WIRE.parser()
            with contextlib.suppress(UnreadableError):
                parser.feed(b"data: " + json.dumps(known | {name: value}).encode() + b"\n\n")
