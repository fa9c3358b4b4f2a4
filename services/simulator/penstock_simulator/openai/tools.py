"""Checks tools and the choice among them, in the forms of Chat Completions and of Responses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from penstock_simulator.openai.asked import WEB_SEARCH, Tool
from penstock_simulator.openai.errors import invalid
from penstock_simulator.openai.fields import (
    filled,
    may,
    missing,
    need,
    one_of,
    only,
    sized,
    typed,
    wrong_type,
    wrong_value,
)
from penstock_simulator.openai.schema import SchemaError, check_schema

if TYPE_CHECKING:
    from penstock_simulator.openai.asked import Asked

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_MOST_TOOLS = 128
_MOST_NAME = 64
_CALLERS = {"allowed_callers", "defer_loading", "async"}
_FUNCTION = {"name", "description", "parameters", "strict"}
_CHOICES = ("none", "auto", "required")


def name_of(holder: dict[str, Any], at: str) -> str:
    """Return a name of a function, tool or schema, checked."""
    name = need(holder, "name", str, at)
    where = f"{at}.name"
    filled(name, where)
    if not _NAME.fullmatch(name):
        raise invalid(
            f"Invalid '{where}': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'.",
            where,
            "invalid_value",
        )
    sized(name, where, _MOST_NAME)
    return str(name)


def _function(holder: dict[str, Any], at: str) -> dict[str, Any] | None:
    """Check what makes a function; returns its schema."""
    name = name_of(holder, at)
    may(holder, "description", str, at)
    strict = may(holder, "strict", bool, at)
    schema: dict[str, Any] | None = may(holder, "parameters", dict, at)
    if schema is None:
        return None
    try:
        check_schema(schema, strict=bool(strict))
    except SchemaError as error:
        words = f"Invalid schema for function '{name}': {error}"
        raise invalid(words, f"{at}.parameters", "invalid_function_parameters") from None
    return schema


def _custom(holder: dict[str, Any], at: str) -> None:
    name_of(holder, at)
    may(holder, "description", str, at)
    form = may(holder, "format", dict, at)
    if form is not None:
        kind = need(form, "type", str, f"{at}.format")
        if kind not in {"text", "grammar"}:
            raise wrong_value(f"{at}.format.type", kind, ("text", "grammar"))


def chat_tools(asked: Asked) -> None:
    """Check `tools`, `functions` and what chooses among them; fills in `asked`."""
    document = asked.document
    tools = may(document, "tools", list)
    if tools is not None:
        filled(tools, "tools")
        sized(tools, "tools", _MOST_TOOLS)
        asked.tools = [_chat_tool(typed(tool, dict, f"tools[{i}]"), f"tools[{i}]") for i, tool in enumerate(tools)]
    functions = may(document, "functions", list)
    if functions is not None:
        filled(functions, "functions")
        sized(functions, "functions", _MOST_TOOLS)
        asked.tools += [
            _legacy_function(typed(one, dict, f"functions[{i}]"), f"functions[{i}]") for i, one in enumerate(functions)
        ]
    _only_with(document, "tool_choice", "tools", present=tools is not None)
    _only_with(document, "parallel_tool_calls", "tools", present=tools is not None)
    _only_with(document, "function_call", "functions", present=functions is not None)
    parallel = may(document, "parallel_tool_calls", bool)
    asked.parallel = parallel is not False and functions is None
    choice = document.get("tool_choice", document.get("function_call"))
    if isinstance(choice, dict):
        _chat_choice(asked, choice, "tool_choice" if "tool_choice" in document else "function_call")
    elif choice is not None:
        _plain_choice(asked, choice)


def _only_with(document: dict[str, Any], name: str, other: str, *, present: bool) -> None:
    if document.get(name) is not None and not present:
        words = f"Invalid value for '{name}': '{name}' is only allowed when '{other}' are specified."
        raise invalid(words, name)


def _chat_tool(tool: dict[str, Any], at: str) -> Tool:
    kind = need(tool, "type", str, at)
    if kind == "function":
        only(tool, {"type", "function"}, at)
        function = need(tool, "function", dict, at)
        only(function, _FUNCTION, f"{at}.function")
        return Tool(str(function.get("name")), schema=_function(function, f"{at}.function"))
    if kind == "custom":
        only(tool, {"type", "custom"}, at)
        custom = need(tool, "custom", dict, at)
        only(custom, {"name", "description", "format"}, f"{at}.custom")
        _custom(custom, f"{at}.custom")
        return Tool(custom["name"], "custom")
    raise wrong_value(f"{at}.type", kind, ("function", "custom"))


def _legacy_function(function: dict[str, Any], at: str) -> Tool:
    only(function, _FUNCTION - {"strict"}, at)
    return Tool(str(function.get("name")), schema=_function(function, at), legacy=True)


def _plain_choice(asked: Asked, choice: Any) -> None:
    if not isinstance(choice, str):
        raise wrong_type("tool_choice", "one of a string or object", choice)
    if choice not in _CHOICES:
        raise wrong_value("tool_choice", choice, _CHOICES)
    asked.choice = choice


def _chat_choice(asked: Asked, choice: dict[str, Any], where: str) -> None:
    if where == "function_call":
        _choose(asked, [("function", need(choice, "name", str, where))], where)
        return
    kind = need(choice, "type", str, where)
    if kind not in {"function", "custom", "allowed_tools"}:
        raise wrong_value(f"{where}.type", kind, ("allowed_tools", "function", "custom"))
    only(choice, {"type", kind}, where)
    inner = need(choice, kind, dict, where)
    if kind != "allowed_tools":
        _choose(asked, [(kind, need(inner, "name", str, f"{where}.{kind}"))], where)
        return
    mode = _mode(inner, f"{where}.allowed_tools")
    wanted = []
    for index, one in enumerate(need(inner, "tools", list, f"{where}.allowed_tools")):
        at = f"{where}.allowed_tools.tools[{index}]"
        of = need(typed(one, dict, at), "type", str, at)
        wanted.append((of, need(need(one, of, dict, at), "name", str, f"{at}.{of}")))
    _choose(asked, wanted, where, mode)


def _mode(holder: dict[str, Any], at: str) -> str:
    mode = one_of(holder, "mode", ("auto", "required"), at)
    if mode is None:
        raise missing(f"{at}.mode")
    return mode


def _choose(asked: Asked, wanted: list[tuple[str, str]], where: str, mode: str = "required") -> None:
    """Leave only the wanted tools; they must be among the given ones."""
    known = {(tool.kind, tool.name) for tool in asked.tools}
    for kind, name in wanted:
        if (kind, name) not in known:
            raise invalid(f"Tool choice '{name}' not found in 'tools' parameter.", where)
    asked.tools = [tool for tool in asked.tools if (tool.kind, tool.name) in wanted]
    asked.choice = mode


def responses_tools(asked: Asked) -> None:
    """Check `tools` and `tool_choice` of Responses; fills in `asked`."""
    document = asked.document
    tools = may(document, "tools", list) or []
    for index, tool in enumerate(tools):
        asked.tools += _responses_tool(typed(tool, dict, f"tools[{index}]"), f"tools[{index}]")
    # Tools that come within the input count as well.
    for item in asked.items:
        if isinstance(item, dict) and item.get("type") == "additional_tools" and isinstance(item.get("tools"), list):
            for tool in item["tools"]:
                asked.tools += _responses_tool(typed(tool, dict, "input.tools"), "input.tools")
    asked.parallel = may(document, "parallel_tool_calls", bool) is not False
    choice = document.get("tool_choice")
    if isinstance(choice, dict):
        _responses_choice(asked, choice, tools)
    elif choice is not None:
        _plain_choice(asked, choice)
        if choice == "required" and not tools:
            raise invalid("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")


def _responses_tool(tool: dict[str, Any], at: str, namespace: str = "") -> list[Tool]:
    kind = need(tool, "type", str, at)
    if kind == "function":
        only(tool, {"type", "output_schema"} | _FUNCTION | _CALLERS, at)
        return [Tool(str(tool.get("name")), schema=_function(tool, at), namespace=namespace)]
    if kind == "custom":
        only(tool, {"type", "name", "description", "format"} | _CALLERS, at)
        _custom(tool, at)
        return [Tool(tool["name"], "custom", namespace=namespace)]
    if kind == "namespace" and not namespace:
        only(tool, {"type", "name", "description", "tools"}, at)
        name = name_of(tool, at)
        inner = need(tool, "tools", list, at)
        filled(inner, f"{at}.tools")
        found = [
            _responses_tool(typed(one, dict, f"{at}.tools[{i}]"), f"{at}.tools[{i}]", name)
            for i, one in enumerate(inner)
        ]
        return [one for several in found for one in several]
    # Built-in tools are many and change with the year; they need a type here and nothing else.
    return [Tool(kind, WEB_SEARCH)] if kind.startswith(WEB_SEARCH) else []


def _responses_choice(asked: Asked, choice: dict[str, Any], tools: list[Any]) -> None:
    kind = need(choice, "type", str, "tool_choice")
    if kind in {"function", "custom"}:
        _choose(asked, [(kind, need(choice, "name", str, "tool_choice"))], "tool_choice")
    elif kind == "allowed_tools":
        mode = _mode(choice, "tool_choice")
        wanted = []
        for index, one in enumerate(need(choice, "tools", list, "tool_choice")):
            of = need(typed(one, dict, f"tool_choice.tools[{index}]"), "type", str, f"tool_choice.tools[{index}]")
            if of in {"function", "custom"}:
                wanted.append((of, need(one, "name", str, f"tool_choice.tools[{index}]")))
        _choose(asked, wanted, "tool_choice", mode)
    else:
        if not any(tool.get("type") == kind for tool in tools):
            raise invalid(f"Tool choice '{kind}' not found in 'tools' parameter.", "tool_choice")
        asked.tools = [tool for tool in asked.tools if tool.name == kind]
        asked.choice = "required" if asked.tools else "auto"
