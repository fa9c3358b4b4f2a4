"""What a response object says, unary or as one chunk of a stream: only what is needed is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge.images import image_block
from penstock_edge.signatures import UNSIGNED_CALL
from penstock_edge.usage_report import OutputDetails, UsageReport

if TYPE_CHECKING:
    from penstock_edge.canonical import Json, StopReason

PROVIDER: Final = "Gemini"
"""Whose signatures these are."""


class UsageMetadata(msgspec.Struct):
    """Usage in Google's words: the prompt with what was cached, thoughts apart from the candidates."""

    prompt: int | None = msgspec.field(default=None, name="promptTokenCount")
    cached: int | None = msgspec.field(default=None, name="cachedContentTokenCount")
    candidates: int | None = msgspec.field(default=None, name="candidatesTokenCount")
    thoughts: int | None = msgspec.field(default=None, name="thoughtsTokenCount")
    tools: int | None = msgspec.field(default=None, name="toolUsePromptTokenCount")

    def report(self) -> UsageReport:
        """Return it in canonical words. A chunk that knows only the prompt says nothing of the output."""
        report = UsageReport()
        if self.prompt is not None or self.tools is not None:
            cached = self.cached or 0
            report.input_tokens = max(0, (self.prompt or 0) + (self.tools or 0) - cached)
            report.cache_read_input_tokens = cached
        if self.candidates is not None or self.thoughts is not None:
            report.output_tokens = (self.candidates or 0) + (self.thoughts or 0)
            report.output_tokens_details = OutputDetails(self.thoughts or 0)
        return report


class FunctionCall(msgspec.Struct):
    """A function call; `args` are raw JSON."""

    name: str = ""
    id: str | None = None
    args: msgspec.Raw = msgspec.Raw()

    def arguments(self) -> bytes:
        """Return the arguments as the JSON of an object."""
        raw = bytes(self.args)
        return raw if raw.startswith(b"{") else b"{}"


class InlineData(msgspec.Struct):
    """Something that is no text."""

    mime: str = msgspec.field(default="", name="mimeType")
    data: str = ""


class Part(msgspec.Struct):
    """A part. What only sounds, files and Google's own tools say is passed over: no other dialect can ask for them."""

    text: str | None = None
    thought: bool | None = None
    given_signature: str | None = msgspec.field(default=None, name="thoughtSignature")
    call: FunctionCall | None = msgspec.field(default=None, name="functionCall")
    inline: InlineData | None = msgspec.field(default=None, name="inlineData")

    @property
    def image(self) -> Json | None:
        """The block of an image, where it is one."""
        inline = self.inline
        if inline is None or not inline.data or not inline.mime.startswith("image/"):
            return None
        return image_block(inline.mime, inline.data)

    @property
    def signature(self) -> str | None:
        """What signs it; None too where it only says that nothing does, as gateways like this one write."""
        return None if self.given_signature == UNSIGNED_CALL else self.given_signature


class Content(msgspec.Struct):
    """A candidate's content."""

    parts: list[Part] | None = None


class Candidate(msgspec.Struct):
    """One candidate."""

    content: Content | None = None
    finish: str | None = msgspec.field(default=None, name="finishReason")
    words: str | None = msgspec.field(default=None, name="finishMessage")
    index: int | None = None


class PromptFeedback(msgspec.Struct):
    """What was found wrong with the prompt."""

    block_reason: str | None = msgspec.field(default=None, name="blockReason")
    words: str | None = msgspec.field(default=None, name="blockReasonMessage")


class Response(msgspec.Struct):
    """A response object."""

    candidates: list[Candidate] | None = None
    usage: UsageMetadata | None = msgspec.field(default=None, name="usageMetadata")
    feedback: PromptFeedback | None = msgspec.field(default=None, name="promptFeedback")
    model: str | None = msgspec.field(default=None, name="modelVersion")
    id: str | None = msgspec.field(default=None, name="responseId")
    # Not `Raw | None`: msgspec would then refuse everything but null.
    error: msgspec.Raw = msgspec.Raw()

    @property
    def block(self) -> tuple[str, str | None] | None:
        """Why the prompt itself was refused, as a finish reason and its words; None where it was not."""
        feedback = self.feedback
        if self.candidates or feedback is None or feedback.block_reason is None:
            return None
        return feedback.block_reason, feedback.words

    @property
    def failed(self) -> bool:
        """Whether this is an error object."""
        return bytes(self.error) not in {b"", b"null"}

    def first(self) -> Candidate | None:
        """Return the one candidate that was asked for."""
        for candidate in self.candidates or ():
            if not candidate.index:
                return candidate
        return None


decode: Final = msgspec.json.Decoder(Response).decode
UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""All that `decode` may raise."""

_REASONS: Final[dict[str, StopReason]] = {
    "STOP": "end_turn",
    "FINISH_REASON_UNSPECIFIED": "end_turn",
    "MAX_TOKENS": "max_tokens",
    "CONTINUATION": "max_tokens",
}


def stop_reason(finish: str, *, called: bool) -> StopReason:
    """Return why an answer ended. Whatever is neither a usual end nor a limit is an answer withheld."""
    reason = _REASONS.get(finish, "refusal")
    return "tool_use" if called and reason == "end_turn" else reason


def explanation(finish: str, words: str | None) -> str:
    """Return why an answer was withheld; "" where it was not. Nobody else has so many reasons, so this names it."""
    if finish in _REASONS:
        return ""
    return f"The provider ended the answer ({finish}){f': {words}' if words else '.'}"
