"""Composes an answer: which blocks, how long, why it stops. The same seed and request give the same text. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator import text
from penstock_simulator.anthropic import signature
from penstock_simulator.sample import sample

if TYPE_CHECKING:
    from penstock_simulator.anthropic.check import Checked
    from penstock_simulator.behaviour import Behaviour

_THINKING_TOKENS = 32


@dataclass(slots=True)
class Block:
    """One content block."""

    kind: str
    """thinking, text or tool_use."""
    text: str
    """Thinking, text, or the JSON of a tool's input."""
    id: str = ""
    name: str = ""
    signature: str = ""
    chars: int = 0
    """Output characters that count; of thinking that is not shown too."""
    chunks: int = 1

    def whole(self) -> dict[str, Any]:
        """Return the block of a unary answer."""
        if self.kind == "text":
            return {"type": "text", "text": self.text}
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": self.text, "signature": self.signature}
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": msgspec.Raw(self.text.encode())}


@dataclass(slots=True)
class Message:
    """An answer before it takes a shape on the wire."""

    id: str
    model: str
    blocks: list[Block] = field(default_factory=list)
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    chars: int = 0
    thinking_tokens: int = 0

    @property
    def output_tokens(self) -> int:
        """The truth about the output."""
        return text.tokens(self.chars)


def compose(checked: Checked, how: Behaviour, *, identity: str, seed: int, default_tokens: int) -> Message:
    """Return the answer to a request."""
    message = Message(f"msg_sim_{identity}", checked.model.name)
    # Output is bounded in characters, so that the tokens counted never exceed max_tokens.
    room = checked.max_tokens * text.CHARS_PER_TOKEN
    if room:
        room -= _think(message, checked, how, seed, room)
    calls = _calls(checked, how)
    if calls and room:
        _call(message, calls, how, seed, room)
    else:
        _speak(message, checked, how, seed, room, default_tokens)
    message.chars = sum(block.chars for block in message.blocks)
    if how.stop:
        message.stop_reason = how.stop
    return message


def _think(message: Message, checked: Checked, how: Behaviour, seed: int, room: int) -> int:
    if checked.thinking == "disabled" or how.thinking == 0:
        return 0
    wanted = (how.thinking if how.thinking > 0 else _THINKING_TOKENS) * text.CHARS_PER_TOKEN
    if checked.thinking_budget:
        wanted = min(wanted, checked.thinking_budget * text.CHARS_PER_TOKEN)
    # At least one token is left for the answer.
    wanted = min(wanted, room - text.CHARS_PER_TOKEN)
    if wanted <= 0:
        return 0
    thought = text.passage(how.text, wanted, seed + 1)
    shown = thought if checked.thinking_shown else ""
    pieces = text.piece_count(len(shown))
    message.blocks.append(
        Block("thinking", shown, signature=signature.issue(thought), chars=len(thought), chunks=pieces)
    )
    message.thinking_tokens = text.tokens(wanted)
    return wanted


def _calls(checked: Checked, how: Behaviour) -> list[dict[str, Any]]:
    """Return the tools to call."""
    choice = checked.tool_choice or {"type": "auto"}
    named = [tool for tool in checked.tools if tool.get("type", "custom") in {None, "custom"}]
    if not named or choice["type"] == "none" or (choice["type"] == "auto" and not how.tool and not how.tool_bytes):
        return []
    wanted = choice["name"] if choice["type"] == "tool" else how.tool
    chosen = next((tool for tool in named if tool["name"] == wanted), named[0])
    return [chosen] * (1 if choice.get("disable_parallel_tool_use") else max(1, how.tools))


def _call(message: Message, calls: list[dict[str, Any]], how: Behaviour, seed: int, room: int) -> None:
    message.stop_reason = "tool_use"
    for index, tool in enumerate(calls):
        source = how.tool_input or _input(tool, how, seed, index)
        if len(source) > room:
            # The real one would stop in the middle of the input; an input that is whole is easier to compare.
            source = "{}"
        if len(source) > room:
            return
        room -= len(source)
        chunks = how.chunks or text.piece_count(len(source))
        block = Block(
            "tool_use", source, f"toolu_sim_{seed:016x}{index}", tool["name"], chars=len(source), chunks=chunks
        )
        message.blocks.append(block)


def _input(tool: dict[str, Any], how: Behaviour, seed: int, index: int) -> str:
    value = sample(tool["input_schema"], seed % 1000 + index)
    if how.tool_bytes:
        _enlarge(value, how, seed)
    return msgspec.json.encode(value).decode()


def _enlarge(value: dict[str, Any], how: Behaviour, seed: int) -> None:
    name = next((name for name, inner in value.items() if isinstance(inner, str)), "data")
    value[name] = text.passage(how.text, how.tool_bytes, seed)


def _speak(message: Message, checked: Checked, how: Behaviour, seed: int, room: int, default_tokens: int) -> None:
    wanted = how.tokens if how.tokens >= 0 else default_tokens + seed % (default_tokens + 1)
    said = how.say or text.passage(how.text, wanted * text.CHARS_PER_TOKEN, seed)
    if checked.schema is not None and not how.say:
        said = msgspec.json.encode(sample(checked.schema, seed % 1000)).decode()
    cuts = [(said.find(stop), stop) for stop in checked.stop_sequences if stop in said]
    if cuts:
        at, message.stop_sequence = min(cuts)
        message.stop_reason = "stop_sequence"
        said = said[:at]
    if len(said) > room:
        said = said[:room]
        message.stop_reason, message.stop_sequence = "max_tokens", None
    if said:
        message.blocks.append(Block("text", said, chars=len(said), chunks=how.chunks or text.piece_count(len(said))))
