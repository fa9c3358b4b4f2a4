"""Checks tools: the functions and their schemas, what goes together, and what `toolConfig` asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock_simulator.gemini.errors import invalid
from penstock_simulator.gemini.openapi import check_schema, json_schema

if TYPE_CHECKING:
    from penstock_simulator.gemini.complaints import Complaints
    from penstock_simulator.gemini.models import Model

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
_NAME_WORDS = (
    "Invalid function name. Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores "
    "(_), dots (.), colons (:), or dashes (-), with a maximum length of 64."
)


@dataclass(frozen=True, slots=True)
class Function:
    """A function that may be called; `schema` is a JSON schema."""

    name: str
    schema: dict[str, Any]


@dataclass(slots=True)
class Tools:
    """What a request offers."""

    functions: list[Function] = field(default_factory=list)
    built_in: bool = False
    """Whether Google's own tools are among them."""
    mode: str = "AUTO"
    allowed: list[str] = field(default_factory=list)


def check_declarations(document: dict[str, Any], complaints: Complaints) -> None:
    """Complain about functions that cannot be."""
    for number, tool in enumerate(document.get("tools", ())):
        for index, function in enumerate(tool.get("function_declarations", ())):
            at = f"tools[{number}].function_declarations[{index}]"
            if not _NAME.fullmatch(function.get("name", "")):
                complaints.add(f"{at}.name", _NAME_WORDS)
            for name in ("parameters", "response"):
                if name in function:
                    check_schema(function[name], f"{at}.{name}", complaints)
                    if f"{name}_json_schema" in function:
                        complaints.add(f"{at}.{name}", f"must not be set together with {name}_json_schema")
            for name in ("parameters_json_schema", "response_json_schema"):
                if not isinstance(function.get(name, {}), dict):
                    complaints.add(f"{at}.{name}", "must be a JSON schema object")


def read_tools(document: dict[str, Any], model: Model) -> Tools:
    """Return what may be used; raises RefusalError for what does not go together."""
    tools = Tools()
    for tool in document.get("tools", ()):
        tools.built_in |= bool(tool.keys() - {"function_declarations"})
        tools.functions += [_function(one) for one in tool.get("function_declarations", ())]
    if tools.functions and model.draws:
        raise invalid(f"Function calling is not enabled for models/{model.name}")
    names = [function.name for function in tools.functions]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise invalid(f"Duplicate function declaration found: {name}")
    config = document.get("tool_config", {})
    if tools.built_in and tools.functions:
        _check_mixture(config, model)
    calling = config.get("function_calling_config")
    if calling is not None:
        _read_calling(tools, calling, names)
    return tools


def _function(declared: dict[str, Any]) -> Function:
    schema = declared.get("parameters_json_schema") or json_schema(declared.get("parameters", {}))
    return Function(declared["name"], schema)


def _check_mixture(config: dict[str, Any], model: Model) -> None:
    if not model.third:
        raise invalid("Tool use with function calling is unsupported")
    if not config.get("include_server_side_tool_invocations"):
        raise invalid(
            "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function "
            "calling."
        )


def _read_calling(tools: Tools, calling: dict[str, Any], names: list[str]) -> None:
    if not tools.functions:
        raise invalid("Function calling config is set without function_declarations.")
    mode = calling.get("mode", "MODE_UNSPECIFIED")
    tools.mode = "AUTO" if mode == "MODE_UNSPECIFIED" else mode
    tools.allowed = calling.get("allowed_function_names", [])
    if tools.allowed and tools.mode not in {"ANY", "VALIDATED"}:
        raise invalid("allowed_function_names should be set only when the function calling mode is ANY or VALIDATED.")
    for name in tools.allowed:
        if name not in names:
            raise invalid(f"allowed_function_names contains `{name}`, which is not among the function_declarations.")
