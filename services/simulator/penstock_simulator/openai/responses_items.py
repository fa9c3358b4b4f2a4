"""Checks the input items of Responses: their forms, and that reasoning, calls and outputs belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_simulator.openai import identities
from penstock_simulator.openai.errors import INVALID, invalid
from penstock_simulator.openai.fields import may, missing, need, one_of, only, sized, typed, wrong_type, wrong_value
from penstock_simulator.openai.sealed import SealError, unseal
from penstock_simulator.refusal import RefusalError

if TYPE_CHECKING:
    from penstock_simulator.openai.content import Parts
    from penstock_simulator.openai.stored import Stored

_STATUSES = ("in_progress", "completed", "incomplete")
_IN = ("input_text", "input_image", "input_file")
_ROLES: dict[str, tuple[str, ...]] = {
    "assistant": ("output_text", "refusal"),
    "system": _IN,
    "developer": _IN,
    "user": (*_IN, "input_audio"),
}
_FIELDS: dict[str, set[str]] = {
    "message": {"role", "content", "phase"},
    "function_call": {"call_id", "name", "arguments", "namespace", "caller", "async"},
    "function_call_output": {"call_id", "output", "name", "namespace", "caller"},
    "custom_tool_call": {"call_id", "name", "input", "namespace", "caller", "async"},
    "custom_tool_call_output": {"call_id", "output", "name", "caller"},
    "reasoning": {"summary", "content", "encrypted_content"},
    "item_reference": set(),
}
# Items of built-in tools and of the newest kinds: any field is let through.
_OTHERS = (
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "compaction_trigger",
    "computer_call",
    "computer_call_output",
    "configuration_update",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
)
_PREFIXES = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}
_CALLS = {"function_call": "function call", "custom_tool_call": "custom tool call"}
_MOST_ID = 64
# What may stand after reasoning: the things that it was for.
_AFTER_REASONING = {"reasoning", "function_call", "custom_tool_call", "web_search_call", "item_reference"}


class ItemCheck:
    """Checks the items of one request."""

    def __init__(self, parts: Parts, stored: Stored, organization: str) -> None:
        self._parts = parts
        self._stored = stored
        self._organization = organization

    def check(self, items: list[Any]) -> list[Any]:
        """Check each item; returns them with their types named and references followed."""
        found = []
        for index, item in enumerate(items):
            at = f"input[{index}]"
            found.append(self._item(typed(item, dict, at), at))
        return found

    def _item(self, item: dict[str, Any], at: str) -> dict[str, Any]:
        kind = _kind(item, at)
        item = {**item, "type": kind}
        if kind in _OTHERS:
            return item
        only(item, _FIELDS[kind] | {"type", "id", "status"}, at)
        self._identity(item, kind, at)
        one_of(item, "status", _STATUSES, at)
        match kind:
            case "message":
                self._message(item, at)
            case "function_call" | "custom_tool_call":
                sized(need(item, "call_id", str, at), f"{at}.call_id", _MOST_ID)
                need(item, "name", str, at)
                need(item, "arguments" if kind == "function_call" else "input", str, at)
            case "function_call_output" | "custom_tool_call_output":
                sized(need(item, "call_id", str, at), f"{at}.call_id", _MOST_ID)
                self._output(item, at)
            case "reasoning":
                self._reasoning(item, at)
            case "item_reference":
                return self._referred(need(item, "id", str, at))
        return item

    def _identity(self, item: dict[str, Any], kind: str, at: str) -> None:
        identity = may(item, "id", str, at)
        if identity is None:
            return
        sized(identity, f"{at}.id", _MOST_ID)
        # A user's message has no id of its own, so that nothing can be expected of it.
        prefix = _PREFIXES.get(kind) if item.get("role", "assistant") == "assistant" else None
        if prefix and not identity.startswith(prefix):
            words = f"Invalid '{at}.id': '{identity}'. Expected an ID that begins with '{prefix}'."
            raise invalid(words, f"{at}.id", "invalid_value")

    def _message(self, item: dict[str, Any], at: str) -> None:
        role = need(item, "role", str, at)
        if role not in _ROLES:
            raise wrong_value(f"{at}.role", role, tuple(_ROLES))
        if "content" not in item:
            raise missing(f"{at}.content")
        self._parts.check(item["content"], f"{at}.content", _ROLES[role])

    def _output(self, item: dict[str, Any], at: str) -> None:
        output = item.get("output")
        if "output" not in item:
            raise missing(f"{at}.output")
        if not isinstance(output, str | list):
            raise wrong_type(f"{at}.output", "one of a string or array of objects", output)
        if output:
            self._parts.check(output, f"{at}.output", _IN)

    def _reasoning(self, item: dict[str, Any], at: str) -> None:
        summary = need(item, "summary", list, at)
        if summary:
            self._parts.check(summary, f"{at}.summary", ("summary_text",))
        content = may(item, "content", list, at)
        if content:
            self._parts.check(content, f"{at}.content", ("reasoning_text",))
        sealed = may(item, "encrypted_content", str, at)
        if sealed is None:
            self._referred(need(item, "id", str, at))
            return
        try:
            unseal(self._organization, sealed)
        except SealError as error:
            words = f"The encrypted content {sealed[:4]}...{sealed[-4:]} could not be verified. Reason: {error}"
            raise invalid(words, None, "invalid_encrypted_content") from None

    def _referred(self, identity: str) -> dict[str, Any]:
        item: dict[str, Any] | None = self._stored.item(identity)
        if item is None:
            raise RefusalError(
                404,
                INVALID,
                f"Item with id '{identity}' not found. Items are not persisted when `store` is set to false. Try again "
                "with `store` set to true, or remove this item from your input.",
                param="input",
            )
        return item


def _kind(item: dict[str, Any], at: str) -> str:
    kind = may(item, "type", str, at)
    if kind is None:
        kind = "message" if "role" in item else "item_reference" if set(item) <= {"id", "type"} else None
    if kind is None:
        raise missing(f"{at}.type")
    if kind not in _FIELDS and kind not in _OTHERS:
        raise wrong_value(f"{at}.type", kind, sorted((*_FIELDS, *_OTHERS)))
    return str(kind)


def check_together(items: list[dict[str, Any]]) -> None:
    """Check that what belongs together is there: no id twice, reasoning with what it was for, calls with outputs."""
    _check_reasoning(items)
    calls: dict[str, str] = {}
    answered: set[str] = set()
    for item in items:
        kind = item["type"]
        if kind in _CALLS:
            calls[item["call_id"]] = kind
        elif kind in {"function_call_output", "custom_tool_call_output"}:
            wanted = kind.removesuffix("_output")
            if calls.get(item["call_id"]) != wanted:
                words = f"No tool call found for {_CALLS[wanted]} output with call_id {item['call_id']}."
                raise invalid(words, "input")
            answered.add(item["call_id"])
    for identity, kind in calls.items():
        if identity not in answered:
            raise invalid(f"No tool output found for {_CALLS[kind]} {identity}.", "input")


def _check_reasoning(items: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    nameless = False
    for index, item in enumerate(items):
        kind, identity = item["type"], item.get("id")
        if kind == "reasoning":
            # Some clients leave its id away: then nothing can be missed.
            nameless = nameless or identity is None
            following = items[index + 1] if index + 1 < len(items) else {}
            after = following.get("type")
            if after not in _AFTER_REASONING and following.get("role") != "assistant":
                words = f"Item '{identity}' of type 'reasoning' was provided without its required following item."
                raise invalid(words, "input")
        if identity is None:
            continue
        if identity in seen:
            words = f"Duplicate item found with id {identity}. Remove duplicate items from your input and try again."
            raise invalid(words, "input")
        seen.add(identity)
        needed = identities.needs_reasoning(identity)
        if needed and not nameless and not any(one.startswith(needed) for one in seen):
            words = (
                f"Item '{identity}' of type '{kind}' was provided without its required 'reasoning' item: '{needed}'."
            )
            raise invalid(words, "input")
