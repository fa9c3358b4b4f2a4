"""Reads what Claude answers into the canonical form, which is the same but for thinking: its signatures get a tag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from penstock_edge import canonical, signatures
from penstock_edge.canonical import UnreadableError
from penstock_edge.providers.anthropic_failure import of_error_event
from penstock_edge.providers.anthropic_turns import PROVIDER, REDACTED
from penstock_edge.providers.odd_json import mended, mended_event
from penstock_edge.sse import data_of
from penstock_edge.usage_report import UsageReport

if TYPE_CHECKING:
    from penstock_edge.canonical import Event, Json, StopReason


class _Answer(msgspec.Struct):
    type: str
    content: list[dict[str, Any]]
    stop_reason: str | None = None
    id: str = ""
    model: str = ""
    stop_sequence: str | None = None
    stop_details: Any = None
    usage: UsageReport = msgspec.field(default_factory=UsageReport)


class _Count(msgspec.Struct):
    input_tokens: int


_answer = msgspec.json.Decoder(_Answer)
_count = msgspec.json.Decoder(_Count)


def parse(body: bytes) -> canonical.Message:
    """Read a unary answer. Raises UnreadableError."""
    try:
        answer = _answer.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        if plain := mended(body):
            return parse(plain)
        raise UnreadableError from None
    if answer.type != "message":
        raise UnreadableError
    return canonical.Message(
        id=answer.id,
        model=answer.model,
        content=[_tagged(block) for block in answer.content],
        stop_reason=_reason(answer.stop_reason) or "end_turn",
        stop_sequence=answer.stop_sequence,
        usage=answer.usage,
        explanation=_explanation(answer.stop_details),
    )


def parse_count(body: bytes) -> int:
    """Read a token count. Raises UnreadableError."""
    try:
        return _count.decode(body).input_tokens
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise UnreadableError from None


# Missing or null is as good as empty, but for what names a call.
_TEXTS: Final[dict[str, tuple[str, ...]]] = {
    "text": ("text",),
    "thinking": ("thinking", "signature"),
    "redacted_thinking": ("data",),
    "tool_use": ("id", "name"),
}


def _check(block: Json) -> None:
    """Raise UnreadableError for a block that no dialect could write."""
    kind = block.get("type")
    if not isinstance(kind, str) or not all(isinstance(block.get(name) or "", str) for name in _TEXTS.get(kind, ())):
        raise UnreadableError
    if kind != "tool_use":
        return
    if not block.get("id") or not block.get("name") or not isinstance(block.get("input") or {}, dict):
        raise UnreadableError


def _tagged(block: Json) -> Json:
    _check(block)
    if block.get("type") == "thinking":
        signature = block.get("signature") or ""
        return {
            "type": "thinking",
            "thinking": block.get("thinking") or "",
            "signature": signatures.tag(signature, PROVIDER) if signature else "",
        }
    if block.get("type") == "redacted_thinking":
        return {
            "type": "thinking",
            "thinking": "",
            "signature": signatures.tag(REDACTED + str(block.get("data") or ""), PROVIDER),
        }
    return block


_REASONS = frozenset(canonical.StopReason.__args__)  # type: ignore[attr-defined]  # what a Literal is made of


def _reason(word: str | None) -> StopReason | None:
    if word is None:
        return None
    # A reason that is newer than this code ended the turn all the same.
    return cast("StopReason", word) if word in _REASONS else "end_turn"


def _explanation(details: Any) -> str:
    """Return what Claude says of a refusal, or at least of which kind it is."""
    told = details if isinstance(details, dict) else {}
    words, category = told.get("explanation"), told.get("category")
    if isinstance(words, str) and words:
        return words
    return f"The model refused to answer this request ({category})." if isinstance(category, str) and category else ""


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: dict[str, Any] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None


class _Start(msgspec.Struct):
    id: str = ""
    model: str = ""
    usage: UsageReport = msgspec.field(default_factory=UsageReport)


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    delta: _Delta = msgspec.field(default_factory=_Delta)
    message: _Start | None = None
    content_block: dict[str, Any] | None = None
    usage: UsageReport | None = None


_event = msgspec.json.Decoder(_Event)
_NOTHING: tuple[Event, ...] = ()


class Parser:
    """Reads one stream."""

    __slots__ = ("_started",)

    def __init__(self) -> None:
        self._started = False

    def feed(self, raw: bytes) -> tuple[Event, ...]:
        """Read one whole event. Raises UnreadableError."""
        data = data_of(raw)
        if not data:
            return _NOTHING
        try:
            event = _event.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            if plain := mended_event(data):
                return self.feed(plain)
            raise UnreadableError from None
        kind = event.type
        if kind == "error":
            return (canonical.Failed(of_error_event(data)),)
        if kind == "message_start":
            self._started = True
            start = event.message or _Start()
            return (canonical.MessageStart(start.id, start.model, start.usage),)
        if not self._started:
            if kind == "ping":
                return _NOTHING
            raise UnreadableError
        return self._further(event)

    def end(self) -> tuple[Event, ...]:
        """Refuse: this format has an end of its own."""
        raise UnreadableError

    def _further(self, event: _Event) -> tuple[Event, ...]:
        kind = event.type
        if kind == "content_block_delta":
            return _delta(event.index, event.delta)
        if kind == "content_block_start":
            return _block(event.index, event.content_block or {})
        if kind == "content_block_stop":
            return (canonical.BlockStop(event.index),)
        if kind == "message_delta":
            delta = event.delta
            usage, words = event.usage or UsageReport(), _explanation(delta.stop_details)
            return (canonical.MessageDelta(_reason(delta.stop_reason), delta.stop_sequence, usage, words),)
        if kind == "message_stop":
            return (canonical.MessageStop(),)
        return (canonical.Ping(),) if kind == "ping" else _NOTHING


def _block(index: int, block: Json) -> tuple[Event, ...]:
    _check(block)
    if block.get("type") == "redacted_thinking":
        signature = signatures.tag(REDACTED + str(block.get("data") or ""), PROVIDER)
        empty = {"type": "thinking", "thinking": "", "signature": ""}
        return (canonical.BlockStart(index, empty), canonical.SignatureDelta(index, signature))
    return (canonical.BlockStart(index, block),)


def _delta(index: int, delta: _Delta) -> tuple[Event, ...]:
    kind = delta.type
    if kind == "text_delta":
        return (canonical.TextDelta(index, delta.text),)
    if kind == "input_json_delta":
        return (canonical.InputDelta(index, delta.partial_json),)
    if kind == "thinking_delta":
        return (canonical.ThinkingDelta(index, delta.thinking),)
    if kind == "signature_delta":
        return (canonical.SignatureDelta(index, signatures.tag(delta.signature, PROVIDER)),)
    if kind == "citations_delta" and delta.citation is not None:
        return (canonical.CitationDelta(index, delta.citation),)
    return _NOTHING
