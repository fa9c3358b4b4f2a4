"""Counts a prompt, and gives the places in it that the automatic prompt cache can remember. Four characters a token."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator.cache import Position
from penstock_simulator.openai.sealed import SealError, unseal
from penstock_simulator.text import CHARS_PER_TOKEN, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock_simulator.openai.asked import Asked

# An image, a file or a recording counts as a fixed number of tokens, whatever its size.
_FIXED_TOKENS = {
    "image_url": 1_500,
    "input_image": 1_500,
    "computer_screenshot": 1_500,
    "file": 3_000,
    "input_file": 3_000,
    "input_audio": 1_500,
}
# The cache knows a prefix in steps of so many tokens.
_STEP_TOKENS = 128
_TEXTS = ("text", "refusal")

# Characters that a part of the prompt counts for; and what it is, a text or anything else.
Part = tuple[int, Any]


def _encoded(value: Any) -> Part:
    return len(msgspec.json.encode(value)), value


def _content(content: Any) -> Iterator[Part]:
    if isinstance(content, str):
        yield len(content), content
        return
    for part in content or ():
        fixed = _FIXED_TOKENS.get(part["type"])
        if fixed:
            yield fixed * CHARS_PER_TOKEN, part
        else:
            text = next((part[name] for name in _TEXTS if name in part), "")
            yield len(text), text


def chat_parts(document: dict[str, Any]) -> Iterator[Part]:
    """Yield the parts of a prompt of Chat Completions: tools, schema, messages."""
    for name in ("tools", "functions"):
        for tool in document.get(name) or ():
            yield _encoded(tool)
    schema = (document.get("response_format") or {}).get("json_schema")
    if schema is not None:
        yield _encoded(schema)
    for message in document["messages"]:
        # A role costs nothing, but tells prompts apart.
        yield 0, f"\n{message['role']}\n"
        yield from _content(message.get("content"))
        for call in message.get("tool_calls") or ():
            yield _encoded(call[call["type"]])
        if message.get("function_call"):
            yield _encoded(message["function_call"])


def responses_parts(asked: Asked, organization: str) -> Iterator[Part]:
    """Yield the parts of a prompt of Responses: tools, schema, instructions, items."""
    document = asked.document
    for tool in document.get("tools") or ():
        yield _encoded(tool)
    schema = ((document.get("text") or {}).get("format") or {}).get("schema")
    if schema is not None:
        yield _encoded(schema)
    if document.get("instructions"):
        yield len(document["instructions"]), document["instructions"]
    for item in asked.items:
        yield 0, f"\n{item.get('role', item['type'])}\n"
        yield from _item(item, organization)


def _item(item: dict[str, Any], organization: str) -> Iterator[Part]:
    match item["type"]:
        case "message":
            yield from _content(item["content"])
        case "function_call" | "custom_tool_call":
            said = item.get("arguments", item.get("input", ""))
            yield len(item["name"]) + len(said), f"{item['name']}{said}"
        case "function_call_output" | "custom_tool_call_output":
            yield from _content(item["output"])
        case "reasoning":
            yield _reasoning_chars(item, organization), item
        case _:
            yield _encoded(item)


def _reasoning_chars(item: dict[str, Any], organization: str) -> int:
    """Return what reasoning counts for: what it was, not the size of its encryption."""
    try:
        return unseal(organization, item.get("encrypted_content") or "") * CHARS_PER_TOKEN
    except SealError:
        return sum(len(part.get("text", "")) for part in item.get("summary") or ())


def count(parts: list[Part]) -> int:
    """Return the whole input in tokens; at least 1."""
    return max(1, tokens(sum(size for size, _ in parts)))


def positions(parts: list[Part], model: str, minimum: int, ttl: int) -> list[Position]:
    """Return the places of a prompt from `minimum` tokens on, every 128 tokens, each to be remembered for `ttl`."""
    digest = hashlib.sha256(model.encode())
    result: list[Position] = []
    total = 0
    step = _STEP_TOKENS * CHARS_PER_TOKEN
    next_mark = minimum * CHARS_PER_TOKEN
    for size, part in parts:
        if not isinstance(part, str) or size != len(part):
            # This one cannot be cut: marks within it fall away.
            digest.update(part.encode() if isinstance(part, str) else msgspec.json.encode(part))
            total += size
            if total > next_mark:
                next_mark += -(-(total - next_mark) // step) * step
            continue
        start = 0
        while total + size - start >= next_mark:
            end = start + next_mark - total
            digest.update(part[start:end].encode("utf-8", "surrogatepass"))
            total, start = next_mark, end
            result.append(Position(digest.copy().digest(), total // CHARS_PER_TOKEN, ttl))
            next_mark += step
        digest.update(part[start:].encode("utf-8", "surrogatepass"))
        total += size - start
    return result


def last_user_text(document: Any) -> str:
    """Return the text of the last user message as far as there is one, however broken the rest is."""
    if not isinstance(document, dict):
        return ""
    turns = document.get("messages", document.get("input"))
    if isinstance(turns, str):
        return turns
    if not isinstance(turns, list):
        return ""
    for turn in reversed(turns):
        if isinstance(turn, str):
            # Embeddings: a list of texts.
            return turn
        if isinstance(turn, dict) and turn.get("role") == "user":
            content = turn.get("content")
            if isinstance(content, str):
                return content
            if isinstance(content, list):
                texts = [part.get("text") for part in content if isinstance(part, dict)]
                if any(isinstance(text, str) for text in texts):
                    return "\n".join(text for text in texts if isinstance(text, str))
    return ""
