"""What clients of each dialect send and what they read back, in raw JSON: for tests that go through all of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

DIALECTS = ("anthropic", "openai_chat", "openai_responses", "gemini")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

Json = dict[str, Any]


@dataclass
class Said:
    """An answer as a client of its dialect understands it."""

    text: str = ""
    calls: list[Json] = field(default_factory=list)
    """Tool calls: id, name, input."""
    stop: str = ""
    """stop, length, tool, refusal, or "" for a stream without a proper end."""
    usage: tuple[int, int] | None = None
    """Whole input and whole output."""
    error: str = ""
    turn: Any = None
    """The assistant's turn as the client sends it back (None for streams)."""


def path(dialect: str, model: str, *, stream: bool = False) -> str:
    """Return the path that this dialect's client calls."""
    if dialect == "gemini":
        return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
    return {"anthropic": "/v1/messages", "openai_chat": "/v1/chat/completions", "openai_responses": "/v1/responses"}[
        dialect
    ]


def headers(dialect: str, key: str) -> dict[str, str]:
    """Return the headers that carry the key."""
    if dialect == "gemini":
        return {"x-goog-api-key": key}
    return {"x-api-key": key} if dialect == "anthropic" else {"authorization": f"Bearer {key}"}


def request(
    dialect: str, model: str, prompt: str, *, stream: bool = False, tools: bool = False, most: int = 512
) -> Json:
    """Return a request's body."""
    return _complete(dialect, model, [_user(dialect, prompt)], stream=stream, tools=tools, most=most)


def second_turn(dialect: str, model: str, prompt: str, said: Said, result: str, *, stream: bool = False) -> Json:
    """Return the request that follows a tool call: the whole conversation with the tool's result."""
    turns = [_user(dialect, prompt)]
    turns += said.turn if isinstance(said.turn, list) else [said.turn]
    turns += _results(dialect, said.calls, result)
    return _complete(dialect, model, turns, stream=stream, tools=True, most=512)


def _user(dialect: str, prompt: str) -> Json:
    if dialect == "gemini":
        return {"role": "user", "parts": [{"text": prompt}]}
    return {"role": "user", "content": prompt}


def _results(dialect: str, calls: list[Json], result: str) -> list[Json]:
    match dialect:
        case "anthropic":
            return [
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": c["id"], "content": result} for c in calls],
                }
            ]
        case "openai_chat":
            return [{"role": "tool", "tool_call_id": c["id"], "content": result} for c in calls]
        case "openai_responses":
            return [{"type": "function_call_output", "call_id": c["id"], "output": result} for c in calls]
        case _:
            parts = [{"functionResponse": {"name": c["name"], "response": {"result": result}}} for c in calls]
            return [{"role": "user", "parts": parts}]


def _complete(dialect: str, model: str, turns: list[Json], *, stream: bool, tools: bool, most: int) -> Json:
    about = {"name": "weather", "description": "The weather of a city"}
    match dialect:
        case "anthropic":
            body: Json = {"model": model, "max_tokens": most, "messages": turns, "stream": stream}
            if tools:
                body["tools"] = [about | {"input_schema": SCHEMA}]
        case "openai_chat":
            body = {"model": model, "max_completion_tokens": most, "messages": turns, "stream": stream}
            if stream:
                body["stream_options"] = {"include_usage": True}
            if tools:
                body["tools"] = [{"type": "function", "function": about | {"parameters": SCHEMA}}]
        case "openai_responses":
            body = {"model": model, "max_output_tokens": most, "input": turns, "stream": stream, "store": False}
            body["include"] = ["reasoning.encrypted_content"]
            if tools:
                body["tools"] = [{"type": "function", **about, "parameters": SCHEMA}]
        case _:
            body = {"contents": turns, "generationConfig": {"maxOutputTokens": most}}
            if tools:
                body["tools"] = [{"functionDeclarations": [about | {"parameters": SCHEMA}]}]
    return body


_STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool",
    "refusal": "refusal",
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool",
    "content_filter": "refusal",
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "refusal",
}


def read(dialect: str, body: bytes) -> Said:
    """Read a unary answer."""
    document = json.loads(body)
    if document.get("error"):
        return Said(error=document["error"]["message"])
    return {
        "anthropic": _message,
        "openai_chat": _completion,
        "openai_responses": _response,
        "gemini": lambda one: _chunks([one]),
    }[dialect](document)


def read_stream(dialect: str, body: bytes) -> Said:
    """Read a whole stream."""
    events = [
        b"\n".join(line[5:].strip() for line in re.split(rb"\r\n|\n|\r", raw) if line.startswith(b"data:"))
        for raw in re.split(rb"\r\n\r\n|\n\n", body)
    ]
    events = [data for data in events if data]
    done = bool(events) and events[-1] == b"[DONE]"
    documents = [json.loads(data) for data in events if data != b"[DONE]"]
    match dialect:
        case "anthropic":
            return _messages_stream(documents)
        case "openai_chat":
            said = _chat_stream(documents)
            if not done:
                said.stop = ""
            return said
        case "openai_responses":
            return _responses_stream(documents)
        case _:
            return _chunks(documents)


