"""What strict readers of JSON refuse and SDKs read passes untouched, and is translated as far as it says something."""

from __future__ import annotations

import json

import msgspec
import pytest

from penstock_edge.canonical import BlockStart, TextDelta, UnreadableError
from penstock_edge.providers import anthropic, gemini, openai_chat, openai_responses
from penstock_edge.providers.odd_json import decoded, mended
from penstock_edge.providers.wire import Signal
from penstock_edge.usage import UsageMeter

HALF = "\ud83d"
SAID = {"text": f"a{HALF}", "logprob": float("-inf")}
USED = {"prompt_tokens": 5, "completion_tokens": 7}
START = {"type": "message_start", "message": {"id": "m", "model": "m", "usage": {"input_tokens": 5}}}
WIRES = {
    "chat": (
        openai_chat.WIRE,
        [],
        {"choices": [{"index": 0, "delta": {"content": SAID["text"]}, "logprobs": SAID}]},
        {"choices": [{"message": {"content": SAID["text"]}, "logprobs": SAID}], "usage": USED},
    ),
    "messages": (
        anthropic.WIRE,
        [START, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}],
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", **SAID}},
        {"type": "message", "content": [{"type": "text", **SAID}], "usage": {"input_tokens": 5, "output_tokens": 7}},
    ),
    "responses": (
        openai_responses.WIRE,
        [],
        {"type": "response.output_text.delta", "delta": SAID["text"], "logprobs": [SAID]},
        {
            "output": [{"type": "message", "content": [{"type": "output_text", **SAID}]}],
            "usage": {"input_tokens": 5, "output_tokens": 7},
        },
    ),
    "generate": (
        gemini.WIRE,
        [],
        {"candidates": [{"content": {"parts": [{"text": SAID["text"]}]}, "avgLogprobs": SAID["logprob"]}]},
        {
            "candidates": [{"content": {"parts": [{"text": SAID["text"]}]}, "finishReason": "STOP", "x": SAID}],
            "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7},
        },
    ),
}


def event(value):
    return f"event: {value.get('type', 'x')}\ndata: {json.dumps(value)}\n\n".encode()


@pytest.mark.parametrize("name", WIRES)
def test_a_stream_goes_on(name):
    wire, before, odd, _ = WIRES[name]
    sniffer = wire.sniffer(UsageMeter())
    assert sniffer.observe(event(odd)) is Signal.OUTPUT
    assert sniffer.characters == 2
    parser = wire.parser()
    events = [one for value in [*before, odd] for one in parser.feed(event(value))]
    assert [one.text for one in events if isinstance(one, TextDelta)] == ["a\ufffd"]
    assert sum(isinstance(one, BlockStart) for one in events) == 1


@pytest.mark.parametrize("name", WIRES)
def test_an_answer_is_one(name):
    wire, _, _, answer = WIRES[name]
    body, meter = json.dumps(answer).encode(), UsageMeter()
    assert wire.read_answer(body, meter)
    assert (meter.usage().whole_input, meter.output_tokens) == (5, 7)
    assert wire.parse(body).content[0]["text"] == "a\ufffd"
    for cut in (body[:-1], body + b"x"):
        assert not wire.read_answer(cut, UsageMeter())
        with pytest.raises(UnreadableError):
            wire.parse(cut)


def test_arguments_of_a_call():
    call = {"id": "c", "function": {"name": "f", "arguments": json.dumps({"a": HALF})}}
    body = json.dumps({"choices": [{"message": {"tool_calls": [call]}}]})
    assert openai_chat.WIRE.parse(body.encode()).content[0]["input"] == {"a": "\ufffd"}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": json.dumps({"a": HALF})}
    body = json.dumps({"output": [call]})
    assert openai_responses.WIRE.parse(body.encode()).content[0]["input"] == {"a": "\ufffd"}


@pytest.mark.parametrize("odd", [{"delta": 5, "x": HALF}, {"x": HALF, "delta": 5}])
def test_fields_not_as_known_and_odd_ones(odd):
    raw = event({"type": "response.future.delta", **odd})
    assert openai_responses.WIRE.sniffer(UsageMeter()).observe(raw) is Signal.OUTPUT
    assert list(openai_responses.WIRE.parser().feed(raw)) == []


@pytest.mark.parametrize("wrong", ["", "{", "NaNa"])
def test_what_says_nothing(wrong):
    with pytest.raises(msgspec.DecodeError):
        decoded(wrong)
    assert decoded('["\\ud83d", NaN]') == ["\ufffd", None]


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (b'["a", 5]', b""),
        (rb'["\ude00\ud83d"]', '["\ufffd\ufffd"]'.encode()),
        (rb'["\ud83d\ude00\ud83d"]', '["\U0001f600\ufffd"]'.encode()),
        (rb'["\\ud83d", NaN]', rb'["\\ud83d", null]'),
        (b'["NaN"]', b""),
        (b"NaNa", b""),
        (b"[-Infinity, 1e999]", b""),
        (b"[" * 100_000 + b"NaN", b""),
        (b'["\xff", NaN]', b""),
        (b"[" + b"1" * 5_000 + b", NaN]", b""),
    ],
)
def test_what_can_be_mended(data, plain):
    assert mended(data) == plain
    # So that nobody mends for ever what cannot be read all the same.
    assert mended(plain) == b""
