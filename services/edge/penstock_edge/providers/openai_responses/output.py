"""What a Responses answer says in canonical terms: usage, endings, reasoning, errors. Unary and streamed alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import signatures
from penstock_edge.providers.openai_failure import of_error_object
from penstock_edge.usage_report import OutputDetails, UsageReport

if TYPE_CHECKING:
    from penstock_edge.canonical import StopReason
    from penstock_edge.providers.failure import Failure

PROVIDER: Final = "OpenAI"
# Errors of the moment, of the upstream's own making.
_PASSING: Final = frozenset({"server_error", "rate_limit_exceeded", "vector_store_timeout"})
UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeError)


class Text(msgspec.Struct):
    """A part of a message, of a summary, or of reasoning told in full."""

    type: str = ""
    text: str = ""
    refusal: str = ""


class Item(msgspec.Struct):
    """An output item, of whatever type."""

    type: str = ""
    id: str | None = None
    call_id: str | None = None
    name: str = ""
    arguments: str = ""
    encrypted_content: str | None = None
    content: list[Text] | None = None
    summary: list[Text] | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct):
    """`usage` as this format writes it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None

    def report(self) -> UsageReport:
        """Return the figures, of which input is what no cache gave or took."""
        details = self.input_tokens_details or _InputDetails()
        thought = self.output_tokens_details or _OutputDetails()
        uncached = self.input_tokens
        if uncached is not None:
            uncached = max(0, uncached - (details.cached_tokens or 0) - (details.cache_write_tokens or 0))
        return UsageReport(
            input_tokens=uncached,
            output_tokens=self.output_tokens,
            cache_read_input_tokens=details.cached_tokens,
            cache_creation_input_tokens=details.cache_write_tokens,
            output_tokens_details=None
            if thought.reasoning_tokens is None
            else OutputDetails(thinking_tokens=thought.reasoning_tokens),
        )


class Incomplete(msgspec.Struct):
    """`incomplete_details`."""

    reason: str | None = None


class Fault(msgspec.Struct):
    """An error, within an answer or in an event of its own."""

    code: Any = None
    message: Any = None
    type: Any = None
    param: Any = None

    def failure(self) -> Failure:
        """Return what it means."""
        # An event's own type says nothing about the error.
        kind = None if self.type == "error" else self.type
        told = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        plain = {name: value for name, value in told.items() if value is None or isinstance(value, (str, int))}
        return of_error_object(msgspec.json.encode(plain))

    @property
    def passing(self) -> bool:
        """Whether another account may do better: it is nobody's fault who could do anything about it."""
        return isinstance(self.code, str) and self.code in _PASSING


def stop_reason(incomplete: Incomplete | None, *, called: bool, refused: bool) -> StopReason:
    """Return why the model stopped."""
    if incomplete is not None:
        return "refusal" if incomplete.reason == "content_filter" else "max_tokens"
    if refused:
        return "refusal"
    return "tool_use" if called else "end_turn"


def thinking_of(item: Item) -> str:
    """Return what of its reasoning a model shows."""
    return "\n\n".join(part.text for part in item.summary or item.content or () if part.text)


def signature_of(item: Item) -> str:
    """Return the signature that brings the reasoning back to its maker; "" when it cannot come back."""
    if not item.encrypted_content:
        return ""
    own = {"id": item.id or "", "encrypted_content": item.encrypted_content}
    return signatures.tag(msgspec.json.encode(own).decode(), PROVIDER)
