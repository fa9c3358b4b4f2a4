"""Functions that a model may call, and how it is to choose among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock_edge.dialects.gemini.schema import json_schema
from penstock_edge.dialects.gemini.spelling import many, members, text, uncarriable
from penstock_edge.errors import ProblemError, invalid

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.dialects.gemini.tool_names import ToolNames


def read_tools(value: Any, where: str, names: ToolNames, ignored: list[str]) -> list[Json]:
    """Return the functions of `tools` in canonical form. What Google itself would run is left out and listed."""
    tools: list[Json] = []
    for index, tool in enumerate(many(value, where)):
        for name, path, item in members(tool, f"{where}.{index}"):
            if name == "functionDeclarations":
                for place, function in enumerate(many(item, path)):
                    tools.append(_function(function, f"{path}.{place}", names, ignored))
            else:
                ignored.append(f"{where}.{index} ({path.rpartition('.')[2]})")
    return tools


def _function(value: Any, where: str, names: ToolNames, ignored: list[str]) -> Json:
    function: Json = {}
    schema: Json | None = None
    for name, path, item in members(value, where):
        if name == "name":
            function["name"] = names.canonical(text(item, path))
        elif name == "description":
            function["description"] = text(item, path)
        elif name == "parameters":
            schema = json_schema(item, path)
        elif name == "parametersJsonSchema":
            if not isinstance(item, dict):
                raise ProblemError(invalid(f"{path}: Input should be a valid dictionary"))
            schema = item
        else:
            ignored.append(path)
    if not function.get("name"):
        raise ProblemError(invalid(f"{where}.name: field required"))
    if schema is None:
        schema = {"type": "object", "properties": {}}
    function["input_schema"] = schema if "type" in schema else {"type": "object", **schema}
    return function


@dataclass(slots=True)
class _Calling:
    mode: str = "AUTO"
    allowed: list[str] = field(default_factory=list)
    where: str = ""


def choose(tools: list[Json], config: Any, where: str, names: ToolNames, ignored: list[str]) -> tuple[list[Json], Json]:
    """Return the tools that may be used and the canonical choice, {} for the usual one. Raises ProblemError."""
    calling = _calling(config, where, names, ignored)
    if calling.mode == "ANY" and not tools:
        # What it must call was left out, or never there.
        raise uncarriable(calling.where)
    if calling.allowed:
        tools = _allowed(tools, calling)
    if not tools:
        return [], {}
    if calling.mode == "NONE":
        return tools, {"type": "none"}
    if calling.mode != "ANY":
        return tools, {}
    if len(calling.allowed) == 1:
        return tools, {"type": "tool", "name": calling.allowed[0]}
    return tools, {"type": "any"}


def _allowed(tools: list[Json], calling: _Calling) -> list[Json]:
    known = {tool["name"] for tool in tools}
    if any(name not in known for name in calling.allowed):
        raise ProblemError(invalid(f"{calling.where}: a function is allowed that is not declared"))
    if len(calling.allowed) == 1 and calling.mode == "ANY":
        return tools
    # There is no canonical word for "one of these", so the others are not shown at all.
    allowed = set(calling.allowed)
    return [tool for tool in tools if tool["name"] in allowed]


def _calling(config: Any, where: str, names: ToolNames, ignored: list[str]) -> _Calling:
    calling = _Calling()
    if config is None:
        return calling
    for name, path, value in members(config, where):
        if name != "functionCallingConfig":
            ignored.append(path)
            continue
        calling.where = path
        for inner, inner_path, item in members(value, path):
            if inner == "mode":
                calling.mode = _mode(item, inner_path, ignored)
            elif inner == "allowedFunctionNames":
                allowed = item if isinstance(item, list) else [item]
                calling.allowed = [names.canonical(text(one, inner_path)) for one in allowed]
            else:
                ignored.append(inner_path)
    return calling


def _mode(value: Any, where: str, ignored: list[str]) -> str:
    mode = text(value, where).upper()
    if mode == "VALIDATED":
        ignored.append(f"{where}=AUTO")
        return "AUTO"
    if mode == "MODE_UNSPECIFIED":
        return "AUTO"
    if mode not in {"AUTO", "ANY", "NONE"}:
        raise ProblemError(invalid(f"{where}: Input should be AUTO, ANY, NONE or VALIDATED"))
    return mode
