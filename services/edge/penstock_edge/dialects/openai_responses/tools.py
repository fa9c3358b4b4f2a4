"""Reads tool definitions and the choice among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from penstock_edge.dialects.openai_responses.client_tools import CLIENT_TOOLS, is_run_by_client
from penstock_edge.dialects.openai_responses.refusal import dictionary, optional, refused, required, uncarriable
from penstock_edge.dialects.openai_responses.tool_book import Tool

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.dialects.openai_responses.tool_book import ToolBook
    from penstock_edge.notes import Notes

_CHOICES: Final = {"auto": "auto", "none": "none", "required": "any"}
_NAMED: Final = ("function", "custom")
_CARRIED: Final = frozenset({"type", "name", "description", "parameters", "strict", "format"})
_OF_CLIENTS: Final = _CARRIED | {"execution", "environment"}
# Of `allowed_callers`: what goes for all tools elsewhere.
_BY_THE_MODEL: Final = ["direct"]
_ABOUT_INPUT: Final = "The whole input, as plain text."


class ToolReader:
    """Collects the tools of one request, wherever in it they stand."""

    def __init__(self, book: ToolBook, ignored: Notes) -> None:
        self._book = book
        self._ignored = ignored
        self._tools: dict[str, Json] = {}

    @property
    def tools(self) -> list[Json]:
        """What has been read, in canonical form; of several definitions of one tool the last."""
        return list(self._tools.values())

    def read(self, tools: list[Any], where: str) -> None:
        """Read a list of definitions. Raises ProblemError."""
        for index, tool in enumerate(tools):
            self._one(dictionary(tool, f"{where}.{index}"), f"{where}.{index}")

    def choice(self, wanted: Any, *, parallel: bool) -> Json | None:
        """Return the canonical `tool_choice`; None when there is nothing to choose. Raises ProblemError."""
        choice = self._chosen(wanted)
        if not self._tools:
            if choice["type"] == "any":
                raise refused("tool_choice", "none of the tools can be carried to this model")
            return None
        if not parallel and choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
        return choice if wanted is not None or not parallel else None

    def _one(self, tool: Json, where: str, namespace: str = "", preface: str = "") -> None:
        kind = required(tool, "type", str, where)
        if kind == "function":
            self._function(tool, where, namespace, preface)
        elif kind == "custom":
            self._custom(tool, where, namespace, preface)
        elif kind == "namespace" and not namespace:
            self._namespace(tool, where)
        elif is_run_by_client(tool):
            self._client_run(tool, kind, where)
        else:
            self._ignored.append(f"{where} ({kind[:64]})")

    def _namespace(self, tool: Json, where: str) -> None:
        name = required(tool, "name", str, where)
        about = optional(tool, "description", str, where)
        preface = f"{name}: {about}\n\n" if about else ""
        for index, inner in enumerate(required(tool, "tools", list, where)):
            # What the namespace is for is said once, to its first tool.
            inside = f"{where}.tools.{index}"
            self._one(dictionary(inner, inside), inside, name, preface if index == 0 else "")

    def _function(self, tool: Json, where: str, namespace: str, preface: str) -> None:
        schema = optional(tool, "parameters", dict, where) or {}
        if "type" not in schema:
            schema = {"type": "object", **schema}
        read = self._enter(tool, "function", where, namespace, preface)
        read["input_schema"] = schema
        if tool.get("strict") is True:
            read["strict"] = True

    def _custom(self, tool: Json, where: str, namespace: str, preface: str) -> None:
        read = self._enter(tool, "custom", where, namespace, preface)
        read["input_schema"] = {
            "type": "object",
            "properties": {"input": {"type": "string", "description": _ABOUT_INPUT}},
            "required": ["input"],
            "additionalProperties": False,
        }
        grammar = optional(tool, "format", dict, where) or {}
        if grammar.get("type") == "grammar":
            syntax = required(grammar, "syntax", str, f"{where}.format")[:16]
            rules = required(grammar, "definition", str, f"{where}.format")
            words = f"The input must match this {syntax} grammar:\n{rules}"
            read["description"] = f"{read['description']}\n\n{words}" if "description" in read else words

    def _client_run(self, tool: Json, kind: str, where: str) -> None:
        known = CLIENT_TOOLS[kind]
        self._note(tool, _OF_CLIENTS)
        environment = tool.get("environment")
        if isinstance(environment, dict) and environment.get("skills"):
            self._ignored.once("tools.environment.skills")
        name = self._book.enter(Tool(kind, kind))
        about = optional(tool, "description", str, where) or known.description
        schema = optional(tool, "parameters", dict, where) or known.schema
        self._tools[name] = {"name": name, "description": about, "input_schema": schema}

    def _enter(self, tool: Json, kind: str, where: str, namespace: str, preface: str) -> Json:
        original = required(tool, "name", str, where)
        if not original:
            raise refused(f"{where}.name", "String should have at least 1 character")
        name = self._book.enter(Tool(kind, original, namespace))
        self._note(tool, _CARRIED)
        read: Json = {"name": name}
        about = preface + (optional(tool, "description", str, where) or "")
        if about.strip():
            read["description"] = about
        self._tools[name] = read
        return read

    def _note(self, tool: Json, carried: frozenset[str]) -> None:
        for further in tool.keys() - carried:
            if tool[further] and tool[further] != _BY_THE_MODEL:
                self._ignored.once(f"tools.{further[:64]}")

    def _chosen(self, wanted: Any) -> Json:
        if wanted is None:
            return {"type": "auto"}
        if isinstance(wanted, str):
            if wanted not in _CHOICES:
                raise refused("tool_choice", "Input should be 'auto', 'none', 'required' or a tool")
            return {"type": _CHOICES[wanted]}
        choice = dictionary(wanted, "tool_choice")
        kind = required(choice, "type", str, "tool_choice")
        if kind == "allowed_tools":
            return self._allowed(choice)
        name = self._named(choice, kind)
        if name is None:
            raise uncarriable("tool_choice", "the chosen tool")
        return {"type": "tool", "name": name}

    def _named(self, choice: Json, kind: str) -> str | None:
        """Return the canonical name of a tool that there is."""
        if kind in CLIENT_TOOLS:
            name = self._book.enter(Tool(kind, kind))
        elif kind in _NAMED:
            namespace = optional(choice, "namespace", str, "tool_choice") or ""
            name = self._book.find(kind, required(choice, "name", str, "tool_choice"), namespace) or ""
        else:
            return None
        return name if name in self._tools else None

    def _allowed(self, choice: Json) -> Json:
        """Keep the tools that may be used, which says the same as a list of them beside all."""
        mode = choice.get("mode", "auto")
        if mode not in ("auto", "required"):
            raise refused("tool_choice.mode", "Input should be 'auto' or 'required'")
        names = set()
        for tool in required(choice, "tools", list, "tool_choice"):
            allowed = dictionary(tool, "tool_choice.tools")
            name = self._named(allowed, required(allowed, "type", str, "tool_choice.tools"))
            if name is not None:
                names.add(name)
        self._tools = {name: tool for name, tool in self._tools.items() if name in names}
        return {"type": _CHOICES[mode]}
