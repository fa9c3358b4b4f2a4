"""Tools that this format knows by their type and that the client itself runs: to others they are plain functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge.dialects.openai_responses.refusal import required

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.canonical import Json


@dataclass(frozen=True, slots=True)
class ClientTool:
    """One of them. `call` and `result` are the types of its items."""

    call: str
    result: str
    prefix: str
    """How the ids of its calls begin."""
    description: str
    schema: Json
    asked: Callable[[Json, str], Json]
    """Returns the input that a call item holds. Raises ProblemError."""
    fields: Callable[[Json], Json]
    """Returns what of a call item says the input, whatever a model has made of it."""
    told: Callable[[Json, str], Any]
    """Returns a result item's text, or its list of parts. Raises ProblemError."""


def _object(properties: Json, required_names: list[str]) -> Json:
    return {"type": "object", "properties": properties, "required": required_names, "additionalProperties": False}


_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_MILLISECONDS: Final = {"type": "integer", "description": "How long it may take, in milliseconds."}


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _action(item: Json, where: str) -> Json:
    action = required(item, "action", dict, where)
    return {name: value for name, value in action.items() if name != "type" and value is not None}


def _local_shell(given: Json) -> Json:
    env = given.get("env")
    action: Json = {"type": "exec", "command": _texts(given.get("command"))}
    action["env"] = env if isinstance(env, dict) else {}
    for name in ("timeout_ms", "user", "working_directory"):
        if given.get(name) is not None:
            action[name] = given[name]
    return {"action": action}


def _shell(given: Json) -> Json:
    action: Json = {"commands": _texts(given.get("commands"))}
    for name in ("timeout_ms", "max_output_length"):
        action[name] = given.get(name)
    return {"action": action}


def _patch(given: Json) -> Json:
    operation = {name: given[name] for name in ("type", "path", "diff") if isinstance(given.get(name), str)}
    return {"operation": operation}


def _patch_result(item: Json, _where: str) -> str:
    output = item.get("output")
    return output if isinstance(output, str) and output else str(item.get("status") or "completed")[:64]


def _search_call(given: Json) -> Json:
    return {"execution": "client", "arguments": given}


def _searched(item: Json, where: str) -> Json:
    arguments = item.get("arguments")
    return arguments if isinstance(arguments, dict) else {"query": required(item, "arguments", str, where)}


def _json(name: str) -> Callable[[Json, str], str]:
    return lambda item, _where: msgspec.json.encode(item.get(name)).decode()


CLIENT_TOOLS: Final[dict[str, ClientTool]] = {
    "local_shell": ClientTool(
        call="local_shell_call",
        result="local_shell_call_output",
        prefix="lsh",
        description="Runs a command on the user's machine and returns what it prints.",
        schema=_object(
            {
                "command": {**_TEXTS, "description": "The program and its arguments."},
                "working_directory": _TEXT,
                "timeout_ms": _MILLISECONDS,
                "env": {"type": "object", "additionalProperties": _TEXT},
            },
            ["command"],
        ),
        asked=_action,
        fields=_local_shell,
        told=lambda item, where: required(item, "output", str, where),
    ),
    "shell": ClientTool(
        call="shell_call",
        result="shell_call_output",
        prefix="sh",
        description="Runs shell commands on the user's machine and returns what each prints.",
        schema=_object(
            {
                "commands": {**_TEXTS, "description": "Command lines; they may run at the same time."},
                "timeout_ms": _MILLISECONDS,
                "max_output_length": {"type": "integer"},
            },
            ["commands"],
        ),
        asked=_action,
        fields=_shell,
        told=_json("output"),
    ),
    "apply_patch": ClientTool(
        call="apply_patch_call",
        result="apply_patch_call_output",
        prefix="apc",
        description="Creates, updates or deletes one file of the user's. The diff is in V4A format.",
        schema=_object(
            {
                "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                "path": _TEXT,
                "diff": {**_TEXT, "description": "The change; not for delete_file."},
            },
            ["type", "path"],
        ),
        asked=lambda item, where: dict(required(item, "operation", dict, where)),
        fields=_patch,
        told=_patch_result,
    ),
    "tool_search": ClientTool(
        call="tool_search_call",
        result="tool_search_output",
        prefix="tsc",
        description="Finds tools that are not listed yet.",
        schema=_object({"query": _TEXT}, ["query"]),
        asked=_searched,
        fields=_search_call,
        told=_json("tools"),
    ),
}

BY_CALL: Final = {tool.call: kind for kind, tool in CLIENT_TOOLS.items()}
BY_RESULT: Final = {tool.result: kind for kind, tool in CLIENT_TOOLS.items()}


def is_run_by_client(tool: Json) -> bool:
    """Whether a tool definition is for one of these; some of them may also be run by the provider."""
    kind = tool.get("type")
    if kind == "tool_search":
        return tool.get("execution") == "client"
    if kind == "shell":
        environment = tool.get("environment")
        return environment is None or (isinstance(environment, dict) and environment.get("type") == "local")
    return kind in {"local_shell", "apply_patch"}
