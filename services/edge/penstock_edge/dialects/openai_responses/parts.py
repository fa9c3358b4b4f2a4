"""Reads the parts of a message or of a tool's result: texts, images, files."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from penstock_edge.dialects.openai_caching import BREAKPOINT, note_lifetime
from penstock_edge.dialects.openai_responses.refusal import dictionary, optional, refused, required, uncarriable

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.notes import Notes

# Tuples, because what is looked for may be of any type.
_TEXTS: Final = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_DETAILS: Final = (None, "auto")
# What is read below, and what upstreams write of how sure they were.
_READ: Final = frozenset(
    {
        "type",
        "text",
        "refusal",
        "image_url",
        "file_data",
        "file_url",
        "filename",
        "file_id",
        "detail",
        "annotations",
        "logprobs",
        BREAKPOINT,
    }
)


def plain_blocks(content: Any) -> list[Json] | None:
    """Return the blocks of content that is one mere text; None for anything that needs a closer look."""
    if type(content) is list and len(content) == 1:
        part = content[0]
        if type(part) is not dict or len(part) != 2 or part.get("type") not in _TEXTS:
            return None
        text = part.get("text")
        if type(text) is not str or not text:
            return None
        # With its canonical name it is a canonical block already.
        part["type"] = "text"
        return content
    return [{"type": "text", "text": content}] if type(content) is str and content else None


def blocks(content: Any, where: str, ignored: Notes) -> list[Json]:
    """Return the content blocks of a text or a list of parts; empty texts are left out. Raises ProblemError."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        raise refused(where, "field required" if content is None else "Input should be a valid list")
    found: list[Json] = []
    for index, part in enumerate(content):
        if isinstance(part, dict) and len(part) == 2 and part.get("type") in _TEXTS:
            # By far the most are mere texts.
            text = part.get("text")
            if isinstance(text, str):
                if text:
                    found.append({"type": "text", "text": text})
                continue
        block = _block(dictionary(part, f"{where}.{index}"), f"{where}.{index}", ignored)
        if block is not None:
            found.append(block)
    return found


def _block(part: Json, where: str, ignored: Notes) -> Json | None:
    kind = required(part, "type", str, where)
    if kind in _TEXTS:
        text = required(part, "text", str, where)
        if part.get("annotations"):
            ignored.once("output_text.annotations")
        block: Json | None = {"type": "text", "text": text} if text else None
    elif kind == "refusal":
        text = required(part, "refusal", str, where)
        block = {"type": "text", "text": text} if text else None
    elif kind == "input_image":
        block = _image(part, where, ignored)
    elif kind == "input_file":
        block = _file(part, where, ignored)
    else:
        raise uncarriable(f"{where}.type", f"content of the type {kind[:64]}")
    if block is not None and part.get(BREAKPOINT) is not None:
        block["cache_control"] = {"type": "ephemeral"}
        note_lifetime(part, ignored.once)
    for name in part.keys() - _READ:
        if part[name]:
            ignored.once(f"{kind}.{name[:64]}")
    return block


def _image(part: Json, where: str, ignored: Notes) -> Json:
    if part.get("file_id") is not None:
        raise uncarriable(f"{where}.file_id", "a file of another provider")
    if part.get("detail") not in _DETAILS:
        ignored.once("input_image.detail")
    url = required(part, "image_url", str, where)
    if not url.startswith("data:"):
        return {"type": "image", "source": _link(url, f"{where}.image_url")}
    media_type, data = _inline(url, f"{where}.image_url")
    if media_type == "image/jpg":
        # So it is often written, and OpenAI reads it.
        media_type = "image/jpeg"
    if media_type not in _IMAGES:
        raise refused(f"{where}.image_url", "an image should be JPEG, PNG, GIF or WebP")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def _file(part: Json, where: str, ignored: Notes) -> Json:
    if part.get("file_id") is not None:
        raise uncarriable(f"{where}.file_id", "a file of another provider")
    if part.get("detail") not in _DETAILS:
        ignored.once("input_file.detail")
    name = optional(part, "filename", str, where)
    url = optional(part, "file_url", str, where)
    if url is not None:
        source: Json = _link(url, f"{where}.file_url")
    else:
        source = _document(required(part, "file_data", str, where), f"{where}.file_data")
    block: Json = {"type": "document", "source": source}
    if name:
        block["title"] = name
    return block


def _document(given: str, where: str) -> Json:
    # Without a media type it is a PDF: for long the only kind of file that could be sent.
    media_type, data = _inline(given, where) if given.startswith("data:") else ("application/pdf", given)
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": data}
    if media_type.startswith("text/") or media_type == "application/json":
        return {"type": "text", "media_type": "text/plain", "data": _text(data, where)}
    raise refused(where, "a file should be a PDF or plain text")


def _inline(url: str, where: str) -> tuple[str, str]:
    """Take a data URL apart into media type and base64."""
    head, comma, data = url.removeprefix("data:").partition(",")
    media_type, *parameters = head.lower().split(";")
    if not comma or "base64" not in parameters:
        raise refused(where, "a data URL should be base64")
    return media_type, data


def _text(data: str, where: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        raise refused(where, "text should be base64 of UTF-8") from None


def _link(url: str, where: str) -> Json:
    if not url.startswith(("https://", "http://")):
        raise refused(where, "Input should be an http(s) or data URL")
    return {"type": "url", "url": url}
