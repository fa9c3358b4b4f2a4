"""A Gemini request understood whole, in canonical form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from penstock_edge.canonical import Extras, Json, Request
from penstock_edge.dialects.gemini.contents import ContentsReader
from penstock_edge.dialects.gemini.generation import GenerationReader
from penstock_edge.dialects.gemini.spelling import many, members, text, uncarriable
from penstock_edge.dialects.gemini.tool_names import ToolNames
from penstock_edge.dialects.gemini.tools import choose, read_tools
from penstock_edge.dialects.unreadable import UNREADABLE, unreadable
from penstock_edge.errors import ProblemError, invalid

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
_READ: Final = frozenset({"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"})
_CONFIG: Final = "generationConfig"
_THINKING: Final = f"{_CONFIG}.thinkingConfig"
_NAMES: Final = {
    "messages": "contents",
    "system": "systemInstruction",
    "tools": "tools",
    "tool_choice": "toolConfig.functionCallingConfig",
    "is_error": "functionResponse.response.error",
    "max_tokens": f"{_CONFIG}.maxOutputTokens",
    "temperature": f"{_CONFIG}.temperature",
    "top_p": f"{_CONFIG}.topP",
    "top_k": f"{_CONFIG}.topK",
    "stop_sequences": f"{_CONFIG}.stopSequences",
    "seed": f"{_CONFIG}.seed",
    "presence_penalty": f"{_CONFIG}.presencePenalty",
    "frequency_penalty": f"{_CONFIG}.frequencyPenalty",
    "thinking": _THINKING,
    "thinking.budget_tokens": f"{_THINKING}.thinkingBudget",
    "reasoning.effort": _THINKING,
    "output_config.effort": f"{_THINKING}.thinkingLevel",
    "output_config.format": f"{_CONFIG}.responseSchema",
}
"""What this format calls the fields of a canonical request."""
_REFUSED: Final = frozenset({"cachedContent", "continuationToken"})


@dataclass(slots=True)
class Understood:
    """A request, and what its answer must remember."""

    request: Request
    names: ToolNames
    thoughts: bool
    """The client wants to see what the model thinks."""


def read_request(body: bytes, *, counting: bool) -> Understood:
    """Return what a body says. Raises ProblemError (400), naming the field."""
    try:
        document: Any = _OBJECT.decode(body)
    except UNREADABLE as error:
        raise unreadable(error) from None
    where = ""
    if counting:
        for name, path, value in members(document, ""):
            if name == "generateContentRequest":
                document, where = value, path
    return _read(document, where)


def _read(document: Any, where: str) -> Understood:
    ignored: list[str] = []
    found: dict[str, tuple[Any, str]] = {}
    for name, path, value in members(document, where):
        if name in _READ:
            found[name] = (value, path)
        elif name in _REFUSED:
            raise uncarriable(path)
        elif name != "model" and value not in ([], {}, False):
            ignored.append(path)
    names = ToolNames()
    extras = Extras()
    content: Json = {}
    generation = GenerationReader(content, extras, ignored)
    if "contents" not in found:
        raise ProblemError(invalid("contents: field required"))
    if "systemInstruction" in found:
        _system(content, *found["systemInstruction"], ignored)
    if "generationConfig" in found:
        generation.read(*found["generationConfig"])
    _tools(content, found, names, ignored)
    content["messages"] = ContentsReader(names, ignored).read(*found["contents"])
    return Understood(Request(content, extras, ignored, _NAMES), names, generation.thoughts)


def _tools(content: Json, found: dict[str, tuple[Any, str]], names: ToolNames, ignored: list[str]) -> None:
    tools: list[Json] = []
    if "tools" in found:
        tools = read_tools(*found["tools"], names, ignored)
    tools, choice = choose(tools, *found.get("toolConfig", (None, "")), names, ignored)
    if tools:
        content["tools"] = tools
    if choice:
        content["tool_choice"] = choice


def _system(content: Json, value: Any, where: str, ignored: list[str]) -> None:
    if isinstance(value, str):
        value = {"parts": [{"text": value}]}
    blocks: list[Json] = []
    for name, path, item in members(value, where):
        if name == "role":
            continue
        if name != "parts":
            ignored.append(path)
            continue
        for place, part in enumerate(many(item, path)):
            for field, inner, said in members(part, f"{path}.{place}"):
                if field != "text":
                    raise ProblemError(invalid(f"{inner}: only text can be carried here"))
                if text(said, inner):
                    blocks.append({"type": "text", "text": said})
    if blocks:
        content["system"] = blocks
