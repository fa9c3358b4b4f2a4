"""Composes an answer: reasoning, text or calls, and why it stops. The same seed and request give the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator import text
from penstock_simulator.openai import identities
from penstock_simulator.openai.asked import WEB_SEARCH
from penstock_simulator.sample import sample

if TYPE_CHECKING:
    from penstock_simulator.behaviour import Behaviour
    from penstock_simulator.openai.asked import Asked, Tool

_REASONING_TOKENS = {"minimal": 8, "low": 16, "medium": 32, "high": 64, "xhigh": 128, "max": 256}
_REFUSAL = "I'm sorry, but I can't help with that."
# What the other formats call it.
_STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "tool_use": "tool_calls",
}


@dataclass(slots=True)
class ToolCall:
    """One call of a tool."""

    id: str
    tool: Tool
    source: str
    """Its arguments as JSON, or a custom tool's input."""
    chunks: int = 1


@dataclass(slots=True)
class Reply:
    """An answer before it takes a shape on the wire."""

    reasoning: str = ""
    text: str = ""
    refusal: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    search: str = ""
    """What was searched for on the web."""
    stop: str = "stop"
    """stop, length, tool_calls, content_filter, failed, or what a directive says."""
    chunks: int = 1
    """Deltas of the text or the refusal."""

    @property
    def reasoning_tokens(self) -> int:
        """The truth about the reasoning."""
        return text.tokens(len(self.reasoning))

    @property
    def chars(self) -> int:
        """All output, reasoning included."""
        said = len(self.reasoning) + len(self.text) + len(self.refusal)
        return said + sum(len(call.source) for call in self.calls)

    @property
    def output_tokens(self) -> int:
        """The truth about the output."""
        return text.tokens(self.chars)


def compose(asked: Asked, how: Behaviour, *, identity: str, seed: int, default_tokens: int) -> Reply:
    """Return the answer to a request, or one of several choices."""
    reply = Reply()
    # Output is bounded in characters, so that the tokens counted never exceed what is allowed.
    room = asked.max_tokens * text.CHARS_PER_TOKEN
    # Unlike Anthropic's, this reasoning may use up everything.
    reply.reasoning = text.passage(how.text, min(_reasoning(asked, how) * text.CHARS_PER_TOKEN, room), seed + 1)
    room -= len(reply.reasoning)
    calls = _calls(asked, how)
    if calls and calls[0].kind == WEB_SEARCH:
        reply.search = f"value {seed % 100}"
        calls = []
    if calls:
        _call(reply, calls, how, identity, seed, room)
    elif how.stop == "refusal":
        reply.refusal = (how.say or _REFUSAL)[:room]
    else:
        _speak(reply, asked, how, seed, room, default_tokens)
    said = len(reply.text) + len(reply.refusal)
    reply.chunks = how.chunks or text.piece_count(said)
    if how.stop and how.stop != "refusal":
        reply.stop = _STOPS.get(how.stop, how.stop)
    return reply


def _reasoning(asked: Asked, how: Behaviour) -> int:
    """Return how many tokens of reasoning there are to be."""
    if asked.model.free:
        return max(0, how.thinking)
    if asked.effort == "none":
        return 0
    return how.thinking if how.thinking >= 0 else _REASONING_TOKENS[asked.effort]


def _calls(asked: Asked, how: Behaviour) -> list[Tool]:
    """Return the tools to call. A directive does not call again what has just been answered."""
    directed = (how.tool or how.tool_bytes or how.tool_input) and not asked.answered
    if asked.choice == "none" or (asked.choice == "auto" and not directed):
        return []
    # Unless it is named, a search is nothing that needs to be called.
    searches = how.tool.startswith(WEB_SEARCH) or all(tool.kind == WEB_SEARCH for tool in asked.tools)
    able = [tool for tool in asked.tools if searches or tool.kind != WEB_SEARCH]
    if not able:
        return []
    named = (tool for tool in able if how.tool in {tool.name, f"{tool.namespace}.{tool.name}"})
    chosen = next(named, next((tool for tool in able if searches and tool.kind == WEB_SEARCH), able[0]))
    return [chosen] * (max(1, how.tools) if asked.parallel else 1)


def _call(reply: Reply, calls: list[Tool], how: Behaviour, identity: str, seed: int, room: int) -> None:
    reply.stop = "tool_calls"
    for index, tool in enumerate(calls):
        source = _source(tool, how, seed, index)
        if len(source) > room:
            # Like the real one it stops in the middle of the arguments.
            source, reply.stop = source[:room], "length"
        room -= len(source)
        chunks = how.chunks or text.piece_count(len(source))
        reply.calls.append(ToolCall(identities.call_id(identity, index), tool, source, chunks))
        if reply.stop == "length":
            return


def _source(tool: Tool, how: Behaviour, seed: int, index: int) -> str:
    if tool.kind == "custom":
        return how.say or text.passage(how.text, how.tool_bytes or 48, seed + index)
    if how.tool_input:
        return how.tool_input
    value: Any = sample(tool.schema, seed % 1000 + index) if tool.schema else {}
    if how.tool_bytes and isinstance(value, dict):
        name = next((name for name, inner in value.items() if isinstance(inner, str)), "data")
        value[name] = text.passage(how.text, how.tool_bytes, seed)
    return msgspec.json.encode(value).decode()


def _speak(reply: Reply, asked: Asked, how: Behaviour, seed: int, room: int, default_tokens: int) -> None:
    wanted = how.tokens if how.tokens >= 0 else default_tokens + seed % (default_tokens + 1)
    said = how.say or text.passage(how.text, wanted * text.CHARS_PER_TOKEN, seed)
    if not how.say and (asked.schema is not None or asked.json):
        value = {"answer": said} if asked.schema is None else sample(asked.schema, seed % 1000)
        said = msgspec.json.encode(value).decode()
    cuts = [said.find(stop) for stop in asked.stops if stop in said]
    if cuts:
        said = said[: min(cuts)]
    if len(said) > room:
        said, reply.stop = said[:room], "length"
    reply.text = said
