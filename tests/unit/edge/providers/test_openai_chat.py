"""chat.completions as accounts speak it, where bytes pass: usage and meaning."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.canonical import Request, UnreadableError
from penstock_edge.errors import ProblemError
from penstock_edge.providers.openai_chat import WIRE
from penstock_edge.providers.openai_chat_usage import report_of
from penstock_edge.providers.wire import Addressee, Signal
from penstock_edge.upstream import parse_target
from penstock_edge.usage import UsageMeter
from penstock_edge.usage_report import OutputDetails, UsageReport


def test_the_request():
    assert WIRE.name == "chat"
    assert WIRE.request_id_header == b"x-request-id"
    assert WIRE.path("m", streamed=True, counting=False) == b"/chat/completions"
    assert WIRE.query(b"a=b", streamed=True) == b""
    target = parse_target("https://api.example.com/v1", allow_private=False)
    head = WIRE.head(target, b"/chat/completions", b"", b"sk", [], "req_1", 7)
    assert b"\r\nauthorization: Bearer sk\r\n" in head
    with pytest.raises(ProblemError, match="cannot count"):
        WIRE.write_count(Request({"messages": []}), Addressee("OpenAI", "m", 0))
    with pytest.raises(UnreadableError):
        WIRE.parse_count(b"{}")
    assert WIRE.of_status(401, [], b"").cls == "CredentialInvalid"
    assert WIRE.hints([(b"x-ratelimit-limit-requests", b"5")]).requests_limit == 5


@pytest.mark.parametrize(
    ("usage", "report"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, (10, 5, 0, 0, None)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 3, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0},
                "total_tokens": 15,
            },
            (1, 5, 3, 6, 4),
        ),
        # What was thought counted beside the completion.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "completion_tokens_details": {"reasoning_tokens": 4},
                "total_tokens": 19,
            },
            (10, 9, 0, 0, 4),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4}, (6, 5, 0, 4, None)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 4}, (6, 5, 0, 4, None)),
        ({"prompt_tokens": 10, "prompt_tokens_details": None}, (10, None, 0, 0, None)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": "odd"}, (10, 5, 0, 0, None)),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 6}}, (0, None, 0, 6, None)),
        ({"prompt_tokens": "10"}, None),
        ({}, None),
        (None, None),
        (5, None),
    ],
)
def test_usage(usage, report):
    found = report_of(json.dumps(usage).encode())
    if report is None:
        assert found is None
        return
    prompt, output, written, cached, thought = report
    details = None if thought is None else OutputDetails(thought)
    assert found == UsageReport(prompt, output, written, cached, output_tokens_details=details)


@pytest.mark.parametrize(
    ("body", "sound", "reported"),
    [
        (b'{"choices":[{"message":{}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}', True, True),
        (b'{"choices":[]}', True, False),
        (b'{"choices":[],"usage":null,"error":null}', True, False),
        (b'{"choices":[],"error":{"message":"m"}}', False, False),
        (b'{"error":{"message":"m"}}', False, False),
        (b'{"choices":5}', False, False),
        (b"[]", False, False),
        (b"{", False, False),
        (b"<html>", False, False),
    ],
)
def test_unary_answers(body, sound, reported):
    meter = UsageMeter()
    assert WIRE.read_answer(body, meter) is sound
    assert (meter.reported, meter.final) == (reported, reported)


def data(value):
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def chunk(delta, finish=None, **fields):
    return data({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields})


U = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


@pytest.mark.parametrize(
    ("event", "signal", "characters"),
    [
        (b": OPENROUTER PROCESSING\n\n", Signal.PRELUDE, 0),
        (chunk({"role": "assistant", "content": ""}), Signal.PRELUDE, 0),
        (chunk({"role": "assistant", "content": "", "refusal": None, "tool_calls": None}), Signal.PRELUDE, 0),
        (chunk({"role": "assistant", "content": "hi"}), Signal.OUTPUT, 2),
        (chunk({"content": "hé"}), Signal.OUTPUT, 2),
        (chunk({"content": ""}), Signal.OUTPUT, 0),
        (chunk({"reasoning_content": "hmm"}), Signal.OUTPUT, 3),
        (chunk({"reasoning": "hmm", "reasoning_content": "hmm"}), Signal.OUTPUT, 3),
        (chunk({"refusal": "no"}), Signal.OUTPUT, 2),
        (
            chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}),
            Signal.OUTPUT,
            0,
        ),
        (chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}), Signal.OUTPUT, 4),
        (chunk({"audio": {"data": "AAAA"}}), Signal.OUTPUT, 0),
        (chunk({}, "stop"), Signal.OUTPUT, 0),
        (chunk({"role": "assistant", "content": ""}, ""), Signal.PRELUDE, 0),
        (chunk({"content": [{"type": "text", "text": "hi"}]}), Signal.OUTPUT, 0),
        (data({"choices": [], "prompt_filter_results": []}), Signal.PRELUDE, 0),
        (data({"choices": [], "usage": U}), Signal.USAGE, 0),
        (data(b"[DONE]"), Signal.STOP, 0),
        (b"data:[DONE]\r\n\r\n", Signal.STOP, 0),
        (data({"error": {"message": "m", "code": "rate_limit_exceeded"}}), Signal.ERROR, 0),
        (data({"error": "m", "choices": 5}), Signal.ERROR, 0),
        (data({"object": "error", "message": "m", "code": 503}), Signal.ERROR, 0),
        (data({"object": 5, "usage": U}), Signal.USAGE, 0),
        (data(b"{"), Signal.BROKEN, 0),
        (data(b"[]"), Signal.BROKEN, 0),
        (data(b"nonsense"), Signal.BROKEN, 0),
        (data(b'{"choices":[{"delta":{"content":"\xff"}}]}'), Signal.BROKEN, 0),
    ],
)
def test_what_chunks_mean(event, signal, characters):
    sniffer = WIRE.sniffer(UsageMeter())
    assert sniffer.observe(event) is signal
    assert sniffer.characters == characters
    assert (sniffer.failure is not None) == (signal is Signal.ERROR)


def test_usage_of_a_stream():
    meter = UsageMeter()
    sniffer = WIRE.sniffer(meter)
    sniffer.observe(chunk({"content": "a"}, usage={"prompt_tokens": 5, "completion_tokens": 1}))
    assert meter.reported and not meter.final
    sniffer.observe(chunk({}, "stop", usage=None))
    assert not meter.final
    assert sniffer.observe(data({"choices": [], "usage": U})) is Signal.USAGE
    assert meter.final
    assert (meter.usage().whole_input, meter.output_tokens) == (5, 7)


def test_usage_in_the_last_chunk_with_a_choice():
    meter = UsageMeter()
    assert WIRE.sniffer(meter).observe(chunk({}, "stop", usage=U)) is Signal.OUTPUT
    assert meter.final


def test_a_body_may_end_once_it_has_said_how_it_finished():
    sniffer = WIRE.sniffer(UsageMeter())
    sniffer.observe(chunk({"content": "a"}))
    assert sniffer.at_end() is Signal.BROKEN
    sniffer.observe(chunk({"content": "a"}, ""))
    assert sniffer.at_end() is Signal.BROKEN
    sniffer.observe(chunk({}, "length"))
    assert sniffer.at_end() is Signal.STOP


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_no_event_is_too_strange(raw):
    sniffer = WIRE.sniffer(UsageMeter())
    for event in (
        b"data: " + raw + b"\n\n",
        b'data: {"choices":' + raw + b"}\n\n",
        b'data: {"choices":[],"usage":' + raw + b"}\n\n",
    ):
        assert sniffer.observe(event) in Signal
    WIRE.read_answer(b'{"choices":[],"usage":' + raw + b"}", UsageMeter())
