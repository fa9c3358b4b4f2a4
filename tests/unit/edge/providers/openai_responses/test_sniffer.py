"""Streams of OpenAI that pass untouched."""

from __future__ import annotations

import pytest

from penstock_edge.providers.openai_responses import WIRE
from penstock_edge.providers.wire import Signal
from penstock_edge.sse import EventSplitter
from penstock_edge.usage import UsageMeter
from penstock_routing import outcomes
from tests.unit.edge.providers.openai_responses.streams import (
    CREATED,
    EVERYTHING,
    PROGRESS,
    TEXT,
    added,
    delta,
    ended,
    message,
    sse,
)

PRELUDE, OUTPUT, STOP, ERROR, BROKEN = Signal.PRELUDE, Signal.OUTPUT, Signal.STOP, Signal.ERROR, Signal.BROKEN


def test_a_whole_stream():
    meter = UsageMeter()
    sniffer = WIRE.sniffer(meter)
    signals = [sniffer.observe(raw) for raw in EventSplitter().feed(TEXT)]
    assert signals == [PRELUDE, PRELUDE, *[OUTPUT] * 7, STOP]
    assert sniffer.characters == 5
    assert (sniffer.at_end(), sniffer.failure) == (STOP, None)
    usage = meter.usage()
    assert (meter.final, usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (True, 40, 60, 20)


def test_all_deltas_count():
    sniffer = WIRE.sniffer(UsageMeter())
    for raw in EventSplitter().feed(EVERYTHING):
        sniffer.observe(raw)
    assert sniffer.characters == len("abc" + "xy\u2028" + '{"a":1}')


@pytest.mark.parametrize(
    ("event", "signal"),
    [
        (CREATED, PRELUDE),
        (PROGRESS, PRELUDE),
        ({"type": "keepalive"}, PRELUDE),
        (added(0, message()), OUTPUT),
        (delta("output_text", 0, ""), OUTPUT),
        ({"type": "response.future", "delta": {"a": 1}}, OUTPUT),
        (ended(), STOP),
        (ended("incomplete"), STOP),
        ({"type": "response.completed", "response": {"usage": "x"}}, STOP),
        ({"type": "response.completed"}, STOP),
        (ended("failed"), ERROR),
        ({"type": "error"}, ERROR),
        ({"sequence": 5}, BROKEN),
    ],
)
def test_signals(event, signal):
    raw = sse({"type": "none"} | event) if "type" in event else b'data: {"sequence": 5}\n\n'
    assert WIRE.sniffer(UsageMeter()).observe(raw) is signal


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"type":5}', b'{"type":"\xff"}', b"[" * 100_000])
def test_what_is_no_event(data):
    assert WIRE.sniffer(UsageMeter()).observe(b"data: " + data + b"\n\n") is BROKEN


def test_a_comment_says_nothing():
    sniffer = WIRE.sniffer(UsageMeter())
    assert sniffer.observe(b": keep-alive\n\n") is PRELUDE
    assert sniffer.at_end() is BROKEN


@pytest.mark.parametrize(
    ("event", "cls"),
    [
        (ended("failed", error={"code": "rate_limit_exceeded", "message": "x"}), outcomes.THROTTLED_NO_HINT),
        (ended("failed", error={"code": "server_error", "message": "x"}), outcomes.UNSTABLE),
        ({"type": "error", "code": "insufficient_quota", "message": "x"}, outcomes.QUOTA_EXHAUSTED),
        ({"type": "error", "error": {"code": "invalid_prompt", "message": "x"}}, outcomes.CLIENT_FAULT),
        ({"type": "error", "error": 5}, outcomes.UNSTABLE),
    ],
)
def test_failures(event, cls):
    meter = UsageMeter()
    sniffer = WIRE.sniffer(meter)
    assert sniffer.observe(sse(event)) is ERROR
    assert sniffer.failure.cls == cls
    assert meter.final is (event["type"] == "response.failed")
