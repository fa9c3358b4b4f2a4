"""Writes canonical messages as input items."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import signatures
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.call_ids import distinct
from penstock_edge.providers.losses import BLOCKS, note_lost
from penstock_edge.providers.request_json import encoded

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.notes import Notes

PROVIDER: Final = "OpenAI"
_LONGEST_CALL_ID: Final = 64
_IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")


class _Own(msgspec.Struct):
    """What of a reasoning item must come back."""

    encrypted_content: str
    id: str = ""


_own = msgspec.json.Decoder(_Own)


class InputItems:
    """Collects the items of one request, and what had to be left out."""

    def __init__(self, ignored: Notes, *, reasons: bool) -> None:
        self.items: list[Json] = []
        self._ignored = ignored
        self._reasons = reasons

    def instruct(self, system: list[Json]) -> None:
        """Add the system's texts. As a developer's message they stay apart from each other."""
        parts = [self._text(block, "input_text") for block in system]
        if parts:
            self.items.append({"type": "message", "role": "developer", "content": parts})

    def read(self, messages: list[Json]) -> None:
        """Add all messages. Raises ProblemError."""
        for index, message in enumerate(distinct(messages)):
            content = message["content"]
            if message["role"] == "assistant":
                self._assistant(content, index)
            else:
                self._user(content, index)

    def _user(self, content: list[Json], index: int) -> None:
        items = self.items
        parts: list[Json] | None = None
        for place, block in enumerate(content):
            kind = block["type"]
            if kind == "text":
                part: Json | None = self._text(block, "input_text")
            elif kind == "tool_result":
                items.append(self._result(block, f"messages.{index}.content.{place}"))
                continue
            else:
                part = self._part(block, f"messages.{index}.content.{place}")
            if part is None:
                continue
            if parts is None:
                parts = [part]
                items.append({"type": "message", "role": "user", "content": parts})
            else:
                parts.append(part)

    def _assistant(self, content: list[Json], index: int) -> None:
        items = self.items
        parts: list[Json] | None = None
        for place, block in enumerate(content):
            kind = block["type"]
            if kind == "text":
                part = self._text(block, "output_text")
                if parts is None:
                    parts = [part]
                    items.append({"type": "message", "role": "assistant", "content": parts})
                else:
                    parts.append(part)
                continue
            if kind == "tool_use":
                items.append(self._call(block))
            elif kind == "thinking":
                self._thinking(block, f"messages.{index}.content.{place}")
            else:
                self._ignored.append(f"messages.{index}.content.{place} ({str(kind)[:64]})")
            parts = None
        while items and items[-1]["type"] == "reasoning":
            # The upstream refuses reasoning without what it was for.
            items.pop()
            self._ignored.append(f"messages.{index} (thinking that led to nothing)")

    def _text(self, block: Json, kind: str) -> Json:
        if len(block) > 2:
            self._note(block, "text")
        return {"type": kind, "text": block["text"]}

    def _call(self, block: Json) -> Json:
        if len(block) > 4:
            self._note(block, "tool_use")
        arguments = encoded(block["input"]).decode()
        return {
            "type": "function_call",
            "call_id": _call_id(block["id"]),
            "name": block["name"],
            "arguments": arguments,
        }

    def _result(self, block: Json, where: str) -> Json:
        self._note(block, "tool_result")
        if block.get("is_error"):
            self._ignored.once("is_error")
        content = block.get("content")
        output: str | list[Json]
        if isinstance(content, str):
            output = content
        elif content is None:
            output = ""
        elif isinstance(content, list):
            output = self._parts(content, f"{where}.content")
            if len(output) == 1 and output[0]["type"] == "input_text":
                output = output[0]["text"]
        else:
            raise _refused(f"{where}.content", "Input should be a text or a valid list")
        return {"type": "function_call_output", "call_id": _call_id(block["tool_use_id"]), "output": output or ""}

    def _parts(self, content: list[Any], where: str) -> list[Json]:
        parts = []
        for index, block in enumerate(content):
            kind = block.get("type") if isinstance(block, dict) else None
            if kind == "text" and isinstance(block.get("text"), str):
                if block["text"]:
                    parts.append(self._text(block, "input_text"))
            elif isinstance(kind, str) and kind != "text":
                part = self._part(block, f"{where}.{index}")
                if part is not None:
                    parts.append(part)
            else:
                raise _refused(f"{where}.{index}", "Input should be a content block")
        return parts

    def _part(self, block: Json, where: str) -> Json | None:
        """Return an image or a document as a part; anything else is left out."""
        kind = block["type"]
        if kind not in {"image", "document"}:
            self._ignored.append(f"{where} ({str(kind)[:64]})")
            return None
        self._note(block, kind)
        source = block.get("source")
        if not isinstance(source, dict):
            raise _refused(f"{where}.source", "field required")
        if kind == "image":
            return _image(source, f"{where}.source")
        return self._document(block, source, f"{where}.source")

    def _thinking(self, block: Json, where: str) -> None:
        signature = block.get("signature")
        signature = signature if isinstance(signature, str) else ""
        mine = signatures.own(signature, PROVIDER)
        if mine is None:
            whose = signatures.origin(signature)
            self._ignored.append(f"{where} ({f'thinking signed by {whose}' if whose else 'unsigned thinking'})")
            return
        if not self._reasons:
            # The upstream refuses reasoning that is for a model without any.
            self._ignored.append(f"{where} (thinking)")
            return
        try:
            own = _own.decode(mine)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            self._ignored.append(f"{where} (unsigned thinking)")
            return
        item: Json = {"type": "reasoning", "summary": [], "encrypted_content": own.encrypted_content}
        if own.id:
            item["id"] = own.id
        if block.get("thinking"):
            item["summary"] = [{"type": "summary_text", "text": block["thinking"]}]
        self.items.append(item)

    def _document(self, block: Json, source: Json, where: str) -> Json:
        kind = source.get("type")
        title = block.get("title")
        title = title if isinstance(title, str) else ""
        if kind == "url":
            if title:
                self._ignored.once("messages.content.title")
            return {"type": "input_file", "file_url": _field(source, "url", where)}
        if kind in ("text", "content"):
            content = source.get("content")
            if isinstance(content, list):
                for inner in content:
                    self._note(inner, "text")
            said = _data(source, where) if kind == "text" else _texts(content, f"{where}.content")
            return {"type": "input_text", "text": f"{title}\n\n{said}" if title else said}
        if kind != "base64":
            raise _refused(f"{where}.type", "only base64, text and url can be carried to this model")
        if source.get("media_type") != "application/pdf":
            raise _refused(f"{where}.media_type", "a document should be a PDF")
        return {
            "type": "input_file",
            "filename": title or "document.pdf",
            "file_data": f"data:application/pdf;base64,{_data(source, where)}",
        }

    def _note(self, block: Any, kind: str) -> None:
        """List once what this format has no place for."""
        if isinstance(block, dict):
            if block.get("cache_control"):
                self._ignored.once("cache_control")
            note_lost(self._ignored, "messages.content", block, BLOCKS[kind])


def _image(source: Json, where: str) -> Json:
    kind = source.get("type")
    if kind == "url":
        return {"type": "input_image", "detail": "auto", "image_url": _field(source, "url", where)}
    if kind != "base64":
        raise _refused(f"{where}.type", "only base64 and url can be carried to this model")
    media_type = source.get("media_type")
    if media_type not in _IMAGES:
        raise _refused(f"{where}.media_type", "an image should be JPEG, PNG, GIF or WebP")
    return {"type": "input_image", "detail": "auto", "image_url": f"data:{media_type};base64,{_data(source, where)}"}


def _texts(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _refused(where, "Input should be a text or a valid list")
    texts = [block.get("text") if isinstance(block, dict) else None for block in content]
    if not all(isinstance(text, str) for text in texts):
        raise _refused(where, "only text can be carried here")
    return "\n".join(text for text in texts if text)


def _data(source: Json, where: str) -> str:
    return _field(source, "data", where)


def _field(source: Json, name: str, where: str) -> str:
    value = source.get(name)
    if not isinstance(value, str):
        raise _refused(f"{where}.{name}", "field required")
    return value


def _call_id(given: str) -> str:
    """Return an id that is short enough; the same for a call and its result."""
    if 0 < len(given) <= _LONGEST_CALL_ID:
        return given
    return f"call_{blake2b(given.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def _refused(where: str, words: str) -> ProblemError:
    return ProblemError(invalid(f"{where}: {words}"))
