"""Composes an answer: which parts, how long, why it ends. The same seed and request give the same text. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator import drawing, text
from penstock_simulator.gemini import signature
from penstock_simulator.gemini.turns import held
from penstock_simulator.sample import sample

if TYPE_CHECKING:
    from penstock_simulator.behaviour import Behaviour
    from penstock_simulator.gemini.check import Checked
    from penstock_simulator.gemini.tools import Function

_THINKING_TOKENS = 32
_IMAGE_TOKENS = 1290
_BLOCKED = "blocked"
_IN_WORDS = {"text", "call"}
# The words of other formats for the same, so that a script can be the same for all.
_FOREIGN = {
    "end_turn": "STOP",
    "stop_sequence": "STOP",
    "tool_use": "STOP",
    "max_tokens": "MAX_TOKENS",
    "refusal": "SAFETY",
}
_ORDERLY = {"STOP", "MAX_TOKENS"}
# Of these nothing that was said is left, not even in a stream.
_UNSAID = {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"}


@dataclass(slots=True)
class Part:
    """One part of an answer."""

    kind: str
    """thought, text, call or image."""
    text: str
    """What is said, the JSON of a call's arguments, or an image as base64."""
    name: str = ""
    id: str = ""
    signature: str = ""
    chunks: int = 1


@dataclass(slots=True)
class Message:
    """An answer before it takes a shape on the wire."""

    id: str
    model: str
    parts: list[Part] = field(default_factory=list)
    finish_reason: str = "STOP"
    blocked: str = ""
    """Why the prompt itself was refused; then there is no candidate."""
    thoughts_tokens: int = 0
    closing_signature: str = ""
    """Of a text; in a stream it comes after it, in a part without text."""

    @property
    def chars(self) -> int:
        """Output characters that are not thoughts."""
        return sum(len(part.text) for part in self.parts if part.kind in _IN_WORDS)

    @property
    def image_tokens(self) -> int:
        """Output tokens of images, however large they are."""
        return sum(_IMAGE_TOKENS for part in self.parts if part.kind == "image")

    @property
    def shown_chars(self) -> int:
        """Output characters of a unary answer; thoughts count even when they are not shown."""
        return (self.chars if self.orderly else 0) + self.thoughts_tokens * text.CHARS_PER_TOKEN

    @property
    def candidates_tokens(self) -> int:
        """Output tokens that are not thoughts."""
        return text.tokens(self.chars) + self.image_tokens

    @property
    def orderly(self) -> bool:
        """Whether it ends of its own accord, or at its limit."""
        return self.finish_reason in _ORDERLY


def compose(checked: Checked, how: Behaviour, *, identity: str, seed: int, default_tokens: int) -> Message:
    """Return the answer to a request."""
    message = Message(identity, checked.model.name)
    if how.stop.partition(":")[0] == _BLOCKED:
        message.blocked = how.stop.partition(":")[2].upper() or "PROHIBITED_CONTENT"
        return message
    # Output is bounded in characters, so that the tokens counted never exceed maxOutputTokens.
    room = checked.generation.max_tokens * text.CHARS_PER_TOKEN
    room -= _think(message, checked, how, seed, room)
    functions = _called(checked, how)
    if not room:
        message.finish_reason = "MAX_TOKENS"
    elif functions:
        _call(message, checked, functions, how, seed, room)
    else:
        if checked.generation.words:
            _speak(message, checked, how, seed, room, default_tokens)
        if checked.generation.images:
            _draw(message, checked, how, seed, room)
    if how.stop:
        message.finish_reason = _FOREIGN.get(how.stop, how.stop.upper())
    if message.finish_reason in _UNSAID:
        message.parts = [part for part in message.parts if part.kind == "thought"]
        message.closing_signature = ""
    return message


