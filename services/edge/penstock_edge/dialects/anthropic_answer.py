"""Canonical answers and events as Messages clients read them, with as much of the thinking as they asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from penstock_edge import canonical, signatures
from penstock_edge.providers.anthropic_turns import sound_id

if TYPE_CHECKING:
    from penstock_edge.canonical import Event, Json, Message
    from penstock_edge.dialects.dialect import Birth
    from penstock_edge.errors import Problem
    from penstock_edge.usage import UsageReport

Shown = Literal["whole", "signed", "before calls"]
"""How much of the thinking a client gets: all; only that there was some, with its signature; or, of a client that did
not ask for any and may not expect it, only what a model wants back with a tool's result."""
_encode = msgspec.json.Encoder().encode
_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def shown(thinking: Any) -> Shown:
    """Return what a request's `thinking` asks to see."""
    if not isinstance(thinking, dict) or thinking.get("type") in (None, "disabled"):
        return "before calls"
    return "signed" if thinking.get("display") == "omitted" else "whole"


def answer(message: Message, model: str, birth: Birth, how: Shown) -> bytes:
    """Return the body of a unary answer."""
    return _encode(
        {
            **_skeleton(model, birth),
            "content": _blocks(message.content, how),
            "stop_reason": message.stop_reason,
            "stop_sequence": message.stop_sequence,
            "usage": _whole(message.usage),
        }
    )


def _blocks(content: list[Json], how: Shown) -> list[Json]:
    """Return the blocks that a client gets; such that Claude itself can go on with the conversation."""
    kept: list[Json] = []
    held: list[Json] = []
    for block in content:
        if block["type"] != "thinking":
            kept += [*held, _with_sound_id(block)] if block["type"] == "tool_use" else [block]
            held = []
            continue
        signature = block.get("signature") or ""
        silent = {"type": "thinking", "thinking": "", "signature": signature or signatures.NOBODYS}
        if how == "whole":
            kept.append({**silent, "thinking": block.get("thinking") or ""})
        elif how == "signed":
            kept.append(silent)
        elif signatures.says_something(signature):
            held.append(silent)
    return kept


def _with_sound_id(call: Json) -> Json:
    return {**call, "id": sound_id(call["id"])}


def _skeleton(model: str, birth: Birth) -> Json:
    name = "msg_" + birth.request_id.removeprefix("req_")
    return {"id": name, "type": "message", "role": "assistant", "model": model}


def _whole(usage: UsageReport) -> Json:
    """Return usage with the figures that SDKs require."""
    figures: Json = {
        "input_tokens": usage.input_tokens or 0,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens or 0,
        "cache_read_input_tokens": usage.cache_read_input_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
    }
    details = usage.output_tokens_details
    if details is not None and details.thinking_tokens is not None:
        figures["output_tokens_details"] = {"thinking_tokens": details.thinking_tokens}
    return figures


def _event(kind: bytes, data: Json) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind, _encode(data))


class Writer:
    """Writes one stream: the canonical events are this format's own."""

    __slots__ = ("_birth", "_held", "_how", "_index", "_model", "_thinks", "_unsigned")

    def __init__(self, model: str, birth: Birth, how: Shown) -> None:
        self._model = model
        self._birth = birth
        self._how = how
        self._index = -1
        """Of the block that went out last: what is held back has none."""
        self._thinks = False
        """The open block is thinking."""
        self._unsigned = False
        """It is, and nobody has signed it yet."""
        self._held: list[str] = []
        """Signatures that only go out before a tool call."""

    def write(self, event: Event) -> bytes:
        """Return the bytes of one event."""
        match event:
            case canonical.TextDelta():
                return self._delta({"type": "text_delta", "text": event.text})
            case canonical.InputDelta():
                return self._delta({"type": "input_json_delta", "partial_json": event.partial_json})
            case canonical.ThinkingDelta():
                shown = self._how == "whole"
                return self._delta({"type": "thinking_delta", "thinking": event.thinking}) if shown else b""
            case canonical.SignatureDelta():
                return self._signed(event.signature)
            case canonical.CitationDelta():
                return self._delta({"type": "citations_delta", "citation": event.citation})
            case canonical.BlockStart():
                return self._begin(event.block)
            case canonical.BlockStop():
                return self._stop_block()
            case canonical.MessageStart():
                return self._start(event)
            case canonical.MessageDelta():
                return self._end(event)
            case canonical.MessageStop():
                return _STOP
            case _:
                return _PING

    def fail(self, problem: Problem) -> bytes:
        """Return the error event."""
        error = {"type": problem.kind, "message": problem.message}
        return _event(b"error", {"type": "error", "error": error, "request_id": self._birth.request_id})

    def _delta(self, delta: Json) -> bytes:
        return _event(b"content_block_delta", {"type": "content_block_delta", "index": self._index, "delta": delta})

    def _open(self, block: Json) -> bytes:
        self._index += 1
        start = {"type": "content_block_start", "index": self._index, "content_block": block}
        return _event(b"content_block_start", start)

    def _begin(self, block: Json) -> bytes:
        self._thinks = block["type"] == "thinking"
        if self._thinks:
            return self._begin_thinking(block)
        held, self._held = self._held, []
        if block["type"] != "tool_use":
            return self._open(block)
        silent = {"type": "thinking", "thinking": "", "signature": ""}
        before = b"".join(self._open(silent) + self._sign(signature) + self._close() for signature in held)
        return before + self._open(_with_sound_id(block))

    def _begin_thinking(self, block: Json) -> bytes:
        signature = block.get("signature") or ""
        self._unsigned = not signature
        if self._how == "before calls":
            return self._signed(signature)
        # Whenever it is known, a signature goes out in a delta of its own.
        whole = self._how == "whole"
        out = self._open({**block, "signature": ""} if whole else {"type": "thinking", "thinking": "", "signature": ""})
        return out + self._signed(signature)

    def _signed(self, signature: str) -> bytes:
        if not signature:
            return b""
        self._unsigned = False
        if self._how != "before calls":
            return self._sign(signature)
        if signatures.says_something(signature):
            self._held.append(signature)
        return b""

    def _sign(self, signature: str) -> bytes:
        return self._delta({"type": "signature_delta", "signature": signature})

    def _stop_block(self) -> bytes:
        if self._thinks and self._how == "before calls":
            return b""
        return self._sign(signatures.NOBODYS) + self._close() if self._thinks and self._unsigned else self._close()

    def _close(self) -> bytes:
        return _event(b"content_block_stop", {"type": "content_block_stop", "index": self._index})

    def _start(self, event: canonical.MessageStart) -> bytes:
        usage = _whole(event.usage)
        if event.usage.input_tokens is None:
            # Some upstreams tell only at the end; until then the estimate is better than nothing.
            usage["input_tokens"] = self._birth.input_tokens
        message = {
            **_skeleton(self._model, self._birth),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        return _event(b"message_start", {"type": "message_start", "message": message})

    def _end(self, event: canonical.MessageDelta) -> bytes:
        delta = {"stop_reason": event.stop_reason, "stop_sequence": event.stop_sequence}
        usage = msgspec.to_builtins(event.usage)
        usage.setdefault("output_tokens", 0)
        return _event(b"message_delta", {"type": "message_delta", "delta": delta, "usage": usage})
