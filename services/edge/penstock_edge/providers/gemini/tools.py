"""Canonical tools as Google's function declarations, and the choice among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.losses import lost

if TYPE_CHECKING:
    from penstock_edge.canonical import Json

_USUAL_KEYS: Final = frozenset({"type", "name", "description", "input_schema", "cache_control"})
_EMPTY_SCHEMA_KEYS: Final = frozenset({"type", "properties", "required", "additionalProperties", "$schema"})


def declarations(tools: Any, ignored: list[str]) -> list[Json]:
    """Return the functions. Tools that only their own provider runs, or knows, are left out and listed."""
    functions: list[Json] = []
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        name = tool["name"]
        if tool.get("type") not in {None, "custom"} or not isinstance(tool.get("input_schema", {}), dict):
            ignored.append(f"tools.{index} ({name[:64]})")
            continue
        function: Json = {"name": name}
        if isinstance(tool.get("description"), str) and tool["description"]:
            function["description"] = tool["description"]
        schema = tool.get("input_schema", {})
        if not _takes_nothing(schema):
            function["parametersJsonSchema"] = schema
        functions.append(function)
        ignored += lost(f"tools.{index}", tool, _USUAL_KEYS)
    return functions


def calling_config(choice: Any, functions: list[Json], ignored: list[str]) -> Json | None:
    """Return `functionCallingConfig`; None for the usual one. Raises ProblemError for a choice that cannot be had."""
    if not isinstance(choice, dict):
        return None
    if choice.get("disable_parallel_tool_use") is True:
        ignored.append("tool_choice.disable_parallel_tool_use")
    kind = choice.get("type")
    if kind in {"any", "tool"} and not functions:
        raise _not_here("tool_choice")
    if kind == "any":
        return {"mode": "ANY"}
    if kind == "none":
        return {"mode": "NONE"} if functions else None
    if kind == "tool":
        if all(function["name"] != choice.get("name") for function in functions):
            raise _not_here("tool_choice.name")
        return {"mode": "ANY", "allowedFunctionNames": [choice["name"]]}
    return None


def _not_here(where: str) -> ProblemError:
    return ProblemError(invalid(f"{where}: there is no such tool at the provider of this model"))


def _takes_nothing(schema: Json) -> bool:
    return (
        schema.keys() <= _EMPTY_SCHEMA_KEYS and not schema.get("properties") and not schema.get("additionalProperties")
    )
