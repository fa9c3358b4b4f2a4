"""Canonical answers and events as Messages clients read them, with as much of the thinking as they asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from penstock_edge import canonical, signatures

if TYPE_CHECKING:
    from penstock_edge.canonical import Event, Json, Message
    from penstock_edge.dialects.call_ids import CallIds
    from penstock_edge.dialects.dialect import Birth
    from penstock_edge.errors import Problem
    from penstock_edge.usage_report import UsageReport

Shown = Literal["whole", "signed", "before calls"]
"""How much of the thinking a client gets: all; only that there was some, with its signature; or, of a client that did
not ask for any and may not expect it, only what a model wants back with a tool's result or an image that it made.

Thinking without words is held back until something follows it: Claude never ends with any, and who reads an answer by
its last block would find it empty."""
_encode = msgspec.json.Encoder().encode
_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def shown(thinking: Any) -> Shown:
    """Return what a request's `thinking` asks to see."""
    if not isinstance(thinking, dict) or thinking.get("type") in (None, "disabled"):
        return "before calls"
    return "signed" if thinking.get("display") == "omitted" else "whole"


def answer(message: Message, model: str, birth: Birth, how: Shown, ids: CallIds) -> bytes:
    """Return the body of a unary answer."""
    return _encode(
        {
            **_skeleton(model, birth),
            "content": _blocks(message.content, how, ids),
            "stop_reason": message.stop_reason,
            "stop_sequence": message.stop_sequence,
            **_details(message.explanation),
            "usage": _whole(message.usage),
        }
    )


def _details(explanation: str) -> Json:
    """Return what says why an answer was withheld."""
    details = {"type": "refusal", "category": None, "explanation": explanation}
    return {"stop_details": details} if explanation else {}


def _blocks(content: list[Json], how: Shown, ids: CallIds) -> list[Json]:
    """Return the blocks that a client gets; such that Claude itself can go on with the conversation."""
    kept: list[Json] = []
    held: list[Json] = []
    for block in content:
        if block["type"] == "thinking":
            words = (block.get("thinking") or "") if how == "whole" else ""
            signature = block.get("signature") or ""
            if _goes_out(signature, how):
                held.append({"type": "thinking", "thinking": words, "signature": signature or signatures.NOBODYS})
            if not words:
                continue
        elif block["type"] == "tool_use":
            held.append(ids.renamed(block))
        elif block["type"] == "image":
            held.append(block)
        else:
            held = [block] if how == "before calls" else [*held, block]
        kept += held
        held = []
    return kept


def _goes_out(signature: str, how: Shown) -> bool:
    return how != "before calls" or signatures.says_something(signature)


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

    __slots__ = ("_birth", "_held", "_how", "_ids", "_index", "_model", "_open_thinking", "_signature", "_thinks")

    def __init__(self, model: str, birth: Birth, how: Shown, ids: CallIds) -> None:
        self._model = model
        self._birth = birth
        self._how = how
        self._ids = ids
        self._index = -1
        """Of the block that went out last: what is held back has none."""
        self._thinks = False
        """The open block is thinking."""
        self._open_thinking = False
        """And some of it has gone out."""
        self._signature = ""
        """Whoever signed it."""
        self._held: list[str] = []
        """Signatures of thinking without words, until something follows."""

    def write(self, event: Event) -> bytes:
        """Return the bytes of one event."""
        match event:
            case canonical.TextDelta():
                return self._delta({"type": "text_delta", "text": event.text})
            case canonical.InputDelta():
                return self._delta({"type": "input_json_delta", "partial_json": event.partial_json})
            case canonical.ThinkingDelta():
                return self._think(event.thinking)
            case canonical.SignatureDelta():
                self._signature = event.signature or self._signature
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
        return b""

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
        self._thinks, self._open_thinking = block["type"] == "thinking", False
        if self._thinks:
            self._signature = block.get("signature") or ""
            return self._think(block.get("thinking") or "")
        if block["type"] == "tool_use":
            return self._let_go() + self._open(self._ids.renamed(block))
        if self._how == "before calls" and block["type"] != "image":
            self._held = []
        return self._let_go() + self._open(block)

    def _let_go(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, []
        silent = {"type": "thinking", "thinking": "", "signature": ""}
        return b"".join(self._open(silent) + self._sign(signature) + self._close() for signature in held)

    def _think(self, words: str) -> bytes:
        if not words or self._how != "whole":
            return b""
        out = b""
        if not self._open_thinking:
            self._open_thinking = True
            out = self._let_go() + self._open({"type": "thinking", "thinking": "", "signature": ""})
        return out + self._delta({"type": "thinking_delta", "thinking": words})

    def _sign(self, signature: str) -> bytes:
        return self._delta({"type": "signature_delta", "signature": signature or signatures.NOBODYS})

    def _stop_block(self) -> bytes:
        if not self._thinks:
            return self._close()
        if self._open_thinking:
            return self._sign(self._signature) + self._close()
        if _goes_out(self._signature, self._how):
            self._held.append(self._signature)
        return b""

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
        delta |= _details(event.explanation)
        usage = msgspec.to_builtins(event.usage)
        usage.setdefault("output_tokens", 0)
        return _event(b"message_delta", {"type": "message_delta", "delta": delta, "usage": usage})
