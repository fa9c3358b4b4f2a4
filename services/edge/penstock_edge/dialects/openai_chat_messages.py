"""Chat messages, read into canonical turns: roles alternate, results of tools come first, system texts apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import images
from penstock_edge.dialects.openai_chat_parts import blocks_of, hint_of, plain_blocks, texts
from penstock_edge.dialects.unreadable import UNREADABLE, within, wrong, wrong_type
from penstock_edge.errors import ProblemError
from penstock_edge.providers.odd_json import mended

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.dialects.openai_chat_tools import Names
    from penstock_edge.notes import Notes

_decode = msgspec.json.Decoder(dict[str, Any]).decode
# A tuple, because what is looked for may be of any type.
_SPEAKERS: Final = ("user", "assistant")
_CARRIED: Final = frozenset({"role", "content", "cache_control", "prompt_cache_breakpoint"})
_CARRIED_OF: Final = {
    "user": _CARRIED,
    "system": _CARRIED,
    "developer": _CARRIED,
    "assistant": _CARRIED | {"tool_calls", "function_call", "refusal", "images"},
    "tool": _CARRIED | {"tool_call_id"},
    "function": _CARRIED | {"name"},
}


class Messages:
    """Reads one request's messages. What they are made of becomes part of the turns."""

    def __init__(self, names: Names, ignored: Notes) -> None:
        self.system: list[Json] = []
        self.turns: list[Json] = []
        self._names = names
        self._ignored = ignored
        self._open: dict[str, str] = {}
        """Names of the calls in the newest assistant turn that have no result yet, by id."""
        self._waiting: dict[str, list[str]] | None = None
        """Their ids by name, the first one last; made for old clients, who know calls by their names alone."""
        self._mixed: dict[int, list[Json]] = {}
        """Turns in which results stand behind something else."""

    def read(self, messages: list[Any]) -> None:
        """Read them all. Raises ProblemError."""
        for index, message in enumerate(messages):
            # By far the most are one speaker's mere words: quickly done.
            if type(message) is dict and len(message) == 2 and message.get("role") in _SPEAKERS:
                blocks = plain_blocks(message.get("content"))
                if blocks:
                    message["content"] = blocks
                    self._say(message)
                    continue
            self._one(index, message)
        for content in self._mixed.values():
            content.sort(key=lambda block: block["type"] != "tool_result")
        if not self.turns and self.system:
            # Here a system message may stand alone; elsewhere somebody has to speak.
            self.turns = [{"role": "user", "content": [self.system.pop()]}]
        if not self.turns:
            raise wrong("messages", "at least one message with content is required")

    def _one(self, index: int, message: Any) -> None:
        if type(message) is not dict:
            raise wrong_type(f"messages.{index}", "object")
        role = message.get("role")
        reader = _READERS.get(role) if type(role) is str else None
        if role is None or reader is None:
            raise wrong(
                f"messages.{index}.role",
                "Input should be 'system', 'developer', 'user', 'assistant', 'tool' or 'function'",
            )
        if not message.keys() <= _CARRIED_OF[role]:
            self._further(index, message)
        reader(self, index, message)

    def _further(self, index: int, message: Json) -> None:
        carried = _CARRIED_OF[message["role"]]
        for name, value in message.items():
            if name in carried or not value:
                continue
            if name == "audio":
                raise wrong(f"messages.{index}.audio", "audio cannot be carried to this model")
            self._ignored.once(f"messages.{name}")

    def _say(self, turn: Json) -> None:
        """Add a turn, to the one before if that has the same role."""
        turns, role = self.turns, turn["role"]
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += turn["content"]
            return
        if role == "assistant":
            self._open.clear()
            self._waiting = None
        turns.append(turn)

    def _add(self, role: str, message: Json, blocks: list[Json]) -> None:
        if not blocks:
            return
        if "cache_control" in message or "prompt_cache_breakpoint" in message:
            hint = hint_of(message)
            if hint is not None:
                blocks[-1]["cache_control"] = hint
        turns = self.turns
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})

    def _system(self, index: int, message: Json) -> None:
        blocks = texts(f"messages.{index}.content", message.get("content"), self._ignored.once)
        if blocks and (hint := hint_of(message)) is not None:
            blocks[-1]["cache_control"] = hint
        self.system += blocks

    def _user(self, index: int, message: Json) -> None:
        self._add("user", message, blocks_of(f"messages.{index}.content", message.get("content"), self._ignored.once))

    def _assistant(self, index: int, message: Json) -> None:
        if not self.turns or self.turns[-1]["role"] != "assistant":
            self._open.clear()
            self._waiting = None
        content = message.get("content")
        blocks = [] if content is None else texts(f"messages.{index}.content", content, self._ignored.once)
        if not blocks and isinstance(message.get("refusal"), str) and message["refusal"]:
            blocks.append({"type": "text", "text": message["refusal"]})
        if message.get("images"):
            blocks += _images(f"messages.{index}.images", message["images"])
        calls = message.get("tool_calls")
        if calls:
            if not isinstance(calls, list):
                raise wrong_type(f"messages.{index}.tool_calls", "array")
            for place, call in enumerate(calls):
                try:
                    self._call(call, blocks)
                except ProblemError as refusal:
                    raise within(f"messages.{index}.tool_calls.{place}", refusal) from None
        elif message.get("function_call"):
            try:
                self._function(message["function_call"], f"call_{index}_0", blocks)
            except ProblemError as refusal:
                raise within(f"messages.{index}.function_call", refusal) from None
        self._add("assistant", message, blocks)

    def _call(self, call: Any, blocks: list[Json]) -> None:
        if type(call) is not dict:
            raise wrong_type("", "object")
        name = call.get("id")
        if type(name) is not str or not name:
            raise wrong("id", "field required")
        if "extra_content" in call and (signature := _signature(call)):
            blocks.append({"type": "thinking", "thinking": "", "signature": signature})
        if call.get("type") == "custom" and isinstance(call.get("custom"), dict):
            self._custom(call["custom"], name, blocks)
            return
        try:
            self._function(call.get("function"), name, blocks)
        except ProblemError as refusal:
            raise within("function", refusal) from None

    def _custom(self, custom: Json, name: str, blocks: list[Json]) -> None:
        """Read a call without a schema: its text is all there is."""
        fit = self._names.canonical("custom.name", custom.get("name"))
        blocks.append({"type": "tool_use", "id": name, "name": fit, "input": {"input": str(custom.get("input") or "")}})
        self._open[name] = fit
        self._waiting = None

    def _function(self, function: Any, name: str, blocks: list[Json]) -> None:
        if type(function) is not dict:
            raise wrong("", "field required")
        fit = self._names.canonical("name", function.get("name"))
        blocks.append({"type": "tool_use", "id": name, "name": fit, "input": _arguments(function.get("arguments"))})
        self._open[name] = fit
        self._waiting = None

    def _tool(self, index: int, message: Json) -> None:
        name = message.get("tool_call_id")
        if not isinstance(name, str):
            raise wrong(f"messages.{index}.tool_call_id", "field required")
        self._waiting = None
        if self._open.pop(name, None) is None:
            raise wrong(f"messages.{index}.tool_call_id", "no call without a result before it has this id")
        self._result(index, message, name)

    def _old_function(self, index: int, message: Json) -> None:
        fit = self._names.canonical(f"messages.{index}.name", message.get("name"))
        if self._waiting is None:
            self._waiting = {}
            for name, called in reversed(self._open.items()):
                self._waiting.setdefault(called, []).append(name)
        waiting = self._waiting.get(fit)
        if not waiting:
            raise wrong(f"messages.{index}.name", "no call without a result before it has this name")
        name = waiting.pop()
        del self._open[name]
        self._result(index, message, name)

    def _result(self, index: int, message: Json, name: str) -> None:
        content = message.get("content")
        result: Json = {"type": "tool_result", "tool_use_id": name}
        if isinstance(content, str):
            if content:
                result["content"] = content
        elif content is not None:
            blocks = blocks_of(f"messages.{index}.content", content, self._ignored.once)
            if blocks:
                result["content"] = blocks
        turns = self.turns
        if turns[-1]["role"] == "user" and turns[-1]["content"][-1]["type"] != "tool_result":
            self._mixed[len(turns)] = turns[-1]["content"]
        self._add("user", message, [result])


