"""Content parts of chat messages, read as canonical blocks. Nothing is ever fetched: a URL stays a URL."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from penstock_edge.dialects.openai_caching import BREAKPOINT, note_lifetime
from penstock_edge.dialects.unreadable import wrong, wrong_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.canonical import Json

    Note = Callable[[str], None]

_PDF: Final = "application/pdf"
_IMAGES: Final = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
}
_SILENT: Final = frozenset({"type", "text", "image_url", "file", "refusal", "cache_control", BREAKPOINT})


def texts(where: str, content: Any, note: Note) -> list[Json]:
    """Read content that can only be text. Raises ProblemError."""
    blocks = blocks_of(where, content, note)
    for block in blocks:
        if block["type"] != "text":
            raise wrong(where, "only text can be carried here")
    return blocks


def plain_blocks(content: Any) -> list[Json] | None:
    """Return the blocks of content that is nothing but text; None for what needs a closer look."""
    if type(content) is str:
        return [{"type": "text", "text": content}] if content else None
    if type(content) is not list:
        return None
    for part in content:
        if type(part) is not dict or len(part) != 2 or part.get("type") != "text":
            return None
        text = part.get("text")
        if type(text) is not str or not text:
            return None
    # A plain text part is a canonical block already.
    return content


def blocks_of(where: str, content: Any, note: Note) -> list[Json]:
    """Read a text or a list of parts, leaving out empty texts. Raises ProblemError."""
    if type(content) is str:
        return [{"type": "text", "text": content}] if content else []
    if content is None:
        raise wrong(where, "field required")
    if type(content) is not list:
        raise wrong(where, "Input should be a valid string or list")
    blocks: list[Json] = []
    for index, part in enumerate(content):
        if type(part) is dict and len(part) == 2 and part.get("type") == "text":
            text = part.get("text")
            if type(text) is str:
                # A plain text part is a canonical block already.
                if text:
                    blocks.append(part)
                continue
        block = _block(f"{where}.{index}", part, note)
        if block is not None:
            blocks.append(block)
    return blocks


def hint_of(value: Any) -> Json | None:
    """Return the cache_control that a part, tool or message carries, in either of its names; None without one."""
    hint = value.get("cache_control")
    if isinstance(hint, dict):
        return hint
    return {"type": "ephemeral"} if isinstance(value.get(BREAKPOINT), dict) else None


def _block(where: str, part: Any, note: Note) -> Json | None:
    if not isinstance(part, dict):
        raise wrong_type(where, "object")
    kind = part.get("type")
    if not isinstance(kind, str):
        raise wrong(f"{where}.type", "field required")
    reader = _READERS.get(kind)
    if reader is None:
        raise wrong(f"{where}.type", f"{kind[:64]} parts cannot be carried to this model")
    block = reader(where, part, note)
    if block is None:
        return None
    hint = hint_of(part)
    if hint is not None:
        block["cache_control"] = hint
        note_lifetime(part, note)
    for name, value in part.items():
        if name not in _SILENT and value is not None:
            note(f"messages.content.{name}")
    return block


def _text(where: str, part: Json, _note: Note) -> Json | None:
    text = part.get(part["type"])
    if not isinstance(text, str):
        raise wrong_type(f"{where}.{part['type']}", "str")
    return {"type": "text", "text": text} if text else None


def _image(where: str, part: Json, note: Note) -> Json:
    where = f"{where}.image_url"
    image = part.get("image_url")
    if isinstance(image, dict):
        if image.get("detail") not in (None, "auto"):
            note("messages.content.image_url.detail")
        where = f"{where}.url"
        image = image.get("url")
    if not isinstance(image, str):
        raise wrong_type(where, "str")
    if image[:5].lower() == "data:":
        return _inline(where, image)
    if not image[:8].lower().startswith(("http://", "https://")):
        raise wrong(where, "only http(s) and data URLs can be carried")
    path = image.split("?", 1)[0].split("#", 1)[0]
    kind = "document" if path.lower().endswith(".pdf") else "image"
    return {"type": kind, "source": {"type": "url", "url": image}}


def _file(where: str, part: Json, _note: Note) -> Json:
    where = f"{where}.file"
    file = part.get("file")
    if not isinstance(file, dict):
        raise wrong_type(where, "object")
    data = file.get("file_data")
    if not isinstance(data, str):
        if file.get("file_id") is not None:
            raise wrong(f"{where}.file_id", "a stored file cannot be carried to this model: send file_data")
        raise wrong(f"{where}.file_data", "field required")
    name = file.get("filename")
    if data[:5].lower() != "data:":
        # The SDK's words allow bare base64; the name then tells what it is.
        if not isinstance(name, str) or not name.lower().endswith(".pdf"):
            raise wrong(f"{where}.file_data", "Input should be a data URL")
        data = f"data:{_PDF};base64,{data}"
    block = _inline(f"{where}.file_data", data)
    if block["type"] == "document" and isinstance(name, str) and name:
        block["title"] = name
    return block


def _inline(where: str, url: str) -> Json:
    """Read a data URL: an image, a PDF or a plain text."""
    head, comma, data = url[5:].partition(",")
    media_type, *parameters = (word.strip().lower() for word in head[:200].split(";"))
    if not comma or "base64" not in parameters or len(head) > 200:
        raise wrong(where, "only base64 data URLs can be carried")
    if media_type in _IMAGES:
        return {
            "type": "image",
            "source": {"type": "base64", "media_type": _IMAGES[media_type], "data": data},
        }
    if media_type == _PDF:
        return {"type": "document", "source": {"type": "base64", "media_type": _PDF, "data": data}}
    if media_type == "text/plain":
        return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": _plain(where, data)}}
    raise wrong(where, "only jpeg, png, gif and webp images, PDFs and plain texts can be carried")


def _plain(where: str, data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        raise wrong(where, "Input should be base64 of UTF-8 text") from None


_READERS: Final[dict[str, Callable[[str, Json, Note], Json | None]]] = {
    "text": _text,
    "refusal": _text,
    "image_url": _image,
    "file": _file,
}
