"""Turns a flat list of input items into alternating turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import signatures
from penstock_edge.dialects.openai_responses.client_tools import BY_CALL, BY_RESULT, CLIENT_TOOLS
from penstock_edge.dialects.openai_responses.parts import blocks, plain_blocks
from penstock_edge.dialects.openai_responses.refusal import dictionary, optional, refused, required, uncarriable
from penstock_edge.dialects.openai_responses.tool_book import Tool
from penstock_edge.dialects.unreadable import within
from penstock_edge.errors import ProblemError
from penstock_edge.images import image_block
from penstock_edge.providers.odd_json import mended

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.dialects.openai_responses.tool_book import ToolBook
    from penstock_edge.dialects.openai_responses.tools import ToolReader
    from penstock_edge.notes import Notes

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode

PROVIDER: Final = "OpenAI"
"""Whose reasoning it is that comes back without a tag."""
# Tuples, because what is looked for may be of any type.
_SPEAKERS: Final = ("user", "assistant")
_SYSTEM: Final = ("system", "developer")
_FREQUENT: Final = ("function_call", "function_call_output", "reasoning", "custom_tool_call_output")
# Without them the conversation is not whole, and only the provider that made them can read them.
_UNREADABLE: Final = frozenset({"item_reference", "compaction", "compaction_trigger", "compaction_summary"})


class Transcript:
    """Reads items one after the other. `system` and `turns` are what they say."""

    def __init__(self, book: ToolBook, tools: ToolReader, ignored: Notes) -> None:
        self.system: list[Json] = []
        self.turns: list[Json] = []
        self._book = book
        self._tools = tools
        self._ignored = ignored
        self._calls: dict[str, tuple[int, str]] = {}
        """Where each tool call stands, and its id; of an id that is used again the newest call."""
        self._items: dict[str, tuple[int, str]] = {}
        """The same by the item's own id: some results name that instead."""
        self._functions: dict[str, str] = {}
        """Canonical names of functions that have been called before."""
        self._results: dict[int, int] = {}
        """How many results the calls of a turn have."""

    def read(self, items: list[Any]) -> None:
        """Read all items. Raises ProblemError."""
        turns = self.turns
        for index, item in enumerate(items):
            kind = item.get("type", "message") if type(item) is dict else None
            if kind == "message":
                # By far the most are one mere text: quickly done.
                role, content = item.get("role"), plain_blocks(item.get("content"))
                if content is None or role not in _SPEAKERS or "phase" in item:
                    self._message(item, f"input.{index}")
                elif turns and turns[-1]["role"] == role:
                    turns[-1]["content"] += content
                else:
                    turns.append({"role": role, "content": content})
            elif kind in _FREQUENT:
                # Where it stands is put into words only when something is wrong with it.
                try:
                    self._frequent(item, kind)
                except ProblemError as refusal:
                    raise within(f"input.{index}", refusal) from None
            else:
                self._other(dictionary(item, f"input.{index}"), f"input.{index}")

    def _frequent(self, item: Json, kind: str) -> None:
        if kind == "function_call":
            name, arguments, call_id = item.get("name"), item.get("arguments"), item.get("call_id")
            fit = self._functions.get(name) if type(name) is str and "namespace" not in item else None
            if fit is None or type(arguments) is not str or type(call_id) is not str or not call_id:
                self._call(item, kind, "")
            else:
                self._called(item, call_id, fit, _arguments(arguments))
        elif kind == "reasoning":
            self._reasoning(item)
        else:
            self._told(item)

    def _message(self, item: Json, where: str) -> None:
        role = item.get("role")
        if item.get("phase") is not None:
            self._ignored.once("phase")
        content = blocks(item.get("content"), f"{where}.content", self._ignored)
        if role in _SPEAKERS:
            self._say(role, content)
        elif role in _SYSTEM:
            if any(block["type"] != "text" for block in content):
                raise uncarriable(f"{where}.content", "instructions other than text")
            self.system += content
        elif role is None:
            raise refused(f"{where}.role", "field required")
        else:
            raise refused(f"{where}.role", "Input should be 'user', 'assistant', 'system' or 'developer'")

    def _other(self, item: Json, where: str) -> None:
        kind = item.get("type") or "message"
        if not isinstance(kind, str):
            raise refused(f"{where}.type", "Input should be a valid string")
        if kind == "message":
            self._message(item, where)
        elif kind == "custom_tool_call" or kind in BY_CALL:
            self._call(item, kind, where)
        elif kind in BY_RESULT:
            self._client_result(item, kind, where)
        elif kind == "additional_tools":
            self._tools.read(required(item, "tools", list, where), f"{where}.tools")
        elif kind == "image_generation_call" and item.get("result"):
            self._say("assistant", [_made(item, where)])
        elif kind in _UNREADABLE:
            raise uncarriable(where, f"an item of the type {kind}")
        else:
            self._ignored.append(f"{where} ({kind[:64]})")

    def _call(self, item: Json, kind: str, where: str) -> None:
        call_id = item.get("call_id") or item.get("id")
        if type(call_id) is not str or not call_id:
            raise refused(f"{where}.call_id" if where else "call_id", "field required")
        if kind in BY_CALL:
            own_type = BY_CALL[kind]
            tool = Tool(own_type, own_type)
            given = CLIENT_TOOLS[own_type].asked(item, where)
        else:
            namespace = optional(item, "namespace", str, where) or ""
            name = required(item, "name", str, where)
            if kind == "custom_tool_call":
                tool = Tool("custom", name, namespace)
                given = {"input": required(item, "input", str, where)}
            else:
                tool = Tool("function", name, namespace)
                given = _arguments(required(item, "arguments", str, where))
        fit = self._book.enter(tool)
        if tool.kind == "function" and not tool.namespace:
            self._functions[tool.name] = fit
        self._called(item, call_id, fit, given)

    def _called(self, item: Json, call_id: str, fit: str, given: Json) -> None:
        self._say("assistant", [{"type": "tool_use", "id": call_id, "name": fit, "input": given}])
        place = (len(self.turns) - 1, call_id)
        self._calls[call_id] = place
        item_id = item.get("id")
        if type(item_id) is str:
            self._items[item_id] = place

    def _told(self, item: Json) -> None:
        output = item.get("output")
        content = output if type(output) is str else blocks(output, "output", self._ignored)
        self._result(item, content or "", "")

    def _client_result(self, item: Json, kind: str, where: str) -> None:
        told = CLIENT_TOOLS[BY_RESULT[kind]].told(item, where)
        if kind == "tool_search_output":
            # What was found may be called from now on.
            self._tools.read(required(item, "tools", list, where), f"{where}.tools")
        self._result(item, told, where)

    def _result(self, item: Json, content: str | list[Json], where: str) -> None:
        call_id = item.get("call_id") or item.get("id")
        call = self._calls.get(call_id) or self._items.get(call_id) if type(call_id) is str else None
        if call is None:
            raise refused(f"{where}.call_id" if where else "call_id", "there is no such call before it")
        place, tool_use_id = call
        block = {"type": "tool_result", "tool_use_id": tool_use_id, "content": content}
        # Right behind its call, and before what else the user said there.
        told = self._results.get(place, 0)
        self._results[place] = told + 1
        if place + 1 == len(self.turns):
            self.turns.append({"role": "user", "content": [block]})
        else:
            self.turns[place + 1]["content"].insert(told, block)

    def _reasoning(self, item: Json) -> None:
        thinking = ""
        for name in ("summary", "content"):
            if not thinking and item.get(name):
                thinking = _joined(item[name], name)
        signature = optional(item, "encrypted_content", str) or ""
        if signature and signatures.origin(signature) is None:
            own = {"id": item.get("id") or "", "encrypted_content": signature}
            signature = signatures.tag(_encode(own).decode(), PROVIDER)
        if thinking or signature:
            self._say("assistant", [{"type": "thinking", "thinking": thinking, "signature": signature}])

    def _say(self, role: str, content: list[Json]) -> None:
        if not content:
            return
        turns = self.turns
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += content
        else:
            turns.append({"role": role, "content": content})


def _arguments(text: str) -> Json:
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        if not text.strip():
            return {}
        if plain := mended(text.encode()):
            return _arguments(plain.decode())
        raise refused("arguments", "Input should be a JSON object") from None


def _made(item: Json, where: str) -> Json:
    """Return the image that a model made earlier, in the form in which images are made unless asked otherwise."""
    form = optional(item, "output_format", str, where) or "png"
    return image_block(f"image/{form[:16].lower()}", required(item, "result", str, where))


def _joined(parts: Any, where: str) -> str:
    if type(parts) is not list:
        raise refused(where, "Input should be a valid list")
    return "\n\n".join(
        required(dictionary(part, f"{where}.{index}"), "text", str, f"{where}.{index}")
        for index, part in enumerate(parts)
    )