_READERS: Final = {
    "user": Messages._user,
    "assistant": Messages._assistant,
    "tool": Messages._tool,
    "system": Messages._system,
    "developer": Messages._system,
    "function": Messages._old_function,
}


def _arguments(arguments: Any) -> Json:
    if arguments is None:
        return {}
    if type(arguments) is not str:
        raise wrong_type("arguments", "str")
    try:
        return _decode(arguments)
    except UNREADABLE:
        # Some servers write `null` where there are none.
        if arguments.strip() in {"", "null"}:
            return {}
        if plain := mended(arguments.encode()):
            return _arguments(plain.decode())
        raise wrong("arguments", "Input should be a JSON object") from None


def _images(where: str, given: Any) -> list[Json]:
    """Return the images that a model made earlier, as they came with its answer."""
    if not isinstance(given, list):
        raise wrong_type(where, "array")
    blocks: list[Json] = []
    for place, entry in enumerate(given):
        block = images.from_entry(entry)
        if block is None:
            raise wrong(f"{where}.{place}", "Input should be an image_url with a data URL or an http(s) URL")
        if signature := _signature(entry):
            blocks.append({"type": "thinking", "thinking": "", "signature": signature})
        blocks.append(block)
    return blocks


def _signature(made: Any) -> str:
    """Return the signature that a call or an image came with and went out with."""
    value: Any = made
    for name in ("extra_content", "google", "thought_signature"):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
