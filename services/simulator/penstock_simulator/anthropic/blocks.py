"""Checks content blocks as the real API does; the words are its own where they are known."""

from __future__ import annotations

from typing import Any

from penstock_simulator.anthropic.errors import invalid
from penstock_simulator.anthropic.signature import known

_MEDIA = {"image/jpeg", "image/png", "image/gif", "image/webp"}
_MARK = {"type", "cache_control"}
# Fields beside `type` and `cache_control`; for the types that have no entry any field is let through.
_FIELDS: dict[str, set[str]] = {
    "text": {"text", "citations"},
    "image": {"source", "transformations"},
    "document": {"source", "title", "context", "citations"},
    "tool_use": {"id", "name", "input", "caller", "toolset_name"},
    "tool_result": {"tool_use_id", "content", "is_error", "toolset_name"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
}
_OTHERS = {
    "search_result",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "container_upload",
}
_BETA = {
    "mcp_tool_use",
    "mcp_tool_result",
    "mcp_tool_listing",
    "compaction",
    "fallback",
    "advisor_tool_result",
    "tool_addition",
    "tool_removal",
    "tool_reference",
    "browser_state",
}
_ASSISTANT_ONLY = {"tool_use", "thinking", "redacted_thinking"}
_REQUIRED: dict[str, dict[str, type]] = {
    "text": {"text": str},
    "image": {"source": dict},
    "document": {"source": dict},
    "tool_use": {"id": str, "name": str, "input": dict},
    "tool_result": {"tool_use_id": str},
    "thinking": {"thinking": str, "signature": str},
    "redacted_thinking": {"data": str},
}
_WORDS = {str: "string", dict: "dictionary", list: "list", int: "integer", bool: "boolean"}


def require(value: dict[str, Any], name: str, kind: type, at: str) -> Any:
    """Return a field that must be there and of a type."""
    where = f"{at}.{name}" if at else name
    if name not in value:
        raise invalid(f"{where}: field required")
    return typed(value[name], kind, where)


def typed(value: Any, kind: type, where: str) -> Any:
    """Return a value that must be of a type."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise invalid(f"{where}: Input should be a valid {_WORDS[kind]}")
    return value


def only(value: dict[str, Any], allowed: set[str], at: str) -> None:
    """Refuse other fields."""
    for name in value:
        if name not in allowed:
            raise invalid(f"{at}.{name}: Extra inputs are not permitted" if at else extra(name))


def extra(name: str) -> str:
    """Return the words for a field that is not known."""
    return f"{name}: Extra inputs are not permitted"


class BlockCheck:
    """Checks blocks of one request and gathers its cache marks."""

    def __init__(self, *, modern: bool, beta: bool) -> None:
        self._modern = modern
        self._beta = beta
        self.marks: list[int] = []
        """Seconds of each cache mark, in the order of the prompt."""

    def mark(self, holder: dict[str, Any], at: str) -> None:
        """Check and gather a `cache_control`."""
        control = holder.get("cache_control")
        if control is None:
            return
        where = f"{at}.cache_control" if at else "cache_control"
        typed(control, dict, where)
        only(control, {"type", "ttl", "scope"}, where)
        if require(control, "type", str, where) != "ephemeral":
            raise invalid(f"{where}.type: Input should be 'ephemeral'")
        ttl = control.get("ttl", "5m")
        if ttl not in {"5m", "1h"}:
            raise invalid(f"{where}.ttl: Input should be '5m' or '1h'")
        seconds = 3600 if ttl == "1h" else 300
        if seconds == 3600 and 300 in self.marks:
            raise invalid(
                f"{where}.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note "
                "that blocks are processed in the following order: `tools`, `system`, `messages`."
            )
        self.marks.append(seconds)
        if len(self.marks) > 4:
            raise invalid(f"A maximum of 4 blocks with cache_control may be provided. Found {len(self.marks)}.")

    def text(self, block: Any, at: str, area: str) -> None:
        """Check a text block; `area` is `messages` or `system`."""
        self.block(block, at, area, "user")
        if block["type"] != "text":
            raise invalid(f"{at}.type: Input should be 'text'")

    def block(self, block: Any, at: str, area: str, role: str) -> None:
        """Check one block of a message of `role`."""
        typed(block, dict, at)
        kind = require(block, "type", str, at)
        if kind not in _FIELDS and kind not in _OTHERS and not (self._beta and kind in _BETA):
            tags = ", ".join(f"'{tag}'" for tag in (*_FIELDS, *sorted(_OTHERS)))
            raise invalid(
                f"{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}"
            )
        inside = f"{at}.{kind}"
        for name, expected in _REQUIRED.get(kind, {}).items():
            require(block, name, expected, inside)
        if kind in _FIELDS:
            only(block, _FIELDS[kind] | _MARK, inside)
        if kind in _ASSISTANT_ONLY and role != "assistant":
            raise invalid(f"messages: `{kind}` blocks can only be in `assistant` messages")
        if kind == "tool_result" and role == "assistant":
            raise invalid("messages: `tool_result` blocks can only be in `user` messages")
        self._special(block, kind, inside, area, role)
        self.mark(block, inside)

    def _special(self, block: dict[str, Any], kind: str, at: str, area: str, role: str) -> None:
        match kind:
            case "text":
                self._text(block, at, area, role)
            case "image":
                _source(block["source"], f"{at}.source", images=True)
            case "document":
                if self._modern and role == "assistant":
                    raise invalid(f"{at}: `document` blocks are not permitted in `assistant` messages")
                _source(block["source"], f"{at}.source", images=False)
            case "thinking" | "redacted_thinking":
                if block.get("cache_control") is not None:
                    raise invalid(f"{at}.cache_control: Extra inputs are not permitted")
                if kind == "thinking" and not known(block["thinking"], block["signature"]):
                    raise invalid(f"{at.removesuffix('.thinking')}: Invalid `signature` in `thinking` block")
            case "tool_result":
                self._result(block, at)

    def _text(self, block: dict[str, Any], at: str, area: str, role: str) -> None:
        if not block["text"]:
            if block.get("cache_control") is not None:
                raise invalid(f"{at.removesuffix('.text')}: cache_control cannot be set for empty text blocks")
            raise invalid(f"{area}: text content blocks must be non-empty")
        if block["text"].isspace():
            raise invalid(f"{area}: text content blocks must contain non-whitespace text")
        if self._modern and role == "user" and block.get("citations"):
            raise invalid(f"{at}.citations: Extra inputs are not permitted")

    def _result(self, block: dict[str, Any], at: str) -> None:
        content = block.get("content", "")
        if "is_error" in block:
            typed(block["is_error"], bool, f"{at}.is_error")
        if isinstance(content, str):
            return
        for index, inner in enumerate(typed(content, list, f"{at}.content")):
            self.block(inner, f"{at}.content.{index}", "messages", "user")


def _source(source: dict[str, Any], at: str, *, images: bool) -> None:
    kind = require(source, "type", str, at)
    if kind == "base64":
        media = require(source, "media_type", str, f"{at}.base64")
        if images and media not in _MEDIA:
            names = ", ".join(f"'{name}'" for name in sorted(_MEDIA))
            raise invalid(f"{at}.base64.media_type: Input should be {names}")
        if not require(source, "data", str, f"{at}.base64"):
            raise invalid(f"{at}.base64: image cannot be empty" if images else f"{at}.base64: PDF cannot be empty")
    elif kind == "url":
        require(source, "url", str, f"{at}.url")
    elif kind not in ({"file"} if images else {"text", "content", "file"}):
        raise invalid(f"{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
