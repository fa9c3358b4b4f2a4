"""The Messages format as accounts speak it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from penstock_edge.providers import anthropic as provider
from penstock_edge.providers import anthropic_failure as failures
from penstock_edge.providers.anthropic import StreamSniffer
from penstock_edge.providers.wire import Signal
from penstock_edge.upstream import parse_target
from penstock_edge.usage import UsageMeter
from penstock_routing.accounts import Hints

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


def head(client, query=b""):
    target = parse_target("https://api.example.com/base/", allow_private=False)
    return provider.request_head(target, b"/v1/messages", query, b"sk", client, "req_1", 7)


def test_the_request_head():
    raw = head(
        [
            (b"x-api-key", b"client"),
            (b"anthropic-beta", b"a"),
            (b"anthropic-beta", b"b"),
            (b"anthropic-version", b"2026-10-21"),
            (b"cookie", b"c"),
        ],
        b"beta=true",
    )
    lines = raw.split(b"\r\n")
    assert lines[0] == b"POST /base/v1/messages?beta=true HTTP/1.1"
    assert lines[-2:] == [b"", b""]
    assert lines[1:-2] == [
        b"host: api.example.com",
        b"accept-encoding: identity",
        b"content-type: application/json",
        b"user-agent: penstock",
        b"x-api-key: sk",
        b"x-request-id: req_1",
        b"anthropic-beta: a",
        b"anthropic-beta: b",
        b"anthropic-version: 2026-10-21",
        b"content-length: 7",
    ]
    assert b"\r\nanthropic-version: 2023-06-01\r\n" in head([])


@pytest.mark.parametrize(
    ("body", "sound", "reported"),
    [
        (b'{"type":"message","usage":{"input_tokens":1,"output_tokens":2}}', True, True),
        (b'{"input_tokens":9}', True, False),
        (b'{"type":"error","error":{}}', False, False),
        (b"[]", False, False),
        (b"{", False, False),
        (b"", False, False),
        (b'{"type":"message","usage":"none"}', False, False),
    ],
)
def test_unary_answers(body, sound, reported):
    meter = UsageMeter()
    assert provider.read_answer(body, meter) is sound
    assert meter.reported is reported
    assert meter.final is reported


def observe(*events):
    reader = StreamSniffer(UsageMeter())
    return reader, [reader.observe(event) for event in events]


def test_a_stream(play):
    reader, signals = observe(*play.whole_stream())
    assert signals == [Signal.PRELUDE, *[Signal.OUTPUT] * 5, Signal.STOP]
    assert reader.characters == 5
    assert reader.meter.usage().output_tokens == 5
    assert reader.meter.final


@pytest.mark.parametrize(
    ("event", "signal"),
    [
        (b": comment\n\n", Signal.PRELUDE),
        (b'event: ping\ndata: {"type": "ping"}\n\n', Signal.PRELUDE),
        (b'event: new\ndata: {"type": "something_new"}\n\n', Signal.OUTPUT),
        # A known field in an unknown shape must not break a stream.
        (b'event: new\ndata: {"type": "something_new", "delta": "text"}\n\n', Signal.OUTPUT),
        (b'event: message_stop\ndata: {"type": "message_stop", "usage": 5}\n\n', Signal.STOP),
        (b'event: x\ndata: {"type": 5}\n\n', Signal.BROKEN),
        (b"event: x\ndata: [1]\n\n", Signal.BROKEN),
        (b"event: x\ndata: {\n\n", Signal.BROKEN),
    ],
)
def test_single_events(event, signal):
    assert observe(event)[1] == [signal]


def test_all_kinds_of_deltas_count(play):
    deltas = [
        {"type": "text_delta", "text": "ab"},
        {"type": "input_json_delta", "partial_json": "cde"},
        {"type": "thinking_delta", "thinking": "f"},
        {"type": "signature_delta", "signature": "not counted"},
        {"type": "citations_delta", "citation": {}},
    ]
    reader, signals = observe(*[play.event("content_block_delta", index=0, delta=d) for d in deltas])
    assert (reader.characters, set(signals)) == (6, {Signal.OUTPUT})


@pytest.mark.parametrize(
    ("kind", "cls", "status"),
    [
        ("overloaded_error", "Overloaded", 529),
        ("rate_limit_error", "ThrottledNoHint", 429),
        ("api_error", "Unstable", 500),
        ("timeout_error", "Unstable", 504),
        ("something_new", "Unstable", 500),
        ("authentication_error", "CredentialInvalid", 401),
        ("permission_error", "Forbidden", 403),
        ("billing_error", "QuotaExhausted", 402),
        ("invalid_request_error", "ClientFault", 400),
    ],
)
def test_error_events(play, kind, cls, status):
    reader, signals = observe(play.event("error", error={"type": kind, "message": "m"}))
    assert signals == [Signal.ERROR]
    assert (reader.failure.cls, reader.failure.status) == (cls, status)
    assert (reader.failure.fault is not None) == (cls == "ClientFault")


def test_an_error_event_without_an_error(play):
    reader, signals = observe(play.event("error"))
    assert (signals, reader.failure.cls) == ([Signal.ERROR], "Unstable")


def classify(status, kind="", message="", headers=()):
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    return failures.of_status(status, list(headers), body)


@pytest.mark.parametrize(
    ("status", "kind", "message", "cls"),
    [
        (429, "rate_limit_error", "", "ThrottledNoHint"),
        (529, "overloaded_error", "", "Overloaded"),
        (503, "", "", "Overloaded"),
        (500, "overloaded_error", "", "Overloaded"),
        (500, "api_error", "", "Unstable"),
        (502, "", "", "Unstable"),
        (504, "timeout_error", "", "Unstable"),
        (408, "", "", "Unstable"),
        (409, "conflict_error", "", "Unstable"),
        (301, "", "", "Unstable"),
        (401, "authentication_error", "", "CredentialInvalid"),
        (402, "", "", "QuotaExhausted"),
        (400, "billing_error", "", "QuotaExhausted"),
        (400, "invalid_request_error", "Your Credit Balance is too low", "QuotaExhausted"),
        (400, "invalid_request_error", "tool_choice: Tool 'your credit balance' not found", "ClientFault"),
        (403, "permission_error", "", "Forbidden"),
        (404, "not_found_error", "model: claude-x", "ModelMissing"),
        (404, "not_found_error", "no such file", "ClientFault"),
        (400, "invalid_request_error", "messages: too long", "ClientFault"),
        (413, "request_too_large", "", "ClientFault"),
        (422, "", "", "ClientFault"),
    ],
)
def test_classes(status, kind, message, cls):
    failure = classify(status, kind, message)
    assert (failure.cls, failure.status, failure.repeatable) == (cls, status, True)
    assert (failure.fault is not None) == (cls == "ClientFault")


def test_a_hint_makes_it_throttled():
    failure = classify(429, headers=[(b"retry-after", b"7")])
    assert (failure.cls, failure.retry_after) == ("Throttled", 7.0)


UNSOUND = b'{"error":{"type":"invalid_request_error","message":"no","near":"\xff"}}'


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":"text"}', b'{"error":null}', b"\xff", UNSOUND])
def test_error_bodies_of_any_kind(body):
    failure = failures.of_status(400, [], body)
    assert failure.fault.status == 400
    assert failure.fault.detail is None
    assert failure.fault.kind == "invalid_request_error"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([(b"retry-after", b"7")], 7.0),
        ([(b"retry-after", b"0")], 0.0),
        ([(b"retry-after", b"1.5")], 1.5),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"7")], 0.25),
        ([(b"retry-after", b"Fri, 20 Nov 2026 12:00:30 GMT")], 30.0),
        ([(b"retry-after", b"Fri, 20 Nov 2026 11:00:30 GMT")], 0.0),
        ([(b"retry-after", b"soon")], None),
        ([(b"retry-after", b"-5")], None),
        ([(b"retry-after", b"nan")], None),
        ([], None),
        (
            [
                (b"anthropic-ratelimit-requests-remaining", b"0"),
                (b"anthropic-ratelimit-requests-reset", b"2026-11-20T12:00:10Z"),
                (b"anthropic-ratelimit-tokens-remaining", b"0"),
                (b"anthropic-ratelimit-tokens-reset", b"2026-11-20T12:00:40Z"),
            ],
            40.0,
        ),
        (
            [
                (b"anthropic-ratelimit-requests-remaining", b"5"),
                (b"anthropic-ratelimit-requests-reset", b"2026-11-20T12:00:10Z"),
            ],
            None,
        ),
        ([(b"anthropic-ratelimit-requests-remaining", b"0")], None),
    ],
)
def test_retry_after(headers, seconds):
    assert failures.retry_after(headers, NOW) == seconds


def test_hints():
    assert failures.hints([(b"content-type", b"x")]) is None
    headers = [
        (b"anthropic-ratelimit-requests-limit", b"100"),
        (b"anthropic-ratelimit-requests-remaining", b"42"),
        (b"anthropic-ratelimit-requests-reset", b"2026-11-20T12:00:10Z"),
        (b"anthropic-ratelimit-tokens-remaining", b"broken"),
        (b"anthropic-ratelimit-tokens-reset", b"broken"),
    ]
    assert failures.hints(headers, NOW) == Hints(requests_limit=100, requests_remaining=42, requests_reset_ms=10_000)


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("tokens-limit", b"40000", "tokens_limit", 40_000),
        ("tokens-limit", b"4e3", "tokens_limit", 4_000),
        ("tokens-limit", b"9999999999999", "tokens_limit", -1),
        ("tokens-limit", b"-5", "tokens_limit", -1),
        ("tokens-remaining", b"many", "tokens_remaining", -1),
        ("output-tokens-remaining", b"0", "output_remaining", 0),
        ("tokens-reset", b"soon", "tokens_reset_ms", -1),
        ("tokens-reset", b"2026-11-20T12:00:01.250000+00:00", "tokens_reset_ms", 1_250),
        ("tokens-reset", b"2026-11-20T11:59:55Z", "tokens_reset_ms", 0),
        ("tokens-reset", b"2026-11-20T12:00:03", "tokens_reset_ms", 3_000),
    ],
)
def test_hints_from_strange_words(name, text, field, value):
    headers = [(b"anthropic-ratelimit-" + name.encode(), text)]
    assert failures.hints(headers, NOW) == Hints(**{field: value})
