"""Canonical turns, written as chat messages: a result of a tool is a message of its own there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from penstock_edge import images, signatures
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.losses import note_lost
from penstock_edge.providers.request_json import encoded

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.notes import Notes

_PDF: Final = "application/pdf"
_PART: Final = frozenset({"type", "text", "source", "title", "cache_control"})
_CALL: Final = frozenset({"type", "id", "name", "input", "cache_control"})
_RESULT: Final = frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"})


class Turns:
    """Writes the messages of one request."""

    def __init__(self, ignored: Notes, provider: str, *, hints: bool) -> None:
        self.dropped_hint = False
        """Something asked to be cached, and this upstream knows no such hint."""
        self._ignored = ignored
        self._provider = provider
        self._hints = hints
        self._messages: list[Json] = []

    def write(self, system: Any, turns: list[Json]) -> list[Json]:
        """Return the messages. Raises ProblemError."""
        if system:
            for block in system:
                note_lost(self._ignored, "system", block, _PART)
            role = "developer" if self._provider == "OpenAI" else "system"
            self._messages.append({"role": role, "content": self._joined(system, "\n\n")})
        current = _current_turn(turns)
        for index, turn in enumerate(turns):
            if turn["role"] == "user":
                self._user(index, turn["content"])
            else:
                self._assistant(index, turn["content"], current=index >= current)
        return self._messages

    def _joined(self, blocks: list[Json], between: str) -> str | list[Json]:
        """Return texts as one, or as parts where a hint must stand at its place."""
        hinted = self._hinted(blocks)
        if hinted:
            return [self._text(block) for block in blocks]
        return between.join([_string(block, "text") for block in blocks])

    def _hinted(self, blocks: list[Json]) -> bool:
        """Whether a hint of what to cache stands in these blocks and can be carried."""
        for block in blocks:
            if len(block) > 2 and block.get("cache_control") is not None:
                if self._hints:
                    return True
                self.dropped_hint = True
        return False

    def _text(self, block: Json) -> Json:
        part: Json = {"type": "text", "text": _string(block, "text")}
        if self._hints and block.get("cache_control") is not None:
            part["cache_control"] = block["cache_control"]
        return part

    # Users

    def _user(self, index: int, content: list[Json]) -> None:
        if len(content) == 1 and content[0]["type"] == "text" and len(content[0]) == 2:
            self._messages.append({"role": "user", "content": content[0]["text"]})
            return
        parts: list[Json] = []
        after: list[Json] = []
        for place, block in enumerate(content):
            where = f"messages.{index}.content.{place}"
            if block["type"] == "tool_result":
                self._result(where, block, after)
            else:
                parts.append(self._part(where, block))
        parts = after + parts
        if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
            self._messages.append({"role": "user", "content": parts[0]["text"]})
        elif parts:
            self._messages.append({"role": "user", "content": parts})

    def _part(self, where: str, block: Json) -> Json:
        self._hinted([block])
        kind = block["type"]
        note_lost(self._ignored, "messages.content", block, _PART)
        if kind == "text":
            return self._text(block)
        if kind == "image":
            part: Json = {"type": "image_url", "image_url": {"url": _url(where, block)}}
        elif kind == "document":
            part = _document(where, block)
        else:
            raise _uncarriable(where, f"{str(kind)[:64]} blocks")
        if self._hints and block.get("cache_control") is not None:
            part["cache_control"] = block["cache_control"]
        return part

    def _result(self, where: str, block: Json, after: list[Json]) -> None:
        """Write a result; images have no room in it and follow in the user's own message."""
        content, hint = block.get("content"), block.get("cache_control")
        if not isinstance(content, str):
            texts: list[str] = []
            for place, part in enumerate(content if isinstance(content, list) else ()):
                if isinstance(part, dict) and part.get("type") == "text":
                    texts.append(_string(part, "text"))
                    note_lost(self._ignored, "messages.content", part, _PART)
                    hint = part.get("cache_control") or hint
                elif isinstance(part, dict) and part.get("type") in ("image", "document"):
                    after.append(self._part(f"{where}.content.{place}", part))
                else:
                    raise _uncarriable(f"{where}.content.{place}", "this block")
            content = "\n".join(texts)
        if block.get("is_error"):
            self._ignored.once("is_error")
        message: Json = {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content}
        note_lost(self._ignored, "messages.content", block, _RESULT)
        if hint is not None and self._hints:
            message["content"] = [{"type": "text", "text": content, "cache_control": hint}]
        elif hint is not None:
            self.dropped_hint = True
        self._messages.append(message)

    # The assistant

    def _assistant(self, index: int, content: list[Json], *, current: bool) -> None:
        if len(content) == 1 and content[0]["type"] == "text" and len(content[0]) == 2:
            self._messages.append({"role": "assistant", "content": content[0]["text"]})
            return
        texts: list[Json] = []
        calls: list[Json] = []
        thoughts: list[str] = []
        made: list[Json] = []
        signature = ""
        for place, block in enumerate(content):
            kind = block["type"]
            where = f"messages.{index}.content.{place}"
            if kind == "text":
                texts.append(block)
                note_lost(self._ignored, "messages.content", block, _PART)
            elif kind == "tool_use":
                calls.append(self._call(block, signature))
                signature = ""
            elif kind == "thinking":
                own = self._own(where, block)
                if own is not None:
                    signature = own or signature
                    thoughts += [block["thinking"]] if not own and current else []
            elif kind == "image" and self._provider == "OpenAI":
                self._ignored.append(f"{where} (image)")
            elif kind == "image":
                made.append(images.entry(_url(where, block), len(made)))
                self._entered(block, _PART)
            else:
                raise _uncarriable(where, f"{str(kind)[:64]} blocks")
        message: Json = {"role": "assistant", "content": self._joined(texts, "") if texts else None}
        thought = "".join(thoughts)
        if thought:
            message["reasoning_content"] = thought
        if calls:
            message["tool_calls"] = calls
        if made:
            message["images"] = made
        if calls or texts or made:
            self._messages.append(message)

    def _own(self, where: str, block: Json) -> str | None:
        """Return the signature of thinking that this upstream made itself ("": without one); None for others'."""
        signature = _string(block, "signature")
        own = signatures.own(signature, self._provider)
        if own is None or (own and self._provider == "OpenAI"):
            # What OpenAI signs belongs to its other endpoint.
            whose = signatures.origin(signature)
            self._ignored.append(f"{where} ({f'thinking signed by {whose}' if whose else 'unsigned thinking'})")
            return None
        return own

    def _call(self, block: Json, signature: str) -> Json:
        self._entered(block, _CALL)
        arguments = encoded(block["input"]).decode()
        call: Json = {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": arguments},
        }
        if signature:
            call["extra_content"] = {"google": {"thought_signature": signature}}
        return call

    def _entered(self, block: Json, carried: frozenset[str]) -> None:
        """Note what is lost of a block that is an entry of its message, which has no place for hints."""
        if block.get("cache_control") is not None:
            self.dropped_hint = True
        note_lost(self._ignored, "messages.content", block, carried)


