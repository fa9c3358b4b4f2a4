"""Streams that pass untouched, as the books hear them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.providers.gemini import WIRE
from penstock_edge.providers.wire import Signal
from penstock_edge.usage import UsageMeter

EARLY = {"promptTokenCount": 10, "candidatesTokenCount": 1}
LATE = {"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 3}


def event(data):
    return b"data: " + json.dumps(data).encode() + b"\r\n\r\n"


def chunk(*parts, **more):
    extra = {"finishReason": more.pop("finish")} if "finish" in more else {}
    return event({"candidates": [{"content": {"parts": list(parts), "role": "model"}, **extra}], **more})


def observe(*raws):
    sniffer = WIRE.sniffer(UsageMeter())
    return sniffer, [sniffer.observe(raw) for raw in raws]


def test_a_stream():
    sniffer, signals = observe(
        event({"usageMetadata": EARLY}),
        chunk({"text": "Hm", "thought": True}, usageMetadata=EARLY),
        chunk({"text": "Hello"}, {"functionCall": {"name": "f"}}, usageMetadata=EARLY),
        b": comment\n\n",
    )
    assert signals == [Signal.PRELUDE, Signal.OUTPUT, Signal.OUTPUT, Signal.PRELUDE]
    assert sniffer.characters == 7 + len('{"name": "f"}')
    assert sniffer.at_end() is Signal.BROKEN
    assert (sniffer.meter.reported, sniffer.meter.final) == (True, False)
    assert sniffer.observe(chunk({"text": ""}, finish="STOP", usageMetadata=LATE)) is Signal.OUTPUT
    assert sniffer.at_end() is Signal.STOP
    usage = sniffer.meter.usage()
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (6, 4, 8)
    assert sniffer.meter.final


def test_usage_may_come_after_the_finish():
    sniffer, _ = observe(chunk({"text": "a"}, finish="STOP"))
    assert not sniffer.meter.reported
    assert sniffer.observe(event({"usageMetadata": LATE})) is Signal.PRELUDE
    assert sniffer.meter.final


@pytest.mark.parametrize(
    ("raw", "signal", "end"),
    [
        (event({"candidates": [{"finishReason": "SAFETY"}]}), Signal.OUTPUT, Signal.STOP),
        (event({"promptFeedback": {"blockReason": "SAFETY"}}), Signal.OUTPUT, Signal.STOP),
        (event({"promptFeedback": {}}), Signal.PRELUDE, Signal.BROKEN),
        (event({"candidates": [{"content": {"role": "model"}}]}), Signal.PRELUDE, Signal.BROKEN),
        (chunk({"inlineData": {"data": "x"}}), Signal.OUTPUT, Signal.BROKEN),
        # Known fields in an unknown shape must not break a stream, nor hide its end.
        (event({"candidates": [{"content": {"parts": [{"text": 5}]}}]}), Signal.OUTPUT, Signal.BROKEN),
        (event({"candidates": [{"content": 5, "finishReason": "STOP"}]}), Signal.OUTPUT, Signal.STOP),
        (event({"candidates": {"new": 1}}), Signal.OUTPUT, Signal.BROKEN),
        (event({"usageMetadata": "none"}), Signal.OUTPUT, Signal.BROKEN),
        (b"data: [1]\n\n", Signal.BROKEN, Signal.BROKEN),
        (b"data: {\n\n", Signal.BROKEN, Signal.BROKEN),
        (b"data: \xff\n\n", Signal.BROKEN, Signal.BROKEN),
        (b"\r\n\r\n", Signal.PRELUDE, Signal.BROKEN),
    ],
)
def test_single_events(raw, signal, end):
    sniffer, signals = observe(raw)
    assert (signals, sniffer.at_end()) == ([signal], end)


@pytest.mark.parametrize(
    "raw",
    [
        event({"error": {"code": 503, "status": "UNAVAILABLE"}}),
        b'{\n "error": {"code": 503}\n}\n\n',
        b'[{"error":{"code":503}}]\n\n',
    ],
)
def test_an_error_within(raw):
    sniffer, signals = observe(chunk({"text": "a"}), raw)
    assert (signals[-1], sniffer.failure.cls) == (Signal.ERROR, "Overloaded")


@given(st.lists(st.binary(max_size=40)))
def test_any_bytes(pieces):
    sniffer, _ = observe(*[b"data: " + piece + b"\n\n" for piece in pieces], *pieces)
    assert sniffer.at_end() is Signal.BROKEN
