"""Images that a model makes: as canonical blocks, and as the data URLs that chat clients and servers write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from penstock_edge.errors import ProblemError, invalid

if TYPE_CHECKING:
    from penstock_edge.canonical import Json, Request

_DATA: Final = "data:"
_MAKERS: Final = frozenset({"Gemini", "OpenAICompatible"})
"""Providers that make images in the midst of an answer."""


def refuse_where_none_are_made(request: Request, provider: str) -> None:
    """Refuse images that nobody would make: the answer could not be what was asked for. Raises ProblemError (400)."""
    if request.extras.images and provider not in _MAKERS:
        raise ProblemError(invalid("this model answers with text only, not with images"))


def image_block(media_type: str, data: str) -> Json:
    """Return the block of an image; `data` is base64 in the usual alphabet, or the URL where it lies."""
    if _is_url(data):
        return {"type": "image", "source": {"type": "url", "url": data}}
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def from_entry(entry: Any) -> Json | None:
    """Return the block of one of a chat message's `images`; None where nothing of an image can be read.

    The list is no part of OpenAI's own format: OpenRouter, LiteLLM and others write it alike.
    """
    image = entry.get("image_url") if isinstance(entry, dict) else None
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        return None
    if _is_url(url):
        return image_block("", url)
    head, comma, data = url.partition(",")
    media_type, *parameters = (word.strip().lower() for word in head[len(_DATA) :].split(";"))
    if url[: len(_DATA)].lower() != _DATA or not comma or "base64" not in parameters or not data:
        return None
    return image_block(media_type, data) if media_type.startswith("image/") else None


def data_of(block: Json) -> str:
    """Return an image's base64, or the URL where it lies."""
    source = block["source"]
    data: str = source["url"] if source["type"] == "url" else source["data"]
    return data


def url_of(block: Json) -> str:
    """Return an image's URL, mostly one that holds its data."""
    data = data_of(block)
    return data if _is_url(data) else f"data:{block['source']['media_type']};base64,{data}"


def entry(url: str, index: int) -> Json:
    """Return one of a chat message's `images`."""
    return {"index": index, "type": "image_url", "image_url": {"url": url}}


def _is_url(text: str) -> bool:
    return text[:8].lower().startswith(("http://", "https://"))
