"""Checks the messages of Chat Completions: roles, contents, and that tool calls and their answers belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_simulator.openai.errors import invalid
from penstock_simulator.openai.fields import filled, may, missing, need, only, sized, typed, wrong_value

if TYPE_CHECKING:
    from penstock_simulator.openai.content import Parts
    from penstock_simulator.openai.models import Model
    from penstock_simulator.refusal import RefusalError

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_FIELDS: dict[str, set[str]] = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "audio", "tool_calls", "function_call", "annotations"},
    "tool": {"role", "content", "tool_call_id"},
    "function": {"role", "content", "name"},
}
_PARTS: dict[str, tuple[str, ...]] = {
    "system": ("text",),
    "developer": ("text",),
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
    "tool": ("text",),
    "function": ("text",),
}
_MOST_CALL_ID = 40


def check_messages(messages: list[Any], model: Model, parts: Parts) -> None:
    """Check all messages; raises RefusalError."""
    filled(messages, "messages")
    open_calls: list[str] = []
    calls: list[str] = []
    called_at = -1
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        role = _role(typed(message, dict, at), at, model)
        if role == "tool":
            _check_answer(message, index, calls, open_calls)
        elif open_calls:
            raise _unanswered(open_calls, index)
        if role != "tool":
            calls, open_calls = [], []
        if role == "assistant":
            calls = _calls(message, at)
            open_calls, called_at = list(calls), index
        _check_content(message, index, role, parts)
    if open_calls:
        raise _unanswered(open_calls, called_at)


def _role(message: dict[str, Any], at: str, model: Model) -> str:
    role = need(message, "role", str, at)
    if role not in _ROLES:
        raise wrong_value(f"{at}.role", role, _ROLES)
    fields = _FIELDS[role]
    if model.free:
        # Servers that show their reasoning take it back.
        fields = fields | {"reasoning_content", "cache_control"}
    only(message, fields, at)
    if role == "function":
        need(message, "name", str, at)
    may(message, "name", str, at)
    return str(role)


def _check_content(message: dict[str, Any], index: int, role: str, parts: Parts) -> None:
    at = f"messages[{index}]"
    content = message.get("content")
    if role == "assistant":
        may(message, "refusal", str, at)
        spoken = any(message.get(name) is not None for name in ("tool_calls", "function_call", "refusal", "audio"))
        if content is None and spoken:
            return
    if role == "function" and content is None and "content" in message:
        return
    if "content" not in message and role != "assistant":
        raise missing(f"{at}.content")
    if content is None:
        words = "Invalid value for 'content': expected a string, got null."
        raise invalid(words, f"messages.[{index}].content")
    parts.check(content, f"{at}.content", _PARTS[role])


def _calls(message: dict[str, Any], at: str) -> list[str]:
    """Return the ids of an assistant's tool calls."""
    calls = may(message, "tool_calls", list, at)
    if calls is None:
        return []
    filled(calls, f"{at}.tool_calls")
    found: list[str] = []
    for index, call in enumerate(calls):
        where = f"{at}.tool_calls[{index}]"
        identity = need(typed(call, dict, where), "id", str, where)
        sized(identity, f"{where}.id", _MOST_CALL_ID)
        kind = need(call, "type", str, where)
        if kind not in {"function", "custom"}:
            raise wrong_value(f"{where}.type", kind, ("function", "custom"))
        only(call, {"id", "type", "function", "custom", "index"}, where)
        inner = need(call, kind, dict, where)
        need(inner, "name", str, f"{where}.{kind}")
        need(inner, "arguments" if kind == "function" else "input", str, f"{where}.{kind}")
        found.append(identity)
    return found


def _check_answer(message: dict[str, Any], index: int, calls: list[str], open_calls: list[str]) -> None:
    if not calls:
        raise invalid(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
            "'tool_calls'.",
            f"messages.[{index}].role",
        )
    identity = need(message, "tool_call_id", str, f"messages[{index}]")
    where = f"messages.[{index}].tool_call_id"
    if identity not in calls:
        words = f"Invalid parameter: 'tool_call_id' of '{identity}' not found in 'tool_calls' of previous message."
        raise invalid(words, where)
    if identity not in open_calls:
        raise invalid(f"Duplicate value for 'tool_call_id' of '{identity}' in message[{index}].", where)
    open_calls.remove(identity)


def _unanswered(calls: list[str], index: int) -> RefusalError:
    return invalid(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(calls)}",
        f"messages.[{index}].role",
    )
