"""Canonical answers as Google writes them: candidates with parts, and usageMetadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge.signatures import UNSIGNED_CALL

if TYPE_CHECKING:
    from penstock_edge.canonical import Json, Message, StopReason
    from penstock_edge.dialects.gemini.tool_names import ToolNames
    from penstock_edge.usage_report import UsageReport

FINISH: Final[dict[StopReason, str]] = {
    "end_turn": "STOP",
    "stop_sequence": "STOP",
    "tool_use": "STOP",
    "pause_turn": "STOP",
    "max_tokens": "MAX_TOKENS",
    "model_context_window_exceeded": "MAX_TOKENS",
    "refusal": "SAFETY",
}
MALFORMED_CALL: Final = "MALFORMED_FUNCTION_CALL"


class PartsWriter:
    """Writes blocks as parts. A signature without a place of its own goes out on the part that follows it."""

    __slots__ = ("_called", "_names", "_signature", "_thoughts", "malformed")

    def __init__(self, names: ToolNames, *, thoughts: bool) -> None:
        self._names = names
        self._thoughts = thoughts
        self._signature = ""
        self._called = False
        self.malformed = False
        """A function call had to be left out because its arguments are no object."""

    @property
    def waiting(self) -> bool:
        """Whether a signature has not gone out yet."""
        return bool(self._signature)

    def text(self, text: str) -> Json:
        """Return the part of a text."""
        return self._signed({"text": text})

    def image(self, block: Json) -> Json:
        """Return the part of an image."""
        source = block["source"]
        if source["type"] == "url":
            return self._signed({"fileData": {"fileUri": source["url"]}})
        return self._signed({"inlineData": {"mimeType": source["media_type"], "data": source["data"]}})

    def thought(self, text: str) -> Json | None:
        """Return the part of a thought; None when the client did not ask for thoughts."""
        return {"text": text, "thought": True} if self._thoughts and text else None

    def signature(self, signature: str, *, thought: bool) -> Json | None:
        """Return the part that a thought's signature makes necessary, None when it can wait for the next part.

        `thought`: some of the thought's text has been written.
        """
        if not signature:
            return None
        if thought and self._thoughts:
            return {"text": "", "thought": True, "thoughtSignature": signature}
        earlier, self._signature = self._signature, signature
        return {"text": "", "thoughtSignature": earlier} if earlier else None

    def call(self, call_id: str, name: str, arguments: Any) -> Json | None:
        """Return the part of a function call; None when its arguments cannot be written."""
        try:
            encoded = msgspec.Raw(msgspec.json.encode(arguments)) if isinstance(arguments, dict) else None
        except (RecursionError, TypeError, ValueError, OverflowError):
            encoded = None
        if encoded is None:
            self.malformed = True
            return None
        call = {"id": call_id, "name": self._names.original(name), "args": encoded}
        part = self._signed({"functionCall": call})
        if not self._called:
            # Models of Google's refuse a step without a signature, should the conversation go on with one of them.
            part.setdefault("thoughtSignature", UNSIGNED_CALL)
        self._called = True
        return part

    def last(self) -> Json | None:
        """Return the part of a signature that nothing followed."""
        return self.text("") if self._signature else None

    def _signed(self, part: Json) -> Json:
        if self._signature:
            part["thoughtSignature"], self._signature = self._signature, ""
        return part

    def whole(self, content: list[Json]) -> list[Json]:
        """Return the parts of a whole answer."""
        parts: list[Json | None] = []
        for block in content:
            kind = block.get("type")
            if kind == "text" and block.get("text"):
                parts.append(self.text(block["text"]))
            elif kind == "thinking":
                parts += self._thinking(block)
            elif kind == "tool_use":
                parts.append(self.call(block.get("id", ""), block.get("name", ""), block.get("input")))
            elif kind == "image":
                parts.append(self.image(block))
        parts.append(self.last())
        return [part for part in parts if part is not None]

    def _thinking(self, block: Json) -> list[Json | None]:
        thought = self.thought(block.get("thinking") or "")
        signature = block.get("signature") or ""
        if thought is not None and signature:
            return [thought | {"thoughtSignature": signature}]
        return [thought, self.signature(signature, thought=thought is not None)]


def answer(message: Message, parts: PartsWriter, tail: Json) -> bytes:
    """Return the body of a unary answer; `tail` is what stands beside the candidates."""
    written = parts.whole(message.content)
    reason = MALFORMED_CALL if parts.malformed and message.stop_reason == "tool_use" else FINISH[message.stop_reason]
    candidate: Json = {"content": {"parts": written, "role": "model"}, "finishReason": reason, "index": 0}
    if message.explanation:
        candidate["finishMessage"] = message.explanation
    if not written and message.stop_reason == "refusal":
        del candidate["content"]
    return msgspec.json.encode({"candidates": [candidate], "usageMetadata": usage_metadata(message.usage), **tail})


def usage_metadata(usage: UsageReport) -> Json:
    """Return usage in Google's words: the prompt with what was cached, thoughts apart from the answer."""
    cached = usage.cache_read_input_tokens or 0
    prompt = (usage.input_tokens or 0) + (usage.cache_creation_input_tokens or 0) + cached
    output = usage.output_tokens or 0
    details = usage.output_tokens_details
    thoughts = min(output, (details.thinking_tokens or 0) if details is not None else 0)
    figures: Json = {"promptTokenCount": prompt, "candidatesTokenCount": output - thoughts}
    if cached:
        figures["cachedContentTokenCount"] = cached
    if thoughts:
        figures["thoughtsTokenCount"] = thoughts
    figures["totalTokenCount"] = prompt + output
    return figures
