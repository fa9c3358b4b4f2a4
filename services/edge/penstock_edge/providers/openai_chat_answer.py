"""Answers and streams of chat.completions, read into the canonical form: tolerant where real servers differ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import images, signatures
from penstock_edge.canonical import Json, Message, UnreadableError
from penstock_edge.providers.odd_json import mended
from penstock_edge.providers.openai_chat_usage import UNREADABLE, report_of
from penstock_edge.usage_report import UsageReport

if TYPE_CHECKING:
    from penstock_edge.canonical import StopReason

PROVIDER: Final = "OpenAICompatible"
OWN_THINKING: Final = signatures.tag("", PROVIDER)
"""Signs thinking that came without a signature, so that it is known again on its way back."""

_REASONS: Final[dict[str, StopReason]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "model_length": "model_context_window_exceeded",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
BROKEN_OFF: Final = frozenset({"error", "insufficient_system_resource", "abort"})
"""Finish reasons of answers that are none."""
_ODD = re.compile(r"[^a-zA-Z0-9_-]")
_decode = msgspec.json.Decoder().decode


class Function(msgspec.Struct):
    """What a call calls."""

    name: str | None = None
    arguments: Any = None


class _Call(msgspec.Struct):
    id: str | None = None
    function: Function | None = None
    extra_content: Any = None


class _Message(msgspec.Struct):
    content: Any = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None
    images: Any = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    stop_reason: Any = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    id: str | None = None
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_answer = msgspec.json.Decoder(_Answer)


def parse(body: bytes) -> Message:
    """Read a unary answer. Raises UnreadableError."""
    try:
        answer = _answer.decode(body)
    except UNREADABLE:
        if plain := mended(body):
            return parse(plain)
        raise UnreadableError from None
    if bytes(answer.error) not in {b"", b"null"} or not answer.choices:
        raise UnreadableError
    choice = answer.choices[0]
    if choice.finish_reason in BROKEN_OFF:
        raise UnreadableError
    name = answer.id or ""
    content = _content(choice.message, name, cut=choice.finish_reason == "length")
    called = any(block["type"] == "tool_use" for block in content)
    stop = stop_sequence_of(choice.stop_reason)
    reason = reason_of(choice.finish_reason, called=called, refused=bool(choice.message.refusal), stop=stop)
    return Message(
        id=name,
        model=answer.model or "",
        content=content,
        stop_reason=reason,
        stop_sequence=stop if reason == "stop_sequence" else None,
        usage=report_of(answer.usage) or UsageReport(),
    )


def reason_of(finish: str | None, *, called: bool, refused: bool, stop: str | None) -> StopReason:
    """Return the stop reason: a finish reason says less, and some servers say `stop` whatever happened."""
    reason = _REASONS.get(finish or "stop", "end_turn")
    if reason in {"end_turn", "tool_use"}:
        if called:
            return "tool_use"
        if refused:
            return "refusal"
        return "stop_sequence" if stop is not None else "end_turn"
    return reason


def stop_sequence_of(stop: Any) -> str | None:
    """Return the stop sequence that a server names; other servers name a token's number, most nothing."""
    return stop if isinstance(stop, str) and stop else None


def call_id(answer: str, place: int) -> str:
    """Make an id for a call that came without one, the same for the same place in the same answer."""
    return f"call_{_ODD.sub('', answer)[-24:]}_{place}"


def signature_of(extra: Any) -> str:
    """Return the signature that a call of Gemini's carries in this format, "" without one."""
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else ""


def text_of(content: Any) -> str:
    """Return the text of content that is a text or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text")
    return "".join(text for text in parts if isinstance(text, str))


def images_of(given: Any) -> list[Json]:
    """Return the blocks of a message's or a delta's `images`."""
    found = [images.from_entry(entry) for entry in given] if isinstance(given, list) else []
    return [block for block in found if block is not None]


def _content(message: _Message, answer: str, *, cut: bool) -> list[Json]:
    blocks: list[Json] = []
    thought = message.reasoning_content or message.reasoning
    if thought:
        blocks.append({"type": "thinking", "thinking": thought, "signature": OWN_THINKING})
    text = text_of(message.content) + (message.refusal or "")
    if text:
        blocks.append({"type": "text", "text": text})
    blocks += images_of(message.images)
    for place, call in enumerate(message.tool_calls or ()):
        function = call.function
        if function is None or not function.name:
            raise UnreadableError
        signature = signature_of(call.extra_content)
        if signature:
            tagged = signatures.tag(signature, PROVIDER)
            blocks.append({"type": "thinking", "thinking": "", "signature": tagged})
        arguments = _arguments(function.arguments, cut=cut)
        name = call.id or call_id(answer, place)
        blocks.append({"type": "tool_use", "id": name, "name": function.name, "input": arguments})
    return blocks


def _arguments(arguments: Any, *, cut: bool) -> Json:
    """Read a call's arguments; of an answer that was `cut` off they need not be whole."""
    if isinstance(arguments, dict):
        return arguments
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return {}
    value: Any = None
    if isinstance(arguments, str):
        try:
            value = _decode(arguments)
        except UNREADABLE:
            if cut:
                return {}
            plain = mended(arguments.encode())
            if not plain:
                raise UnreadableError from None
            value = _decode(plain)
        if value is None:
            return {}
    if not isinstance(value, dict):
        raise UnreadableError
    return value
