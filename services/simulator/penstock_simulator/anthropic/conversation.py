"""Checks the turns of a conversation: roles, empty contents, and that tool calls and results belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_simulator.anthropic.blocks import only, require, typed
from penstock_simulator.anthropic.errors import invalid

if TYPE_CHECKING:
    from penstock_simulator.anthropic.blocks import BlockCheck
    from penstock_simulator.anthropic.models import Model


def check_turns(messages: list[Any], blocks: BlockCheck, model: Model, *, system_allowed: bool) -> None:
    """Check all messages; raises RefusalError."""
    if not messages:
        raise invalid("messages: at least one message is required")
    calls: set[str] = set()
    known: set[str] = set()
    called_at = 0
    for index, message in enumerate(messages):
        at = f"messages.{index}"
        role = _role(typed(message, dict, at), at, system_allowed=system_allowed)
        if index == 0 and role != "user":
            raise invalid('messages: first message must use the "user" role')
        content = _content(message, at, final=index == len(messages) - 1)
        for position, block in enumerate(content):
            blocks.block(block, f"{at}.content.{position}", "messages", role)
        if role == "system":
            continue
        _check_ids(content, known, at)
        results = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
        if role == "user":
            _check_results(calls, called_at, results, content, at)
            calls = set()
        else:
            # Consecutive assistant messages are one turn.
            calls |= {block["id"] for block in content if block["type"] == "tool_use"}
            called_at = index
    if calls:
        raise _unanswered(calls, called_at)
    _check_last(messages[-1], model)


def _role(message: dict[str, Any], at: str, *, system_allowed: bool) -> str:
    role = require(message, "role", str, at)
    if role == "system" and not system_allowed:
        raise invalid(
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" '
            "as an input message role."
        )
    if role not in {"user", "assistant", "system"}:
        raise invalid(f'messages: Unexpected role "{role}". Allowed roles are "user" or "assistant".')
    only(message, {"role", "content"} | ({"clear_at", "output_config"} if role == "system" else set()), at)
    return str(role)


def _content(message: dict[str, Any], at: str, *, final: bool) -> list[dict[str, Any]]:
    """Return the blocks; an unmarked text stands for itself and needs no further check."""
    if "content" not in message:
        raise invalid(f"{at}.content: field required")
    content = message["content"]
    if not isinstance(content, str | list):
        raise invalid(f"{at}.content: Input should be a valid list")
    if not content and not (final and message["role"] == "assistant"):
        raise invalid(f"{at}: all messages must have non-empty content except for the optional final assistant message")
    return [] if isinstance(content, str) else content


def _check_ids(content: list[dict[str, Any]], known: set[str], at: str) -> None:
    for position, block in enumerate(content):
        if block["type"] == "tool_use":
            if block["id"] in known:
                raise invalid(f"{at}.content.{position}: `tool_use` ids must be unique")
            known.add(block["id"])


def _check_results(calls: set[str], called_at: int, results: list[str], content: list[Any], at: str) -> None:
    for position, block in enumerate(content):
        if block["type"] == "tool_result" and block["tool_use_id"] not in calls:
            raise invalid(
                f"{at}.content.{position}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{block['tool_use_id']}. Each `tool_result` block must have a corresponding `tool_use` block in the "
                "previous message."
            )
    missing = calls.difference(results)
    if missing:
        raise _unanswered(missing, called_at)
    if len(results) > len(set(results)):
        raise invalid(f"{at}.content: each tool_use must have a single result. Found multiple `tool_result` blocks.")


def _unanswered(calls: set[str], called_at: int) -> Exception:
    return invalid(
        f"messages.{called_at}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(sorted(calls))}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
        "message."
    )


def _check_last(message: dict[str, Any], model: Model) -> None:
    if message["role"] != "assistant":
        return
    if not model.prefill:
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    content = message["content"]
    if isinstance(content, list):
        content = content[-1].get("text", "") if content else ""
    if content and content != content.rstrip():
        raise invalid("messages: final assistant content cannot end with trailing whitespace")
