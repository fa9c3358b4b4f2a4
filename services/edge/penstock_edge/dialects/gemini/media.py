"""Images and documents of a request. A URL is passed on, never fetched."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from penstock_edge.dialects.gemini.spelling import members, text
from penstock_edge.errors import ProblemError, invalid

if TYPE_CHECKING:
    from penstock_edge.canonical import Json

_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_BY_ENDING: Final = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "pdf": "application/pdf",
}
_GOOGLES_OWN: Final = "generativelanguage.googleapis.com/"


def inline_block(value: Any, where: str, ignored: list[str]) -> Json:
    """Return the block of `inlineData`. Raises ProblemError for a type that not all providers take."""
    found = _fields(value, where, {"mimeType", "data"}, ignored)
    kind, data = found.get("mimeType", "").lower(), found.get("data", "")
    if not data:
        raise ProblemError(invalid(f"{where}.data: field required"))
    if kind.startswith("text/"):
        return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": _plain(data, where)}}
    return _block(kind, {"type": "base64", "media_type": kind, "data": standard_base64(data)}, where)


def is_image(value: Any) -> bool:
    """Whether `inlineData` is an image that can be carried."""
    given = (value.get("mimeType") or value.get("mime_type")) if isinstance(value, dict) else None
    return isinstance(given, str) and given.lower() in _IMAGES


def file_block(value: Any, where: str, ignored: list[str]) -> Json:
    """Return the block of `fileData`. Raises ProblemError for a file that only Google can reach."""
    found = _fields(value, where, {"mimeType", "fileUri"}, ignored)
    uri = found.get("fileUri", "")
    if not uri.startswith(("https://", "http://")) or _GOOGLES_OWN in uri[:64]:
        raise ProblemError(invalid(f"{where}.fileUri: files of another provider cannot be reached by this one"))
    ending = uri.partition("?")[0].rpartition(".")[2].lower()
    kind = found.get("mimeType", "").lower() or _BY_ENDING.get(ending, "")
    return _block(kind, {"type": "url", "url": uri}, where)


def standard_base64(data: str) -> str:
    """Return base64 in the usual alphabet: Google's Python SDK writes the URL-safe one, which others refuse."""
    if "-" in data or "_" in data:
        data = data.replace("-", "+").replace("_", "/")
    return data


def _fields(value: Any, where: str, wanted: set[str], ignored: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, path, item in members(value, where):
        if name in wanted:
            found[name] = text(item, path)
        elif name != "displayName":
            ignored.append(path)
    return found


def _block(kind: str, source: Json, where: str) -> Json:
    if kind in _IMAGES:
        return {"type": "image", "source": source}
    if kind == "application/pdf":
        return {"type": "document", "source": source}
    raise ProblemError(invalid(f"{where}.mimeType: only JPEG, PNG, GIF, WebP and PDF can be carried to this provider"))


def _plain(data: str, where: str) -> str:
    try:
        return base64.b64decode(standard_base64(data), validate=True).decode()
    except (binascii.Error, ValueError):
        raise ProblemError(invalid(f"{where}.data: Input should be base64 of UTF-8 text")) from None
