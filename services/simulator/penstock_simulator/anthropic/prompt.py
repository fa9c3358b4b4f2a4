"""Counts a prompt, and gives the places in it that a prompt cache can remember. Four characters are a token."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator.cache import Position
from penstock_simulator.text import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock_simulator.anthropic.check import Checked

# An image or a document counts as a fixed number of tokens, whatever its size.
IMAGE_CHARS = 1_500 * 4
DOCUMENT_CHARS = 3_000 * 4


def chars(block: dict[str, Any]) -> int:
    """Return the characters that a content block counts for."""
    match block.get("type"):
        case "text":
            return len(block["text"])
        case "image":
            return IMAGE_CHARS
        case "document":
            source = block["source"]
            return len(source["data"]) if source.get("type") == "text" else DOCUMENT_CHARS
        case "tool_result":
            content = block.get("content", "")
            return len(content) if isinstance(content, str) else sum(chars(inner) for inner in content)
        case "thinking":
            return len(block["thinking"])
    return len(msgspec.json.encode(block))


def _parts(document: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """Yield (characters, the part itself) in the order of the prompt: tools, system, messages."""
    for tool in document.get("tools") or ():
        yield len(msgspec.json.encode(tool)), tool
    system = document.get("system") or ()
    if isinstance(system, str):
        yield len(system), system
    else:
        for block in system:
            yield chars(block), block
    for message in document["messages"]:
        content = message["content"]
        if isinstance(content, str):
            yield len(content), content
        else:
            for block in content:
                yield chars(block), block


def count(document: dict[str, Any]) -> int:
    """Return the whole input in tokens; at least 1."""
    return max(1, tokens(sum(size for size, _ in _parts(document))))


def positions(checked: Checked) -> list[Position]:
    """Return the end of every part of the prompt up to the last cache mark."""
    digest = hashlib.sha256(checked.model.name.encode())
    result: list[Position] = []
    total = 0
    for size, part in _parts(checked.document):
        control = part.get("cache_control") if isinstance(part, dict) else None
        plain = {name: value for name, value in part.items() if name != "cache_control"} if control else part
        digest.update(msgspec.json.encode(plain))
        total += size
        result.append(Position(digest.digest(), tokens(total), _seconds(control)))
    top = checked.document.get("cache_control")
    if top is not None and result and not result[-1].ttl:
        result[-1] = result[-1]._replace(ttl=_seconds(top))
    last = max((index for index, position in enumerate(result) if position.ttl), default=-1)
    return result[: last + 1]


def _seconds(control: dict[str, Any] | None) -> int:
    if control is None:
        return 0
    return 3600 if control.get("ttl") == "1h" else 300


def last_user_text(document: dict[str, Any]) -> str:
    """Return the text of the last user message as far as there is one, however broken the rest is."""
    messages = document.get("messages")
    if not isinstance(messages, list):
        return ""
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            if isinstance(content, list):
                texts = [block.get("text") for block in content if isinstance(block, dict)]
                if any(isinstance(text, str) for text in texts):
                    return "\n".join(text for text in texts if isinstance(text, str))
    return ""
