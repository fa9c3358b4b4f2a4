"""Writes output items: what a model says, thinks and calls, as this format has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge.dialects.openai_responses.client_tools import CLIENT_TOOLS
from penstock_edge.dialects.openai_responses.partial_input import whole_input
from penstock_edge.images import data_of
from penstock_edge.providers.odd_json import decoded

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.dialects.openai_responses.tool_book import Tool
    from penstock_edge.usage_report import UsageReport

IN_PROGRESS: Final = "in_progress"
COMPLETED: Final = "completed"
INCOMPLETE: Final = "incomplete"
REFUSAL: Final = "The model declined to answer."
_LIMITS: Final = frozenset({"max_tokens", "model_context_window_exceeded"})


class Ids:
    """Makes the ids of one answer from its request's."""

    __slots__ = ("_digits",)

    def __init__(self, request_id: str) -> None:
        self._digits = request_id.removeprefix("req_")

    def response(self) -> str:
        """Return the answer's own id."""
        return f"resp_{self._digits}"

    def item(self, prefix: str, index: int) -> str:
        """Return an output item's id."""
        return f"{prefix}_{self._digits}{index:02x}"


def message(item_id: str, parts: list[Json], status: str) -> Json:
    """Return an item of what the model says."""
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": parts}


def text_part(text: str) -> Json:
    """Return a part of a message."""
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def refusal_part(text: str) -> Json:
    """Return a part that says that there is no answer."""
    return {"type": "refusal", "refusal": text}


def reasoning(item_id: str, thinking: str, signature: str) -> Json:
    """Return an item of what the model thinks."""
    item: Json = {"id": item_id, "type": "reasoning", "summary": []}
    if thinking:
        item["summary"] = [{"type": "summary_text", "text": thinking}]
    if signature:
        item["encrypted_content"] = signature
    return item


def image(item_id: str, block: Json | None, status: str) -> Json:
    """Return an item of an image that was made; `block` is None while it is not there yet."""
    item: Json = {"id": item_id, "type": "image_generation_call", "status": status, "result": None}
    if block is not None:
        item["result"] = data_of(block)
        item["output_format"] = block["source"].get("media_type", "").removeprefix("image/") or None
    return item


def call_prefix(tool: Tool) -> str:
    """Return how the ids of calls of a tool begin."""
    if tool.kind in CLIENT_TOOLS:
        return CLIENT_TOOLS[tool.kind].prefix
    return "ctc" if tool.kind == "custom" else "fc"


def call(tool: Tool, item_id: str, call_id: str, arguments: str, status: str) -> Json:
    """Return an item of a tool call; `arguments` is its input as JSON text, "" when it is not known yet."""
    item: Json = {"id": item_id, "type": "function_call", "status": status, "call_id": call_id}
    if tool.kind in CLIENT_TOOLS:
        own = CLIENT_TOOLS[tool.kind]
        return item | {"type": own.call} | own.fields(_object(arguments))
    item["name"] = tool.name
    if tool.namespace:
        item["namespace"] = tool.namespace
    if tool.kind == "custom":
        item["type"] = "custom_tool_call"
        item["input"] = whole_input(arguments)
    else:
        item["arguments"] = arguments
    return item


def usage(report: UsageReport) -> Json:
    """Return usage with whole figures: cached tokens are input too, and thinking is output."""
    read = report.cache_read_input_tokens or 0
    written = report.cache_creation_input_tokens or 0
    given = (report.input_tokens or 0) + read + written
    said = report.output_tokens or 0
    details = report.output_tokens_details
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": (details.thinking_tokens or 0) if details is not None else 0},
        "total_tokens": given + said,
    }


def shortfall(stop_reason: str | None, *, empty: bool) -> str | None:
    """Return why an answer is not complete; None when it is. `empty`: the model said nothing at all."""
    if stop_reason in _LIMITS:
        return "max_output_tokens"
    # With nothing said, a refusal is an answer of its own.
    return "content_filter" if stop_reason == "refusal" and not empty else None


def _object(arguments: str) -> Json:
    try:
        given: Any = decoded(arguments) if arguments else {}
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return {}
    return given if isinstance(given, dict) else {}