def _think(message: Message, checked: Checked, how: Behaviour, seed: int, room: int) -> int:
    """Think; returns the characters of it, which count even when they are not shown."""
    generation = checked.generation
    if not generation.thinks:
        return 0
    wanted = how.thinking if how.thinking >= 0 else _THINKING_TOKENS
    if generation.thinking_budget >= 0:
        wanted = min(wanted, generation.thinking_budget)
    chars = min(wanted * text.CHARS_PER_TOKEN, room)
    message.thoughts_tokens = text.tokens(chars)
    if chars and generation.thoughts_shown:
        thought = text.passage(how.text, chars, seed + 1)
        message.parts.append(Part("thought", thought, chunks=text.piece_count(chars)))
    return chars


def _called(checked: Checked, how: Behaviour) -> list[Function]:
    """Return the functions to call."""
    tools = checked.tools
    offered = [one for one in tools.functions if not tools.allowed or one.name in tools.allowed]
    # A directive stays in the conversation; it is not meant for the turn that brings the results.
    last = checked.document["contents"][-1]
    unasked = bool(held(last, "function_response")) or not (how.tool or how.tool_bytes)
    if not offered or tools.mode == "NONE" or (tools.mode != "ANY" and unasked):
        return []
    chosen = next((one for one in offered if one.name == how.tool), offered[0])
    return [chosen] * max(1, how.tools)


def _call(message: Message, checked: Checked, functions: list[Function], how: Behaviour, seed: int, room: int) -> None:
    for index, function in enumerate(functions):
        source = how.tool_input or _arguments(function, how, seed, index)
        if len(source) > room:
            # The real one would break off; arguments that are whole are easier to compare.
            source = "{}"
        if len(source) > room:
            message.finish_reason = "MAX_TOKENS"
            return
        room -= len(source)
        part = Part("call", source, function.name)
        if checked.model.third:
            part.id = f"call_sim_{seed:016x}{index}"
        # Of parallel calls only the first is signed.
        if index == 0 and (checked.model.third or message.thoughts_tokens):
            part.signature = signature.issue(seed, index)
        message.parts.append(part)


def _arguments(function: Function, how: Behaviour, seed: int, index: int) -> str:
    value = sample({"type": "object"} | function.schema, seed % 1000 + index)
    if not isinstance(value, dict):
        # Arguments are an object, whatever the schema says.
        value = {}
    if how.tool_bytes:
        name = next((name for name, inner in value.items() if isinstance(inner, str)), "data")
        value[name] = text.passage(how.text, how.tool_bytes, seed)
    return msgspec.json.encode(value).decode()


def _speak(message: Message, checked: Checked, how: Behaviour, seed: int, room: int, default_tokens: int) -> None:
    wanted = how.tokens if how.tokens >= 0 else default_tokens + seed % (default_tokens + 1)
    said = how.say or _structured(checked, seed) or text.passage(how.text, wanted * text.CHARS_PER_TOKEN, seed)
    cuts = [said.find(stop) for stop in checked.generation.stop_sequences if stop in said]
    if cuts:
        said = said[: min(cuts)]
    if len(said) > room:
        said = said[:room]
        message.finish_reason = "MAX_TOKENS"
    if said:
        message.parts.append(Part("text", said, chunks=how.chunks or text.piece_count(len(said))))
        message.closing_signature = signature.issue(seed, 0) if checked.model.third else ""


def _draw(message: Message, checked: Checked, how: Behaviour, seed: int, room: int) -> None:
    """Add an image, if there is room for all of it."""
    if text.tokens(message.chars) + _IMAGE_TOKENS > room // text.CHARS_PER_TOKEN:
        message.finish_reason = "MAX_TOKENS"
        return
    part = Part("image", drawing.as_base64(seed, how.image_bytes))
    if checked.model.third:
        part.signature = signature.issue(seed, 1)
    message.parts.append(part)


def _structured(checked: Checked, seed: int) -> str:
    """Return JSON, or a bare value, that follows the request's schema; nothing when plain text is wanted."""
    generation = checked.generation
    if not generation.structured and not (generation.one_of and generation.schema):
        return ""
    schema: dict[str, Any] = generation.schema or {"type": "object", "properties": {"answer": {"type": "string"}}}
    value = sample(schema, seed % 1000)
    return str(value) if generation.one_of else msgspec.json.encode(value).decode()
