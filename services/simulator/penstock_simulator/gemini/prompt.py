"""Counts a prompt, and gives the places in it that implicit caching can remember. Four characters are a token."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator.cache import Position
from penstock_simulator.text import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

# An image, or anything else that is not text, counts as a fixed number of tokens, whatever its size.
IMAGE_TOKENS = 1_500
DOCUMENT_TOKENS = 3_000
_REMEMBERED_SECONDS = 300
_MODALITIES = {"image": "IMAGE", "audio": "AUDIO", "video": "VIDEO"}


def _media(part: dict[str, Any]) -> tuple[str, int] | None:
    """Return the modality and the tokens of a part that is not text."""
    held = part.get("inline_data") or part.get("file_data")
    if held is None:
        return None
    modality = _MODALITIES.get(held.get("mime_type", "").partition("/")[0], "DOCUMENT")
    return modality, IMAGE_TOKENS if modality == "IMAGE" else DOCUMENT_TOKENS


def _chars(part: dict[str, Any]) -> int:
    """Return the characters that a part of text, or of JSON, counts for."""
    if "text" in part:
        return len(part["text"])
    if "function_response" in part:
        return len(msgspec.json.encode({name: part["function_response"].get(name) for name in ("name", "response")}))
    return sum(len(msgspec.json.encode(part[name])) for name in ("function_call", "executable_code") if name in part)


def _parts(document: dict[str, Any]) -> Iterator[tuple[Any, str, int]]:
    """Yield (the part itself, modality, characters or tokens) in the order of the prompt: tools, system, contents."""
    for tool in document.get("tools", ()):
        yield tool, "TEXT", len(msgspec.json.encode(tool))
    for content in (document.get("system_instruction", {}), *document.get("contents", ())):
        for part in content.get("parts", ()):
            media = _media(part)
            yield (content.get("role"), part), *(media or ("TEXT", _chars(part)))


def count(document: dict[str, Any]) -> Counter[str]:
    """Return the tokens of each modality; at least 1 in all."""
    found: Counter[str] = Counter()
    for _, modality, size in _parts(document):
        found[modality] += size
    found["TEXT"] = tokens(found["TEXT"])
    if not +found:
        found["TEXT"] = 1
    return +found


def positions(document: dict[str, Any], model: str) -> list[Position]:
    """Return the end of every part of the prompt: each may be where the next prompt goes another way."""
    digest = hashlib.sha256(model.encode())
    result = []
    chars = others = 0
    for part, modality, size in _parts(document):
        digest.update(msgspec.json.encode(part))
        if modality == "TEXT":
            chars += size
        else:
            others += size
        result.append(Position(digest.digest(), tokens(chars) + others, _REMEMBERED_SECONDS))
    return result


def last_user_text(document: Any) -> str:
    """Return the text of the last words of the user, however broken the rest is."""
    if not isinstance(document, dict):
        return ""
    for name in ("generateContentRequest", "generate_content_request", "requests"):
        if document.get(name):
            return last_user_text(_listed(document[name])[-1])
    contents = _listed(document.get("contents", document.get("content")))
    for content in reversed(contents):
        if isinstance(content, dict) and content.get("role") in ("user", None, ""):
            texts = [part.get("text") for part in _listed(content.get("parts")) if isinstance(part, dict)]
            said = [text for text in texts if isinstance(text, str)]
            if said:
                return "\n".join(said)
    return ""


def _listed(value: Any) -> list[Any]:
    """Return a list; a value that stands alone is one of one."""
    return value if isinstance(value, list) else [value]
