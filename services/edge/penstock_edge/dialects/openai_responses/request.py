"""Reads a whole Responses request into the canonical form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge.canonical import Extras, Request
from penstock_edge.dialects.openai_caching import CACHE_OPTIONS, CACHE_RETENTIONS, wants_cache
from penstock_edge.dialects.openai_names import CONVERSATION, chosen
from penstock_edge.dialects.openai_responses.refusal import (
    dictionary,
    number,
    optional,
    refused,
    required,
    uncarriable,
    whole_number,
)
from penstock_edge.dialects.openai_responses.tool_book import ToolBook
from penstock_edge.dialects.openai_responses.tools import ToolReader
from penstock_edge.dialects.openai_responses.transcript import Transcript
from penstock_edge.dialects.unreadable import UNREADABLE, unreadable
from penstock_edge.notes import Notes

if TYPE_CHECKING:
    from penstock_edge.canonical import Json

# What is read below, and what says nothing in a gateway that stores no answers.
_READ: Final = frozenset(
    {
        "model",
        "stream",
        "input",
        "instructions",
        "max_output_tokens",
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "reasoning",
        "safety_identifier",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_p",
        "user",
    }
)
_HARMLESS: Final[dict[str, tuple[Any, ...]]] = {
    "background": (False,),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "stream_options": ({}, {"include_obfuscation": False}),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
    "prompt_cache_options": CACHE_OPTIONS,
    "prompt_cache_retention": CACHE_RETENTIONS,
}
# Without these the answer would be another one.
_NEEDED: Final = frozenset({"background", "conversation", "previous_response_id", "prompt", "top_logprobs"})
_ENCRYPTED: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"
_NAMES: Final = {
    "messages": "input",
    "tools": "tools",
    "max_tokens": "max_output_tokens",
    "output_config.effort": "reasoning.effort",
    "output_config.format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "thinking": "reasoning",
    "tool_choice.disable_parallel_tool_use": "parallel_tool_calls",
}
_EFFORTS: Final = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}


class RequestReader:
    """Reads one request. Raises ProblemError (400) for what is wrong or cannot be carried."""

    def __init__(self, body: bytes) -> None:
        try:
            document = msgspec.json.decode(body)
        except UNREADABLE as error:
            raise unreadable(error) from None
        self.document: Json = dictionary(document, "body")
        self.book = ToolBook()
        self._ignored = Notes()
        self._extras = Extras()
        self._body: Json = {}
        self._names = dict(_NAMES)

    def read(self) -> Request:
        """Return the canonical request."""
        self._pass_over()
        self._conversation()
        self._sampling()
        self._reasoning()
        self._text()
        self._user()
        self._extras.cached = wants_cache(self.document)
        return Request(self._body, self._extras, self._ignored, self._names)

    def _pass_over(self) -> None:
        """List what is not carried."""
        for name, value in self.document.items():
            if name in _READ or value is None or value in _HARMLESS.get(name, ()):
                continue
            if name in _NEEDED:
                raise uncarriable(name, "this field")
            if name == "include":
                self._include(value)
            else:
                self._ignored.append(name[:64])

    def _include(self, wanted: Any) -> None:
        if not isinstance(wanted, list):
            raise refused("include", "Input should be a valid list")
        if _LOGPROBS in wanted:
            raise uncarriable("include", "log probabilities")
        if any(what != _ENCRYPTED for what in wanted):
            self._ignored.append("include")

    def _conversation(self) -> None:
        document, body = self.document, self._body
        tools = ToolReader(self.book, self._ignored)
        tools.read(optional(document, "tools", list) or [], "tools")
        transcript = Transcript(self.book, tools, self._ignored)
        instructions = optional(document, "instructions", str)
        if instructions:
            transcript.system.append({"type": "text", "text": instructions})
        given = document.get("input")
        if isinstance(given, str):
            given = [{"role": "user", "content": given}]
        elif not isinstance(given, list):
            raise refused("input", "field required" if given is None else "Input should be a valid list")
        transcript.read(given)
        if not transcript.turns and len(transcript.system) > bool(instructions):
            # Here a developer's message may stand alone; elsewhere somebody has to speak.
            transcript.turns = [{"role": "user", "content": [transcript.system.pop()]}]
        if not transcript.turns:
            raise refused("input", "at least one message is required")
        body["messages"] = transcript.turns
        if transcript.system:
            body["system"] = transcript.system
        parallel = optional(document, "parallel_tool_calls", bool) is not False
        choice = tools.choice(document.get("tool_choice"), parallel=parallel)
        if tools.tools:
            body["tools"] = tools.tools
        if choice is not None:
            body["tool_choice"] = choice

    def _sampling(self) -> None:
        most = whole_number(self.document, "max_output_tokens")
        if most is not None:
            if most < 1:
                raise refused("max_output_tokens", "Input should be greater than 0")
            self._body["max_tokens"] = most
        for name in ("temperature", "top_p"):
            value = number(self.document, name)
            if value is not None:
                if value < 0:
                    raise refused(name, "Input should be greater than or equal to 0")
                self._body[name] = value

    def _reasoning(self) -> None:
        reasoning = optional(self.document, "reasoning", dict)
        if reasoning is None:
            return
        effort = optional(reasoning, "effort", str, "reasoning")
        summary = reasoning.get("summary") or reasoning.get("generate_summary")
        self._ignored += [
            f"reasoning.{name[:64]}"
            for name, value in reasoning.items()
            if value is not None and name not in {"effort", "summary", "generate_summary"}
        ]
        if effort == "none":
            self._body["thinking"] = {"type": "disabled"}
            return
        if effort in _EFFORTS:
            self._body["output_config"] = {"effort": _EFFORTS[effort]}
        elif effort is not None:
            self._ignored.append("reasoning.effort")
        if effort in _EFFORTS or summary is not None:
            self._body["thinking"] = {"type": "adaptive"}

    def _text(self) -> None:
        text = optional(self.document, "text", dict)
        if text is None:
            return
        self._ignored += [f"text.{name[:64]}" for name, value in text.items() if name != "format" and value is not None]
        wanted = optional(text, "format", dict, "text")
        kind = "text" if wanted is None else required(wanted, "type", str, "text.format")
        if wanted is None or kind == "text":
            return
        if kind == "json_object":
            self._extras.json_object = True
        elif kind == "json_schema":
            schema = required(wanted, "schema", dict, "text.format")
            self._extras.schema_name = optional(wanted, "name", str, "text.format") or ""
            if wanted.get("description"):
                self._ignored.append("text.format.description")
            self._body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
        else:
            raise uncarriable("text.format.type", f"a format of the type {kind[:64]}")

    def _user(self) -> None:
        metadata = optional(self.document, "metadata", dict) or {}
        document = self.document
        names = {name: optional(document, name, str) for name in (CONVERSATION, "user", "safety_identifier")}
        names["metadata.user_id"] = optional(metadata, "user_id", str, "metadata")
        found = chosen(names, self._ignored)
        if found:
            self._body["metadata"] = {"user_id": found}
            field = next(field for field, name in names.items() if name == found)
            self._names["metadata"] = self._names["metadata.user_id"] = field
        if any(value is not None for name, value in metadata.items() if name != "user_id"):
            self._ignored.append("metadata")