def _message(message: Json) -> Said:
    blocks = message["content"]
    usage = message["usage"]
    return Said(
        "".join(b["text"] for b in blocks if b["type"] == "text"),
        [{"id": b["id"], "name": b["name"], "input": b["input"]} for b in blocks if b["type"] == "tool_use"],
        _STOPS[message["stop_reason"]],
        (_whole(usage), usage["output_tokens"]),
        turn={"role": "assistant", "content": blocks},
    )


def _whole(usage: Json) -> int:
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(usage.get(name) or 0 for name in names)


def _messages_stream(events: list[Json]) -> Said:
    said, usage, inputs = Said(), {}, {}
    for event in events:
        match event["type"]:
            case "message_start":
                usage |= event["message"]["usage"]
            case "content_block_start" if event["content_block"]["type"] == "tool_use":
                block = event["content_block"]
                said.calls.append({"id": block["id"], "name": block["name"], "input": {}})
                inputs[event["index"]] = ""
            case "content_block_delta":
                said.text += event["delta"].get("text", "")
                if event["index"] in inputs:
                    inputs[event["index"]] += event["delta"].get("partial_json", "")
            case "message_delta":
                said.stop = _STOPS[event["delta"]["stop_reason"]]
                usage |= {name: value for name, value in event["usage"].items() if value is not None}
            case "error":
                said.error, said.stop = event["error"]["message"], ""
    for call, text in zip(said.calls, inputs.values(), strict=True):
        call["input"] = json.loads(text or "{}")
    if not events or events[-1]["type"] != "message_stop":
        said.stop = ""
    said.usage = (_whole(usage), usage.get("output_tokens", 0))
    return said


def _completion(completion: Json) -> Said:
    (choice,) = completion["choices"]
    message, usage = choice["message"], completion["usage"]
    calls = [
        {"id": c["id"], "name": c["function"]["name"], "input": json.loads(c["function"]["arguments"])}
        for c in message.get("tool_calls") or []
    ]
    return Said(
        message["content"] or "",
        calls,
        _STOPS[choice["finish_reason"]],
        (usage["prompt_tokens"], usage["completion_tokens"]),
        turn=message,
    )


def _chat_stream(chunks: list[Json]) -> Said:
    said, parts = Said(), {}
    for chunk in chunks:
        if chunk.get("error"):
            said.error, said.stop = chunk["error"]["message"], ""
            break
        for choice in chunk["choices"]:
            said.text += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls") or []:
                known = parts.setdefault(call["index"], {"id": "", "name": "", "text": ""})
                known["id"] = call.get("id") or known["id"]
                known["name"] = call["function"].get("name") or known["name"]
                known["text"] += call["function"].get("arguments") or ""
            said.stop = _STOPS[choice["finish_reason"]] if choice["finish_reason"] else said.stop
        if chunk.get("usage"):
            said.usage = (chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"])
    assert list(parts) == list(range(len(parts))), "indexes of tool calls count from 0"
    said.calls = [{"id": p["id"], "name": p["name"], "input": json.loads(p["text"] or "{}")} for p in parts.values()]
    return said


def _response(response: Json) -> Said:
    output = response["output"]
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    calls = [
        {"id": i["call_id"], "name": i["name"], "input": json.loads(i["arguments"])}
        for i in output
        if i["type"] == "function_call"
    ]
    reason = (response.get("incomplete_details") or {}).get("reason")
    stop = {"max_output_tokens": "length", "content_filter": "refusal"}.get(reason or "", "tool" if calls else "stop")
    if response["status"] == "failed":
        return Said(error=response["error"]["message"])
    usage = response["usage"]
    text = "".join(part.get("text", "") for part in parts)
    return Said(text, calls, stop, (usage["input_tokens"], usage["output_tokens"]), turn=output)


def _responses_stream(events: list[Json]) -> Said:
    numbers = [event["sequence_number"] for event in events if "sequence_number" in event]
    assert numbers == sorted(numbers)
    last = events[-1]
    if last["type"] in {"response.completed", "response.incomplete"}:
        said = _response(last["response"])
        assert said.text == "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
        return said
    failed = next((e for e in events if e["type"] in {"error", "response.failed"}), None)
    text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    if failed is None:
        return Said(text)
    return Said(text, error=failed.get("message") or failed["response"]["error"]["message"])


def _chunks(chunks: list[Json]) -> Said:
    said = Said(turn={"role": "model", "parts": []})
    for chunk in chunks:
        if chunk.get("error"):
            said.error, said.stop = chunk["error"]["message"], ""
            break
        for candidate in chunk.get("candidates", ()):
            for part in (candidate.get("content") or {}).get("parts") or ():
                said.turn["parts"].append(part)
                said.text += "" if part.get("thought") else part.get("text", "")
                if "functionCall" in part:
                    call = part["functionCall"]
                    said.calls.append({"id": call.get("id"), "name": call["name"], "input": call.get("args", {})})
            said.stop = _STOPS.get(candidate.get("finishReason", ""), said.stop)
        if "usageMetadata" in chunk:
            usage = chunk["usageMetadata"]
            output = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
            said.usage = (usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0), output)
    if said.calls and said.stop == "stop":
        said.stop = "tool"
    return said
