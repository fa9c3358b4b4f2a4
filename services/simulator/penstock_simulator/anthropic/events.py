"""A message as Anthropic's wire shows it: one JSON body, or events in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator import text
from penstock_simulator.answer import Event
from penstock_simulator.records import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock_simulator.anthropic.message import Block, Message
    from penstock_simulator.behaviour import Behaviour
    from penstock_simulator.cache import Split

_encode = msgspec.json.Encoder().encode
_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_REFUSED = {"type": "refusal", "category": "other", "explanation": "The simulator was asked to refuse."}


def told(split: Split, output: int) -> Usage:
    """Return what an event or a body tells, for the record."""
    return Usage(split.uncached, output, split.read, split.write_5m, split.write_1h)


def _input(split: Split) -> dict[str, Any]:
    return {
        "input_tokens": split.uncached,
        "cache_creation_input_tokens": split.write_5m + split.write_1h,
        "cache_read_input_tokens": split.read,
    }


def _usage(split: Split, output: int, thinking: int) -> dict[str, Any]:
    usage = _input(split)
    usage["cache_creation"] = {
        "ephemeral_5m_input_tokens": split.write_5m,
        "ephemeral_1h_input_tokens": split.write_1h,
    }
    usage["output_tokens"] = output
    if thinking:
        usage["output_tokens_details"] = {"thinking_tokens": thinking}
    usage["service_tier"] = "standard"
    usage["inference_geo"] = "not_available"
    return usage


def _envelope(message: Message, content: list[Any], usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": message.model,
        "id": message.id,
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def unary(message: Message, split: Split) -> bytes:
    """Return the body of a unary answer."""
    usage = _usage(split, message.output_tokens, message.thinking_tokens)
    envelope = _envelope(message, [block.whole() for block in message.blocks], usage)
    envelope["stop_reason"] = message.stop_reason
    envelope["stop_sequence"] = message.stop_sequence
    if message.stop_reason == "refusal":
        envelope["stop_details"] = _REFUSED
    return _encode(envelope)


def _event(name: bytes, data: Any) -> bytes:
    return b"event: " + name + b"\ndata: " + _encode(data) + b"\n\n"


def stream(message: Message, split: Split, how: Behaviour) -> Iterator[Event]:
    """Yield the events of a streamed answer."""
    first = min(1, message.output_tokens)
    start = {"type": "message_start", "message": _envelope(message, [], _usage(split, first, 0))}
    yield Event(_event(b"message_start", start), usage=told(split, first), phase=0)
    for _ in range(how.pings):
        yield Event(_PING, phase=0, paced=True)
    sent = 0
    updates = max(0, how.usage_updates)
    for index, block in enumerate(message.blocks):
        for event in _block(index, block):
            sent += event.chars
            yield event
            if index == 0 and event.chars == 0 and event.data.startswith(b"event: content_block_start"):
                yield Event(_PING)
            if updates and event.chars:
                updates -= 1
                output = text.tokens(sent)
                yield Event(_closing(message, split, how, output, last=False), usage=told(split, output))
    output = message.output_tokens
    yield Event(_closing(message, split, how, output, last=True), usage=told(split, output), phase=2)
    yield Event(_STOP, phase=2)


def _closing(message: Message, split: Split, how: Behaviour, output: int, *, last: bool) -> bytes:
    usage: dict[str, Any] = {} if how.usage == "output" else _input(split)
    usage["output_tokens"] = output
    if message.thinking_tokens and last:
        usage["output_tokens_details"] = {"thinking_tokens": message.thinking_tokens}
    delta: dict[str, Any] = {"stop_reason": None, "stop_sequence": None}
    if last:
        delta = {"stop_reason": message.stop_reason, "stop_sequence": message.stop_sequence}
        if message.stop_reason == "refusal":
            delta["stop_details"] = _REFUSED
    return _event(b"message_delta", {"type": "message_delta", "delta": delta, "usage": usage})


_STARTS: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}
_DELTAS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}


def _block(index: int, block: Block) -> Iterator[Event]:
    tool = block.kind == "tool_use"
    start = {"type": "tool_use", "id": block.id, "name": block.name, "input": {}} if tool else _STARTS[block.kind]
    opening = {"type": "content_block_start", "index": index, "content_block": start}
    yield Event(_event(b"content_block_start", opening))
    kind, name = ("input_json_delta", "partial_json") if tool else _DELTAS[block.kind]
    if tool:
        yield Event(_delta(index, kind, name, ""))
    for piece in text.pieces(block.text, block.chunks):
        yield Event(_delta(index, kind, name, piece), chars=len(piece), paced=True)
    if block.kind == "thinking":
        yield Event(_delta(index, "signature_delta", "signature", block.signature))
    yield Event(b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % index)


def _delta(index: int, kind: str, name: str, value: str) -> bytes:
    # The most frequent event by far: its fixed parts are not encoded each time.
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":%b}}\n\n'
        % (
            index,
            kind.encode(),
            name.encode(),
            _encode(value),
        )
    )
