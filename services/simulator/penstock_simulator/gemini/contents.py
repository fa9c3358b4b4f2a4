"""Checks what a conversation consists of: that its parts hold something, and that what they hold can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_simulator.gemini.errors import GoogleError, invalid
from penstock_simulator.gemini.messages import DATA

if TYPE_CHECKING:
    from penstock_simulator.gemini.complaints import Complaints

_IMAGES = {"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"}
_OTHERS = {"application/pdf", "application/json", "application/x-javascript", "application/x-python", "application/rtf"}
_FAMILIES = {"audio", "video", "text"}
_FILES = "/v1beta/files/"
_BAD_IMAGE = (
    "Unable to process input image. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting"
)


def check_contents(contents: list[dict[str, Any]], complaints: Complaints) -> None:
    """Complain about contents that say nothing."""
    if not contents:
        complaints.add("contents", "contents is not specified")
    for index, content in enumerate(contents):
        check_parts(content, f"contents[{index}]", complaints)


def check_parts(content: dict[str, Any], at: str, complaints: Complaints) -> None:
    """Complain about parts that hold nothing, and about calls and responses without a name."""
    if not content.get("parts"):
        complaints.add(f"{at}.parts", "contents.parts must not be empty.")
    for index, part in enumerate(content.get("parts", ())):
        where = f"{at}.parts[{index}]"
        if not DATA.keys() & part:
            complaints.add(f"{where}.data", "required oneof field 'data' must have one initialized field")
        for kind in ("function_call", "function_response"):
            if kind in part and not part[kind].get("name"):
                complaints.add(f"{where}.{kind}.name", "Name cannot be empty.")


def check_media(content: dict[str, Any]) -> None:
    """Refuse media of unknown kinds, and files that are not there; raises RefusalError."""
    for part in content.get("parts", ()):
        if "inline_data" in part:
            _check_blob(part["inline_data"])
        if "file_data" in part:
            _check_file(part["file_data"])
        for inner in part.get("function_response", {}).get("parts", ()):
            _check_blob(inner.get("inline_data", {}))


def _check_blob(blob: dict[str, Any]) -> None:
    kind = blob.get("mime_type", "")
    if not _usable(kind):
        raise invalid(f"Unsupported MIME type: {kind}")
    if not blob.get("data"):
        raise invalid(_BAD_IMAGE if kind in _IMAGES else f"The {kind} data is empty.")


def _check_file(file: dict[str, Any]) -> None:
    uri, kind = file.get("file_uri", ""), file.get("mime_type", "")
    if not uri.startswith(("https://", "http://")):
        raise invalid(f"Invalid or unsupported file uri: {uri}")
    if kind and not _usable(kind):
        raise invalid(f"Unsupported MIME type: {kind}")
    if _FILES in uri:
        name = uri.partition(_FILES)[2]
        words = f"You do not have permission to access the File {name} or it may not exist."
        raise GoogleError(403, "PERMISSION_DENIED", words)


def _usable(kind: str) -> bool:
    family, _, rest = kind.partition("/")
    return kind in _IMAGES or kind in _OTHERS or (family in _FAMILIES and bool(rest))
