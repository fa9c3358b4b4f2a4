"""Conversations of several shapes as requests in all four wire formats, as real clients write them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]

WIRES = ("messages", "chat", "responses", "generate")
NAME = "weather"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "A city's name"}}}
ABOUT = {"name": NAME, "description": "Tells the weather of a city."}
SYSTEM = "You are a terse assistant. Call the tool for every question about the weather."


@dataclass(frozen=True)
class Turn:
    """What one side says: the user, the assistant, or a tool whose call was the newest one."""

    role: Literal["user", "assistant", "tool"]
    texts: tuple[str, ...]
    call: str = ""
    """The id of the tool call that the assistant makes or the tool answers."""


def small() -> list[Turn]:
    """Return a conversation that makes a request of about 1 KB."""
    return [
        Turn("user", ("What is the weather in Lisbon, and should I take a coat for an evening by the river there?",)),
        Turn("assistant", ("I will look.",), "call_0001"),
        Turn("tool", ('{"sky":"clear","celsius":17,"wind":"north-west, 24 km/h, gusts to 40 km/h after sunset"}',)),
        Turn("assistant", ("It is 17 degrees and windy by the river, so a light coat is a good idea.",)),
        Turn("user", ("And in Porto? Answer as before, in one sentence, and compare the two cities in a second one.",)),
    ]


def text(number: int, size: int) -> str:
    """Return words of `size` characters that occur once."""
    return f"{number} Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod. ".ljust(size, "x")


def blocks(size: int) -> list[Turn]:
    """Return a conversation of about `size` bytes in nine messages, in blocks of 250 with what stands around them."""
    each = size // 250 // 9
    return [
        Turn("assistant" if place % 2 else "user", tuple(text(place * each + number, 200) for number in range(each)))
        for place in range(9)
    ]


def messages(size: int) -> list[Turn]:
    """Return a conversation of about `size` bytes in messages of 250."""
    count = size // 250 // 2 * 2 + 1
    return [Turn("assistant" if number % 2 else "user", (text(number, 190),)) for number in range(count)]


def tool_turns(size: int) -> list[Turn]:
    """Return a conversation of about `size` bytes in which every answer calls a tool, as agents' do."""
    turns = [Turn("user", (text(0, 200),))]
    for number in range(size // 500):
        call = f"call_{number:04}"
        turns += (Turn("assistant", (text(number, 120),), call), Turn("tool", (text(number, 150),), call))
    return turns


def request(wire: str, model: str, turns: list[Turn], *, streamed: bool) -> bytes:
    """Return a client's request in the dialect of a wire format."""
    match wire:
        case "messages":
            body: Json = {"model": model, "max_tokens": 512, "stream": streamed}
            body["system"] = [{"type": "text", "text": SYSTEM}]
            body["tools"] = [ABOUT | {"input_schema": SCHEMA}]
            body["messages"] = [_message(turn) for turn in turns]
        case "chat":
            body = {"model": model, "max_completion_tokens": 512, "stream": streamed}
            if streamed:
                body["stream_options"] = {"include_usage": True}
            body["tools"] = [{"type": "function", "function": ABOUT | {"parameters": SCHEMA}}]
            body["messages"] = [{"role": "system", "content": SYSTEM}, *map(_chat_message, turns)]
        case "responses":
            body = {
                "model": model,
                "max_output_tokens": 512,
                "stream": streamed,
                "store": False,
                "instructions": SYSTEM,
            }
            body["tools"] = [{"type": "function", **ABOUT, "parameters": SCHEMA}]
            body["input"] = [item for turn in turns for item in _items(turn)]
        case _:
            body = {"systemInstruction": {"parts": [{"text": SYSTEM}]}, "generationConfig": {"maxOutputTokens": 512}}
            body["tools"] = [{"functionDeclarations": [ABOUT | {"parameters": SCHEMA}]}]
            body["contents"] = [_content(turn) for turn in turns]
    return compact(body)


def _call(turn: Turn) -> str:
    return turn.call or "call_0001"


def _message(turn: Turn) -> Json:
    if turn.role == "tool":
        result = {"type": "tool_result", "tool_use_id": _call(turn), "content": turn.texts[0]}
        return {"role": "user", "content": [result]}
    content: list[Json] = [{"type": "text", "text": said} for said in turn.texts]
    if turn.call:
        content.append({"type": "tool_use", "id": turn.call, "name": NAME, "input": {"city": "Lisbon"}})
    return {"role": turn.role, "content": content}


def _chat_message(turn: Turn) -> Json:
    if turn.role == "tool":
        return {"role": "tool", "tool_call_id": _call(turn), "content": turn.texts[0]}
    parts = [{"type": "text", "text": said} for said in turn.texts]
    message: Json = {"role": turn.role, "content": turn.texts[0] if len(parts) == 1 else parts}
    if turn.call:
        function = {"name": NAME, "arguments": '{"city":"Lisbon"}'}
        message["tool_calls"] = [{"id": turn.call, "type": "function", "function": function}]
    return message


def _items(turn: Turn) -> list[Json]:
    if turn.role == "tool":
        return [{"type": "function_call_output", "call_id": _call(turn), "output": turn.texts[0]}]
    kind = "output_text" if turn.role == "assistant" else "input_text"
    content = [{"type": kind, "text": said} for said in turn.texts]
    items: list[Json] = [{"type": "message", "role": turn.role, "content": content}]
    if turn.call:
        call = {"type": "function_call", "call_id": turn.call, "name": NAME, "arguments": '{"city":"Lisbon"}'}
        items.append(call)
    return items


def _content(turn: Turn) -> Json:
    if turn.role == "tool":
        result = {"name": NAME, "response": {"result": turn.texts[0]}}
        return {"role": "user", "parts": [{"functionResponse": result}]}
    parts: list[Json] = [{"text": said} for said in turn.texts]
    if turn.call:
        parts.append({"functionCall": {"name": NAME, "args": {"city": "Lisbon"}}})
    return {"role": "model" if turn.role == "assistant" else "user", "parts": parts}


def compact(document: Json) -> bytes:
    """Return JSON without white space."""
    return json.dumps(document, separators=(",", ":")).encode()
