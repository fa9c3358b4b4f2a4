"""What Claude answers, read into the canonical form."""

from __future__ import annotations

import json

import pytest

from penstock_edge import canonical, signatures
from penstock_edge.canonical import UnreadableError
from penstock_edge.providers.anthropic import WIRE
from penstock_edge.sse import EventSplitter


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


START = event("message_start", message={"id": "msg_1", "model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}})


def test_a_unary_answer():
    message = WIRE.parse(
        json.dumps(
            {
                "id": "msg_1",
                "type": "message",
                "model": "m",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "blob"},
                    {"type": "text", "text": "hi"},
                ],
                "stop_reason": "brand_new_reason",
                "usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": None},
            }
        ).encode()
    )
    assert [signatures.own(block["signature"], "Anthropic") for block in message.content[:2]] == [
        "sig",
        "redacted:blob",
    ]
    assert message.content[2] == {"type": "text", "text": "hi"}
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 2)


UNFIT = [
    {},
    {"type": 5},
    {"type": "text", "text": ["hi"]},
    {"type": "thinking", "thinking": 5},
    {"type": "thinking", "thinking": "hm", "signature": ["s"]},
    {"type": "redacted_thinking", "data": {"a": 1}},
    {"type": "tool_use", "name": "f", "input": {}},
    {"type": "tool_use", "id": "t", "input": {}},
    {"type": "tool_use", "id": "t", "name": ["f"], "input": {}},
    {"type": "tool_use", "id": "t", "name": "f", "input": "x"},
]


@pytest.mark.parametrize("block", UNFIT)
def test_blocks_that_nobody_could_write_are_no_answer(block):
    with pytest.raises(UnreadableError):
        WIRE.parse(json.dumps({"type": "message", "content": [block], "stop_reason": "end_turn"}).encode())
    parser = WIRE.parser()
    parser.feed(START)
    with pytest.raises(UnreadableError):
        parser.feed(event("content_block_start", index=0, content_block=block))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"type":"error","content":[]}', b'{"type":"message"}', b"\xff"])
def test_what_is_no_answer(body):
    with pytest.raises(UnreadableError):
        WIRE.parse(body)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"input_tokens":"5"}'])
def test_what_is_no_count(body):
    with pytest.raises(UnreadableError):
        WIRE.parse_count(body)
    assert WIRE.parse_count(b'{"input_tokens":5}') == 5


STREAM = [
    event("ping"),
    START,
    event("content_block_start", index=0, content_block={"type": "redacted_thinking", "data": "blob"}),
    event("content_block_stop", index=0),
    event("content_block_start", index=1, content_block={"type": "thinking", "thinking": "", "signature": ""}),
    event("content_block_delta", index=1, delta={"type": "thinking_delta", "thinking": "hm"}),
    event("content_block_delta", index=1, delta={"type": "signature_delta", "signature": "sig"}),
    event("content_block_stop", index=1),
    event("something_new", index=7),
    event("content_block_start", index=2, content_block={"type": "text", "text": ""}),
    event("content_block_delta", index=2, delta={"type": "text_delta", "text": "\u2028\u0085é"}),
    event("content_block_stop", index=2),
    event("message_delta", delta={"stop_reason": "max_tokens"}, usage={"output_tokens": 9}),
    event("message_stop"),
]
EXPECTED = [
    "MessageStart",
    "BlockStart",
    "SignatureDelta",
    "BlockStop",
    "BlockStart",
    "ThinkingDelta",
    "SignatureDelta",
    "BlockStop",
    "BlockStart",
    "TextDelta",
    "BlockStop",
    "MessageDelta",
    "MessageStop",
]


def read(pieces):
    splitter, parser = EventSplitter(), WIRE.parser()
    return [said for piece in pieces for raw in splitter.feed(piece) for said in parser.feed(raw)]


def test_a_stream_split_at_every_byte():
    raw = b"".join(STREAM)
    whole = read([raw])
    assert [type(said).__name__ for said in whole] == EXPECTED
    assert signatures.own(whole[2].signature, "Anthropic") == "redacted:blob"
    assert (whole[9].text, whole[11].stop_reason, whole[11].usage.output_tokens) == ("\u2028\u0085é", "max_tokens", 9)
    for cut in range(1, len(raw)):
        assert read([raw[:cut], raw[cut:]]) == whole


def test_an_error_within_a_stream():
    [failed] = WIRE.parser().feed(event("error", error={"type": "overloaded_error", "message": "x"}))
    assert isinstance(failed, canonical.Failed)
    assert (failed.failure.cls, failed.failure.status) == ("Overloaded", 529)


@pytest.mark.parametrize("raw", [event("message_stop"), b"data: nonsense\n\n", b"data: {}\n\n"])
def test_what_is_no_stream(raw):
    with pytest.raises(UnreadableError):
        WIRE.parser().feed(raw)


def test_a_stream_never_ends_by_itself():
    parser = WIRE.parser()
    parser.feed(START)
    with pytest.raises(UnreadableError):
        parser.end()
