"""Requests that pass untranslated, without what answers of other providers left in their conversation. Pure.

What others signed goes, and then what the upstream would refuse for its absence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import signatures
from penstock_edge.dialects.unreadable import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from penstock_edge.canonical import Json

# What translated answers show of thinking in chat.completions. OpenAI itself has no such fields, and refuses them.
_CHAT_FIELDS: Final = (b'"reasoning_content"', b'"extra_content"')


def concerns(body: bytes, wire: str, provider: str, origins: Collection[str]) -> bool:
    """Whether a request may have to be cleaned for an account. `origins`: whose tagged signatures are in it."""
    return bool(origins) or (wire == "chat" and provider == "OpenAI" and any(name in body for name in _CHAT_FIELDS))


def cleaned(body: bytes, wire: str, provider: str) -> tuple[bytes, list[str]]:
    """Return a body as `provider` takes it, and what was left out. One that cannot be read passes as it is."""
    try:
        document, dropped = signatures.cleaned(msgspec.json.decode(body), provider)
        listed = [f"{path} (thinking signed by another provider)" for path in dropped]
        mend = _MENDERS.get(wire)
        if isinstance(document, dict) and mend is not None and (dropped or wire == "chat"):
            mend(document, provider, listed)
        return msgspec.json.encode(document), listed
    except UNREADABLE:
        return body, []


def _mend_messages(document: Json, provider: str, listed: list[str]) -> None:
    """Leave out messages that have become empty, and a budget for thinking that its tool calls now lack."""
    del provider
    messages = document.get("messages")
    if isinstance(messages, list):
        document["messages"] = [message for message in messages if _member(message, "content") != []]
    thinking = document.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return
    if not _calls_without_thinking(_dicts(document.get("messages"))):
        return
    del document["thinking"]
    listed.append("thinking")
    management = document.get("context_management")
    if isinstance(management, dict) and isinstance(management.get("edits"), list):
        # Refused where nothing is thought.
        kept = [edit for edit in management["edits"] if "clear_thinking" not in str(_member(edit, "type"))]
        document["context_management"] = {**management, "edits": kept}


def _calls_without_thinking(messages: list[Json]) -> bool:
    """Whether the turn that goes on has tool calls before which no thinking stands."""
    for message in reversed(messages):
        content = _dicts(message.get("content"))
        kinds = [block.get("type") for block in content]
        if message.get("role") == "assistant":
            return "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking")
        if "tool_result" not in kinds:
            return False
    return False


def _mend_contents(document: Json, provider: str, listed: list[str]) -> None:
    """Leave out parts and contents that have become empty."""
    for name in ("generateContentRequest", "generate_content_request"):
        if isinstance(document.get(name), dict):
            _mend_contents(document[name], provider, listed)
    if not isinstance(document.get("contents"), list):
        return
    kept = []
    for content in document["contents"]:
        if isinstance(content, dict) and isinstance(content.get("parts"), list):
            content["parts"] = [part for part in content["parts"] if part != {"text": ""}]
            if not content["parts"]:
                continue
        kept.append(content)
    document["contents"] = kept


def _mend_chat(document: Json, provider: str, listed: list[str]) -> None:
    """Take thinking from the assistant's messages where the upstream knows none in this format."""
    own = provider == "OpenAI"
    for index, message in enumerate(_dicts(document.get("messages"))):
        if own and message.pop("reasoning_content", None):
            listed.append(f"messages.{index}.reasoning_content")
        for call in _dicts(message.get("tool_calls")):
            if own or call.get("extra_content") == {"google": {}}:
                call.pop("extra_content", None)


_MENDERS: Final[dict[str, Callable[[Json, str, list[str]], None]]] = {
    "messages": _mend_messages,
    "generate": _mend_contents,
    "chat": _mend_chat,
}


def _dicts(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