def _current_turn(turns: list[Json]) -> int:
    """Return where the turn that goes on began: behind the last message that is more than results of tools.

    Servers want their thinking back within it, and some refuse it from before.
    """
    for index in range(len(turns) - 1, -1, -1):
        turn = turns[index]
        if turn["role"] == "user" and any(block["type"] != "tool_result" for block in turn["content"]):
            return index
    return 0


def _uncarriable(where: str, what: str) -> ProblemError:
    return ProblemError(invalid(f"{where}: {what} cannot be carried to this model"))


def _string(block: Json, name: str) -> str:
    value = block.get(name)
    return value if isinstance(value, str) else ""


def _url(where: str, block: Json) -> str:
    source = block.get("source")
    if isinstance(source, dict):
        kind = source.get("type")
        if kind == "url" and isinstance(source.get("url"), str):
            return str(source["url"])
        if kind == "base64" and isinstance(source.get("data"), str) and isinstance(source.get("media_type"), str):
            return f"data:{source['media_type']};base64,{source['data']}"
    raise _uncarriable(f"{where}.source", "this source")


def _document(where: str, block: Json) -> Json:
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    title = block.get("title")
    title = title if isinstance(title, str) and title else None
    if source.get("type") == "text" and isinstance(source.get("data"), str):
        return {"type": "text", "text": f"{title}\n\n{source['data']}" if title else source["data"]}
    if source.get("type") != "base64" or source.get("media_type") != _PDF:
        raise _uncarriable(f"{where}.source", "only PDFs and texts in place are carried: this source")
    return {"type": "file", "file": {"filename": title or "document.pdf", "file_data": _url(where, block)}}
