"""What a function gave back: Google's response objects as canonical tool results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge.dialects.gemini.media import file_block, inline_block
from penstock_edge.dialects.gemini.spelling import members
from penstock_edge.errors import ProblemError, invalid

if TYPE_CHECKING:
    from penstock_edge.canonical import Json

# Google's words for "this is the output", and what its SDKs write.
_WRAPPERS: Final = frozenset({"output", "result"})


def result_block(call_id: str, response: Any, parts: list[Any], where: str, ignored: list[str]) -> Json:
    """Return the tool_result of a call. Raises ProblemError for what is no response."""
    if not isinstance(response, dict):
        raise ProblemError(invalid(f"{where}.response: Input should be a valid dictionary"))
    block: Json = {"type": "tool_result", "tool_use_id": call_id, "content": _words(response, where)}
    if parts:
        text = [{"type": "text", "text": block["content"]}] if response else []
        block["content"] = text + [_media(part, f"{where}.parts.{index}", ignored) for index, part in enumerate(parts)]
    if response.keys() == {"error"}:
        block["is_error"] = True
    return block


def _words(response: Json, where: str) -> str:
    value: Any = response
    if len(response) == 1:
        name, only = next(iter(response.items()))
        if name == "error" or name in _WRAPPERS:
            value = only
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:
        raise ProblemError(invalid(f"{where}.response: the response is nested too deeply")) from None


def _media(part: Any, where: str, ignored: list[str]) -> Json:
    block: Json | None = None
    for name, path, value in members(part, where):
        if name == "inlineData":
            block = inline_block(value, path, ignored)
        elif name == "fileData":
            block = file_block(value, path, ignored)
        else:
            ignored.append(path)
    if block is None:
        raise ProblemError(invalid(f"{where}.inlineData: field required"))
    return block
