"""The canonical form that every translation passes through: a Messages request, its answer, and its event stream.

Dialects read their requests into it and write answers and events from it; providers write requests from it and read
answers and events into it. It is the Messages format because that is the richest of all; what little others can say
beyond it is in `Extras`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from penstock_edge.usage_report import UsageReport

if TYPE_CHECKING:
    from penstock_edge.providers.failure import Failure

Json = dict[str, Any]

StopReason = Literal[
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
]


@dataclass(slots=True)
class Extras:
    """What a request may ask that the Messages format has no field for. None and False: not asked."""

    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    json_object: bool = False
    """Any JSON object, without a schema (`output_config.format` has those with one)."""
    images: bool = False
    """Images are wanted in the answer, not just words."""
    schema_name: str = ""
    """What the client calls the schema of `output_config.format`."""
    cached: bool = False
    """What the request begins with is to be remembered for the next one, without marks that say how far."""


@dataclass(slots=True)
class Request:
    """A request in canonical form, fit to be read without a further look.

    `body` is a Messages request without `model` and `stream`: `messages` alternate between `user` and `assistant` (no
    other roles, no two of one role in a row, `content` always a non-empty list of blocks), `system` is absent or a
    non-empty list of text blocks, `max_tokens` is absent when the client did not say. Explicit nulls are left out.
    Thinking is always a `thinking` block with a signature that `penstock_edge.signatures` has tagged (or "").
    """

    body: Json
    extras: Extras = field(default_factory=Extras)
    ignored: list[str] = field(default_factory=list)
    """The client's fields that this form cannot carry, in the client's own names; `temperature=1` for a changed one."""
    names: dict[str, str] = field(default_factory=dict, compare=False)
    """What the client calls fields of this form, such as `stop` for `stop_sequences`; "" for what it did not say."""


class Message(msgspec.Struct):
    """A whole answer. `content` are blocks of the Messages format, and images that the model has made."""

    id: str
    model: str
    content: list[Json]
    stop_reason: StopReason
    stop_sequence: str | None = None
    usage: UsageReport = msgspec.field(default_factory=UsageReport)
    explanation: str = ""
    """Why the answer was withheld, in words for the user; "" where nobody says."""


class MessageStart(msgspec.Struct):
    """The first event of a stream, once. `usage` is what is known by then."""

    id: str
    model: str
    usage: UsageReport = msgspec.field(default_factory=UsageReport)


class BlockStart(msgspec.Struct):
    """A content block begins; indexes count from 0, and a block ends before the next one begins.

    `block` is as the Messages format starts it: `{"type": "text", "text": ""}`, `{"type": "thinking", "thinking": "",
    "signature": ""}`, `{"type": "tool_use", "id", "name", "input": {}}`; other types come whole, images too.
    """

    index: int
    block: Json


class TextDelta(msgspec.Struct):
    """More of a text block."""

    index: int
    text: str


class InputDelta(msgspec.Struct):
    """More of a tool call's input, as JSON text."""

    index: int
    partial_json: str


class ThinkingDelta(msgspec.Struct):
    """More of a thinking block."""

    index: int
    thinking: str


class SignatureDelta(msgspec.Struct):
    """A thinking block's signature, once, whole."""

    index: int
    signature: str


class CitationDelta(msgspec.Struct):
    """A citation of a text block."""

    index: int
    citation: Json


class BlockStop(msgspec.Struct):
    """A content block has ended."""

    index: int


class MessageDelta(msgspec.Struct):
    """How the answer ended, and its usage: cumulative, absent values keep. May come more than once."""

    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    usage: UsageReport = msgspec.field(default_factory=UsageReport)
    explanation: str = ""


class MessageStop(msgspec.Struct):
    """The stream's proper end; nothing follows."""


class UsageSoFar(msgspec.Struct):
    """What has been used by now, for the books alone: cumulative. No dialect is told, the figures come at the end."""

    usage: UsageReport


class Ping(msgspec.Struct):
    """Nothing, said to keep the line open."""


@dataclass(slots=True)
class Failed:
    """The upstream reported an error within the stream; nothing follows."""

    failure: Failure


Event = (
    MessageStart
    | BlockStart
    | TextDelta
    | InputDelta
    | ThinkingDelta
    | SignatureDelta
    | CitationDelta
    | BlockStop
    | MessageDelta
    | MessageStop
    | UsageSoFar
    | Ping
    | Failed
)


class UnreadableError(Exception):
    """An upstream's answer is not what its wire format says. Carries no text of it."""
