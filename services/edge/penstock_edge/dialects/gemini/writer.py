"""Writes one translated stream as Google streams: each chunk a whole response object, the last one with its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge import canonical
from penstock_edge.dialects.gemini.answer import FINISH, MALFORMED_CALL, usage_metadata
from penstock_edge.dialects.gemini.framing import KEEP_ALIVE
from penstock_edge.providers.odd_json import decoded
from penstock_edge.usage_report import UsageReport

if TYPE_CHECKING:
    from penstock_edge.canonical import Event, Json
    from penstock_edge.dialects.gemini.answer import PartsWriter
    from penstock_edge.dialects.gemini.framing import ArrayFraming, SseFraming
    from penstock_edge.errors import Problem

_encoder = msgspec.json.Encoder()
# Google's older Python SDKs cut lines at these, as they may stand raw in JSON; a model's text holds them now and then.
_SEPARATORS: Final = {"\u0085".encode(): b"\\u0085", "\u2028".encode(): b"\\u2028", "\u2029".encode(): b"\\u2029"}
_HEAD: Final = b'{"candidates":[{"content":{"parts":['
_CLOSED: Final = b'],"role":"model"},'


def _encode(value: Json) -> bytes:
    encoded = _encoder.encode(value)
    if not encoded.isascii():
        for separator, escape in _SEPARATORS.items():
            encoded = encoded.replace(separator, escape)
    return encoded


class GeminiWriter:
    """One attempt's stream."""

    __slots__ = (
        "_call",
        "_ending",
        "_explanation",
        "_frame",
        "_pieces",
        "_said",
        "_stop",
        "_tail",
        "_thought",
        "_usage",
        "_written",
    )

    def __init__(self, parts: PartsWriter, framing: SseFraming | ArrayFraming, tail: Json) -> None:
        self._written = parts
        self._frame = framing
        self._tail = _encode(tail)[1:]
        self._ending = _CLOSED + b'"index":0}],' + self._tail
        self._said = False
        self._stop: canonical.StopReason = "end_turn"
        self._explanation = ""
        self._usage = UsageReport()
        # Of the block that is open.
        self._thought = False
        self._call: Json | None = None
        self._pieces: list[str] = []

    def write(self, event: Event) -> bytes:
        """Return what goes out for an event."""
        match event:
            case canonical.TextDelta():
                return self._chunk(self._written.text(event.text)) if event.text else b""
            case canonical.ThinkingDelta():
                return self._think(event.thinking)
            case canonical.SignatureDelta():
                return self._chunk(self._written.signature(event.signature, thought=self._thought))
            case canonical.InputDelta():
                self._pieces.append(event.partial_json)
            case canonical.BlockStart():
                return self._begin(event.block)
            case canonical.BlockStop():
                return self._end_block()
            case canonical.MessageStart():
                self._hear(event.usage)
            case canonical.MessageDelta():
                self._hear(event.usage)
                self._stop = event.stop_reason or self._stop
                self._explanation = event.explanation or self._explanation
            case canonical.MessageStop():
                return self._end()
            case canonical.Ping():
                return KEEP_ALIVE
            case _:
                pass
        return b""

    def fail(self, problem: Problem) -> bytes:
        """Return the error that ends the stream."""
        return self._frame.fail(problem)

    def _chunk(self, part: Json | None) -> bytes:
        if part is None:
            return b""
        self._said = True
        return self._frame.chunk(_HEAD + _encode(part) + self._ending)

    def _think(self, text: str) -> bytes:
        part = self._written.thought(text)
        self._thought = self._thought or part is not None
        return self._chunk(part)

    def _begin(self, block: Json) -> bytes:
        kind = block.get("type")
        self._thought = False
        self._pieces = []
        self._call = block if kind == "tool_use" else None
        # What others send in deltas may stand in the beginning already.
        if kind == "text" and block.get("text"):
            return self._chunk(self._written.text(block["text"]))
        if kind == "thinking":
            out = self._think(block.get("thinking") or "")
            return out + self._chunk(self._written.signature(block.get("signature") or "", thought=self._thought))
        return self._chunk(self._written.image(block)) if kind == "image" else b""

    def _end_block(self) -> bytes:
        call, self._call = self._call, None
        if call is None:
            return b""
        arguments = call.get("input") or {}
        text = "".join(self._pieces)
        if text.strip():
            try:
                arguments = decoded(text)
            except (msgspec.DecodeError, RecursionError, UnicodeError):
                # Cut short, as it is when the answer had to end within a call.
                arguments = None
        return self._chunk(self._written.call(call.get("id", ""), call.get("name", ""), arguments))

    def _end(self) -> bytes:
        reason = FINISH[self._stop]
        if self._written.malformed and self._stop == "tool_use":
            reason = MALFORMED_CALL
        head = b'{"candidates":[{'
        if self._said or self._written.waiting or self._stop != "refusal":
            head = _HEAD + _encode(self._written.text("")) + _CLOSED
        usage = _encode(usage_metadata(self._usage))
        ending = {"finishReason": reason, "index": 0}
        if self._explanation:
            ending["finishMessage"] = self._explanation
        last = b'%b%b],"usageMetadata":%b,%b' % (head, _encode(ending)[1:], usage, self._tail)
        return self._frame.chunk(last) + self._frame.close()

    def _hear(self, usage: UsageReport) -> None:
        """Take over new figures: they are cumulative, and what is not said keeps."""
        for name in UsageReport.__struct_fields__:
            value = getattr(usage, name)
            if value is not None:
                setattr(self._usage, name, value)
