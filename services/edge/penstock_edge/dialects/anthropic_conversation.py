"""A Messages request understood whole, for accounts that speak another format: to the canonical form it is no step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge.canonical import Json, Request
from penstock_edge.dialects.anthropic_answer import Shown, Writer, answer, shown
from penstock_edge.dialects.call_ids import CallIds
from penstock_edge.dialects.unreadable import UNREADABLE, unreadable
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.anthropic_turns import sound_id

if TYPE_CHECKING:
    from penstock_edge.canonical import Message
    from penstock_edge.dialects.dialect import Birth, Head

_CARRIED: Final = {
    "max_tokens": int,
    "messages": list,
    "metadata": dict,
    "output_config": dict,
    "stop_sequences": list,
    "system": (str, list),
    "temperature": (int, float),
    "thinking": dict,
    "tool_choice": dict,
    "tools": list,
    "top_k": int,
    "top_p": (int, float),
}
_OF_TOOLS: Final = {"type": str, "description": str, "input_schema": dict, "strict": bool}
# The canonical form is this one; only what others say beyond it needs a name.
_NAMES: Final = {"reasoning.effort": "thinking", "is_error": "tool_result.is_error"}
_BLOCKS: Final = frozenset({"text", "image", "document", "thinking", "tool_use", "tool_result"})
# Made by tools that the provider itself runs: their results mean nothing elsewhere.
_PROVIDERS_OWN: Final = frozenset({"server_tool_use", "redacted_thinking", "mcp_tool_use"})


def read(body: bytes) -> Request:
    """Return the canonical request. Raises ProblemError (400) for what is wrong in itself or cannot be carried."""
    try:
        document = msgspec.json.decode(body)
    except UNREADABLE as error:
        raise unreadable(error) from None
    carried: Json = {}
    ignored: list[str] = []
    for name, value in document.items():
        if name in {"model", "stream"} or value is None:
            continue
        kind = _CARRIED.get(name)
        if kind is None:
            ignored.append(name[:64])
        elif isinstance(value, bool) or not isinstance(value, kind):  # type: ignore[arg-type]  # types and tuples of them
            raise ProblemError(invalid(f"{name}: Input should be of another type"))
        else:
            carried[name] = value
    reader = _Reader(ignored)
    carried["messages"] = reader.messages(carried.get("messages") or [])
    if not carried["messages"]:
        raise ProblemError(invalid("messages: at least one message with content is required"))
    system = [*reader.texts("system", carried.pop("system", "")), *reader.system]
    if system:
        carried["system"] = system
    _check_fields(carried)
    for index, tool in enumerate(carried.get("tools", ())):
        _check_tool(f"tools.{index}", tool)
    return Request(carried, ignored=ignored, names=_NAMES)


def _check_fields(carried: Json) -> None:
    if carried.get("max_tokens", 0) < 0:
        raise ProblemError(invalid("max_tokens: Input should be greater than or equal to 0"))
    for name in ("thinking", "tool_choice"):
        if name in carried and not isinstance(carried[name].get("type"), str):
            raise ProblemError(invalid(f"{name}.type: field required"))
    if not all(isinstance(stop, str) for stop in carried.get("stop_sequences", ())):
        raise ProblemError(invalid("stop_sequences: Input should be a list of strings"))


def _check_tool(where: str, tool: Any) -> None:
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
        raise ProblemError(invalid(f"{where}.name: field required"))
    for name, wanted in _OF_TOOLS.items():
        if tool.get(name) is not None and not isinstance(tool[name], wanted):
            raise ProblemError(invalid(f"{where}.{name}: Input should be of another type"))


class _Reader:
    """Brings messages into canonical shape."""

    def __init__(self, ignored: list[str]) -> None:
        self._ignored = ignored
        self.system: list[Json] = []
        """What stood between the messages."""

    def messages(self, messages: list[Any]) -> list[Json]:
        turns: list[Json] = []
        for index, message in enumerate(messages):
            where = f"messages.{index}"
            if not isinstance(message, dict):
                raise ProblemError(invalid(f"{where}: Input should be a valid dictionary"))
            role = message.get("role")
            if role == "system":
                self.system += self.texts(f"{where}.content", message.get("content"))
                continue
            if role not in ("user", "assistant"):
                raise ProblemError(invalid(f"{where}.role: Input should be 'user' or 'assistant'"))
            content = self._blocks(f"{where}.content", message.get("content"))
            if not content:
                continue
            if turns and turns[-1]["role"] == role:
                turns[-1]["content"] += content
            else:
                turns.append({"role": role, "content": content})
        for turn in turns:
            # Results of tools come first in their turn.
            if turn["role"] == "user":
                turn["content"].sort(key=lambda block: block["type"] != "tool_result")
        return turns

    def texts(self, where: str, content: Any) -> list[Json]:
        if isinstance(content, str):
            return [{"type": "text", "text": content}] if content else []
        blocks = self._blocks(where, content)
        if any(block["type"] != "text" for block in blocks):
            raise ProblemError(invalid(f"{where}: only text can be carried here"))
        return blocks

    def _blocks(self, where: str, content: Any) -> list[Json]:
        if isinstance(content, str):
            return [{"type": "text", "text": content}] if content else []
        if not isinstance(content, list):
            raise ProblemError(invalid(f"{where}: Input should be a valid list"))
        kept: list[Json] = []
        for index, block in enumerate(content):
            kind = block.get("type") if isinstance(block, dict) else None
            if not isinstance(kind, str):
                raise ProblemError(invalid(f"{where}.{index}.type: field required"))
            if kind == "search_result":
                kept.append(_as_text(f"{where}.{index}", block))
            elif kind == "tool_result":
                _check(f"{where}.{index}", kind, block)
                kept.append(_readable(f"{where}.{index}.content", block))
            elif kind in _BLOCKS:
                _check(f"{where}.{index}", kind, block)
                if kind != "text" or block["text"]:
                    kept.append(block)
            elif kind in _PROVIDERS_OWN or kind.endswith("_tool_result"):
                self._ignored.append(f"{where}.{index} ({kind[:64]})")
            else:
                raise ProblemError(invalid(f"{where}.{index}.type: {kind[:64]} blocks cannot be carried to this model"))
        return kept


_REQUIRED: Final = {
    "text": (("text", str),),
    "image": (("source", dict),),
    "document": (("source", dict),),
    "thinking": (("thinking", str),),
    "tool_use": (("id", str), ("name", str), ("input", dict)),
    "tool_result": (("tool_use_id", str),),
}
_OPTIONAL: Final[dict[str, tuple[str, tuple[type, ...]]]] = {
    "thinking": ("signature", (str,)),
    "tool_result": ("content", (str, list)),
}


def _check(where: str, kind: str, block: Json) -> None:
    for name, wanted in _REQUIRED[kind]:
        if not isinstance(block.get(name), wanted):
            raise ProblemError(invalid(f"{where}.{name}: field required"))
    if kind in _OPTIONAL:
        name, types = _OPTIONAL[kind]
        if block.get(name) is not None and not isinstance(block[name], types):
            raise ProblemError(invalid(f"{where}.{name}: Input should be of another type"))


def _as_text(where: str, block: Json) -> Json:
    """Return what a client's own search has found as text: so every model can read it."""
    parts = block.get("content")
    if not isinstance(parts, list):
        raise ProblemError(invalid(f"{where}.content: Input should be a valid list"))
    texts = [block.get("title"), block.get("source")]
    texts += [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise ProblemError(invalid(f"{where}: Input should have a title, a source and texts"))
    rest = {name: value for name, value in block.items() if name not in ("title", "source", "content")}
    for part in parts:
        if part.get("cache_control") is not None:
            rest["cache_control"] = part["cache_control"]
    return {**rest, "type": "text", "text": "\n\n".join(text for text in texts if text)}


def _readable(where: str, result: Json) -> Json:
    """Return a tool's result in which what was found stands as text."""
    content = result.get("content")
    if isinstance(content, list):
        for index, block in enumerate(content):
            if isinstance(block, dict) and block.get("type") == "search_result":
                content[index] = _as_text(f"{where}.{index}", block)
    return result


class MessagesConversation:
    """One request and its answer."""

    def __init__(self, head: Head, body: bytes, birth: Birth) -> None:
        self.request = read(body)
        self._shown: Shown = shown(self.request.body.get("thinking"))
        self._model = head.model
        self._birth = birth

    def answer(self, message: Message) -> bytes:
        """Return the body of a unary answer."""
        return answer(message, self._model, self._birth, self._shown, self._ids())

    def writer(self) -> Writer:
        """Return a writer for one stream."""
        return Writer(self._model, self._birth, self._shown, self._ids())

    def counted(self, tokens: int) -> bytes:
        """Return the body of a token count."""
        return msgspec.json.encode({"input_tokens": tokens})

    def _ids(self) -> CallIds:
        return CallIds(self.request.body["messages"], sound_id)
