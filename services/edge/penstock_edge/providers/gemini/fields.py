"""The fields that the gateway reads of streams of Gemini that pass untouched."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock_edge.providers.gemini.response import PromptFeedback, UsageMetadata


class Part(msgspec.Struct):
    """A part, as far as its length matters."""

    text: str | None = None
    call: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="functionCall")


class Content(msgspec.Struct):
    """A candidate's content."""

    parts: list[Part] | None = None


class Candidate(msgspec.Struct):
    """One candidate."""

    content: Content | None = None
    finish: str | None = msgspec.field(default=None, name="finishReason")


class Chunk(msgspec.Struct):
    """Any event of a stream."""

    candidates: list[Candidate] | None = None
    usage: UsageMetadata | None = msgspec.field(default=None, name="usageMetadata")
    feedback: PromptFeedback | None = msgspec.field(default=None, name="promptFeedback")
    error: msgspec.Raw = msgspec.Raw()


class Ended(msgspec.Struct):
    """Whether a candidate has finished."""

    finish: object = msgspec.field(default=None, name="finishReason")


class Loose(msgspec.Struct):
    """A chunk whose fields are not as known."""

    candidates: list[Ended] = msgspec.field(default_factory=list)


read_chunk: Final = msgspec.json.Decoder(Chunk).decode
read_loose: Final = msgspec.json.Decoder(Loose).decode
read_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
