"""Tools as chat requests declare and choose them, read into canonical form, and their names on the way there."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

from penstock_edge.dialects.openai_chat_parts import hint_of
from penstock_edge.dialects.unreadable import wrong, wrong_type

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.notes import Notes

_PLAIN_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_OTHER = re.compile(r"[^a-zA-Z0-9_-]")
_CARRIED: Final = frozenset(
    {"type", "function", "name", "description", "parameters", "strict", "cache_control", "prompt_cache_breakpoint"}
)
_CHOICES: Final = {"auto": "auto", "required": "any", "any": "any", "none": "none"}


class Names:
    """Tool names that the canonical form cannot hold, and what stands for them there."""

    __slots__ = ("_known", "_originals")

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        """What stands for each name that has been seen."""
        self._originals: dict[str, str] = {}

    def canonical(self, where: str, name: Any) -> str:
        """Return a name that fits, the same one for the same name always. Raises ProblemError for none at all."""
        if type(name) is not str or not name:
            raise wrong(where, "field required")
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._fit(name)
        return known

    def _fit(self, name: str) -> str:
        if _PLAIN_NAME.fullmatch(name):
            return name
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        fit = f"{_OTHER.sub('_', name[:64])}_{digest}"
        self._originals[fit] = name
        return fit

    def original(self, name: str) -> str:
        """Return what the client calls a tool."""
        return self._originals.get(name, name)


class Tools:
    """The tools of one request."""

    def __init__(self, names: Names, ignored: Notes) -> None:
        self.names = names
        self.tools: list[Json] = []
        self.legacy = False
        """They came as `functions`, so calls go out as `function_call`."""
        self._ignored = ignored

    def read(self, body: Json) -> tuple[list[Json], Json | None]:
        """Return canonical tools and tool_choice. Raises ProblemError."""
        self._declared("tools", body.get("tools"), legacy=False)
        if not self.tools and body.get("functions"):
            self.legacy = True
            self._declared("functions", body["functions"], legacy=True)
            choice = self._choice("function_call", body.get("function_call"))
        else:
            choice = self._choice("tool_choice", body.get("tool_choice"))
        parallel = body.get("parallel_tool_calls")
        if parallel is not None and not isinstance(parallel, bool):
            raise wrong_type("parallel_tool_calls", "bool")
        if not self.tools:
            return [], None
        # A function_call has room for one.
        if parallel is False or self.legacy:
            choice = choice or {"type": "auto"}
            if choice["type"] != "none":
                choice["disable_parallel_tool_use"] = True
        return self.tools, choice

    def _declared(self, field: str, tools: Any, *, legacy: bool) -> None:
        if tools is None:
            return
        if not isinstance(tools, list):
            raise wrong_type(field, "array")
        for index, tool in enumerate(tools):
            where = f"{field}.{index}"
            if not isinstance(tool, dict):
                raise wrong_type(where, "object")
            if legacy:
                self.tools.append(self._tool(where, tool, tool))
                continue
            kind = tool.get("type", "function")
            if kind != "function":
                # What a provider runs itself, or calls without a schema, nobody else can carry.
                self._ignored.append(f"{where} ({str(kind)[:64]})")
                continue
            function = tool.get("function")
            if not isinstance(function, dict):
                raise wrong(f"{where}.function", "field required")
            self.tools.append(self._tool(f"{where}.function", function, tool))

    def _tool(self, where: str, function: Json, outer: Json) -> Json:
        tool: Json = {"name": self.names.canonical(f"{where}.name", function.get("name"))}
        description = function.get("description")
        if description is not None:
            if not isinstance(description, str):
                raise wrong_type(f"{where}.description", "str")
            if description:
                tool["description"] = description
        tool["input_schema"] = _schema(f"{where}.parameters", function.get("parameters"))
        strict = function.get("strict")
        if strict is not None:
            if not isinstance(strict, bool):
                raise wrong_type(f"{where}.strict", "bool")
            tool["strict"] = strict
        self._further(outer)
        if function is not outer:
            self._further(function)
        hint = hint_of(outer) or hint_of(function)
        if hint is not None:
            tool["cache_control"] = hint
        return tool

    def _further(self, fields: Json) -> None:
        """List once what no tool can carry."""
        for name in fields.keys() - _CARRIED:
            if fields[name]:
                self._ignored.once(f"tools.{name[:64]}")

    def _choice(self, field: str, choice: Any) -> Json | None:
        if choice is None:
            return None
        if isinstance(choice, str):
            kind = _CHOICES.get(choice)
            if kind is None:
                raise wrong(field, "Input should be 'none', 'auto', 'required' or a tool")
            if kind == "any" and not self.tools:
                raise wrong(field, "there is no tool that could be called")
            return {"type": kind}
        if not isinstance(choice, dict):
            raise wrong_type(field, "object")
        if choice.get("type") == "allowed_tools":
            return self._allowed(f"{field}.allowed_tools", choice.get("allowed_tools"))
        if field == "function_call":
            return self._named(f"{field}.name", choice.get("name"))
        function = choice.get("function")
        if not isinstance(function, dict):
            raise wrong(field, f"{str(choice.get('type'))[:64]} tools cannot be carried to this model")
        return self._named(f"{field}.function.name", function.get("name"))

    def _named(self, where: str, name: Any) -> Json:
        fit = self.names.canonical(where, name)
        if all(tool["name"] != fit for tool in self.tools):
            raise wrong(where, "no such tool")
        return {"type": "tool", "name": fit}

    def _allowed(self, where: str, allowed: Any) -> Json:
        """Leave only the allowed tools standing."""
        tools = allowed.get("tools") if isinstance(allowed, dict) else None
        if not isinstance(tools, list):
            raise wrong(f"{where}.tools", "field required")
        kept: set[str] = set()
        for index, tool in enumerate(tools):
            function = tool.get("function") if isinstance(tool, dict) else None
            if not isinstance(function, dict):
                raise wrong(f"{where}.tools.{index}.function", "field required")
            kept.add(self.names.canonical(f"{where}.tools.{index}.function.name", function.get("name")))
        self.tools = [tool for tool in self.tools if tool["name"] in kept]
        kind = _CHOICES.get(str(allowed.get("mode", "auto")), "")
        if kind not in {"auto", "any"}:
            raise wrong(f"{where}.mode", "Input should be 'auto' or 'required'")
        if kind == "any" and not self.tools:
            raise wrong(f"{where}.tools", "there is no tool that could be called")
        return {"type": kind}


def _schema(where: str, schema: Any) -> Json:
    if schema is None:
        return {"type": "object", "properties": {}}
    if not isinstance(schema, dict):
        raise wrong_type(where, "object")
    return schema if "type" in schema else {"type": "object", **schema}
