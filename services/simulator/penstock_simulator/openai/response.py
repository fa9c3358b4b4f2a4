"""An answer of Responses: the object that a body holds and that a stream's first and last events carry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator.openai import errors, identities, logprobs
from penstock_simulator.openai.sealed import seal

if TYPE_CHECKING:
    from penstock_simulator.openai.asked import Asked
    from penstock_simulator.openai.reply import Reply, ToolCall
    from penstock_simulator.openai.usage import Counts

_encode = msgspec.json.Encoder().encode
_ENCRYPTED = "reasoning.encrypted_content"
_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
# What is shown as it came, or as it is by default.
_ECHOED: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


@dataclass(slots=True)
class Response:
    """A whole answer, and how it is to be shown."""

    identity: str
    organization: str
    created: int
    asked: Asked
    reply: Reply
    counts: Counts
    tells_usage: bool = True
    output: list[dict[str, Any]] = field(init=False)
    """The output items as they are in the end."""

    def __post_init__(self) -> None:
        self.output = list(self._items())

    @property
    def id(self) -> str:
        """The id of the response."""
        return identities.response_id(self.identity)

    @property
    def status(self) -> str:
        """How it ends."""
        if self.reply.stop == "failed":
            return "failed"
        return "incomplete" if self.reply.stop in _REASONS else "completed"

    @property
    def stop_reason(self) -> str:
        """Why it ends, for the record."""
        return _REASONS.get(self.reply.stop, self.status)

    def unary(self) -> bytes:
        """Return the body."""
        return _encode(self.shown(self.status))

    def shown(self, status: str, error: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the object in a status: in_progress, completed, incomplete or failed."""
        document = self.asked.document
        over = status in {"completed", "incomplete"}
        if status == "failed" and error is None:
            error = errors.mid_stream("", "")
        shown: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "completed_at": self.created if status == "completed" else None,
            "error": {"code": _code(error), "message": error["message"]} if error else None,
            "incomplete_details": {"reason": _REASONS[self.reply.stop]} if status == "incomplete" else None,
            "model": self.asked.model.answers_as,
            "output": self.output if over else [],
            "reasoning": self._reasoning(),
            "service_tier": "default" if over else document.get("service_tier") or "auto",
            "text": self._text(),
            "usage": self.counts.responses() if over and self.tells_usage else None,
        }
        for name, default in _ECHOED.items():
            value = document.get(name)
            shown[name] = default if value is None else value
        return shown

    def _reasoning(self) -> dict[str, Any]:
        asked = self.asked.document.get("reasoning") or {}
        effort = self.asked.effort if self.asked.model.reasons else None
        return {"effort": effort, "summary": asked.get("summary") or asked.get("generate_summary")}

    def _text(self) -> dict[str, Any]:
        text = self.asked.document.get("text") or {}
        return {"format": text.get("format") or {"type": "text"}, "verbosity": text.get("verbosity") or "medium"}

    # -- output items

    @property
    def summarized(self) -> bool:
        """Whether the reasoning is shown."""
        reasoning = self._reasoning()
        return reasoning["summary"] is not None and bool(self.reply.reasoning)

    def _items(self) -> list[dict[str, Any]]:
        reply = self.reply
        items: list[dict[str, Any]] = []
        if reply.reasoning:
            items.append(self._reasoning_item())
        if reply.search:
            items.append(
                {
                    "id": self._id("ws", len(items)),
                    "type": "web_search_call",
                    "status": "completed",
                    "action": {"type": "search", "query": reply.search, "queries": [reply.search]},
                }
            )
        status = "incomplete" if self.status == "incomplete" else "completed"
        if reply.text or reply.refusal or not (reply.calls or reply.reasoning):
            items.append(
                {
                    "id": self._id("msg", len(items)),
                    "type": "message",
                    "status": status,
                    "role": "assistant",
                    "content": [self._part()],
                }
            )
        for index, call in enumerate(reply.calls):
            last = index == len(reply.calls) - 1
            items.append(_call(self._id("", len(items)), call, status if last else "completed"))
        return items

    def _id(self, prefix: str, index: int) -> str:
        # The prefix of a call depends on its tool.
        return identities.item_id(prefix, self.identity, index, reasoned=bool(self.reply.reasoning) and prefix != "rs")

    def _reasoning_item(self) -> dict[str, Any]:
        reply = self.reply
        shown = [{"type": "summary_text", "text": reply.reasoning}] if self.summarized else []
        item = {"id": self._id("rs", 0), "type": "reasoning", "summary": shown}
        if _ENCRYPTED in (self.asked.document.get("include") or ()):
            sealed = seal(self.organization, f"{self.identity}{reply.reasoning}", reply.reasoning_tokens)
            item["encrypted_content"] = sealed
        return item

    def _part(self) -> dict[str, Any]:
        if self.reply.refusal:
            return {"type": "refusal", "refusal": self.reply.refusal}
        top = self.asked.top_logprobs
        told = logprobs.of(self.reply.text, top) if top is not None else []
        return {"type": "output_text", "annotations": [], "logprobs": told, "text": self.reply.text}


def _code(error: dict[str, Any]) -> str:
    return str(error["code"] or error["type"])


def _call(identity: str, call: ToolCall, status: str) -> dict[str, Any]:
    custom = call.tool.kind == "custom"
    item = {
        "id": ("ctc" if custom else "fc") + identity,
        "type": "custom_tool_call" if custom else "function_call",
        "status": status,
        "input" if custom else "arguments": call.source,
        "call_id": call.id,
        "name": call.tool.name,
    }
    if call.tool.namespace:
        item["namespace"] = call.tool.namespace
    return item
