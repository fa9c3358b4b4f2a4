"""Reads a stream into canonical events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_edge import canonical, signatures
from penstock_edge.canonical import UnreadableError
from penstock_edge.providers.gemini.call_ids import CallIds
from penstock_edge.providers.gemini.failure import of_error_object, stray_error
from penstock_edge.providers.gemini.response import PROVIDER, UNREADABLE, decode, explanation, stop_reason
from penstock_edge.providers.odd_json import mended_event
from penstock_edge.sse import data_of
from penstock_edge.usage_report import UsageReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock_edge.canonical import Event, Json
    from penstock_edge.providers.gemini.response import FunctionCall, Part, Response


class GeminiParser:
    """One stream. Its end is only known when the body ends: usage may follow the finish."""

    __slots__ = ("_called", "_finish", "_ids", "_index", "_open", "_usage", "_words")

    def __init__(self) -> None:
        self._ids: CallIds | None = None
        self._index = -1
        self._open = ""
        """The type of the block that is open."""
        self._called = False
        self._finish: str | None = None
        self._words: str | None = None
        """What was said about it."""
        self._usage = UsageReport()

    def feed(self, raw: bytes) -> Sequence[Event]:
        """Return what one whole event says. Raises UnreadableError."""
        data = data_of(raw)
        if not data:
            failure = stray_error(raw)
            return () if failure is None else (canonical.Failed(failure),)
        try:
            response = decode(data)
            if response.failed:
                return (canonical.Failed(of_error_object(bytes(response.error))),)
            return self._read(response, data)
        except UNREADABLE:
            if plain := mended_event(data):
                return self.feed(plain)
            raise UnreadableError from None

    def end(self) -> Sequence[Event]:
        """Return the closing events. Raises UnreadableError when the stream broke off."""
        if self._finish is None:
            raise UnreadableError
        events: list[Event] = []
        self._close(events)
        reason = stop_reason(self._finish, called=self._called)
        why = explanation(self._finish, self._words)
        events += (canonical.MessageDelta(reason, usage=self._usage, explanation=why), canonical.MessageStop())
        return events

    def _read(self, response: Response, data: bytes) -> list[Event]:
        events: list[Event] = []
        if response.usage is not None:
            # Each report is whole: a later one takes an earlier one's place.
            self._usage = response.usage.report()
        if self._ids is None:
            self._ids = CallIds(response.id, data)
            events.append(canonical.MessageStart(response.id or "", response.model or "", self._usage))
        elif response.usage is not None:
            events.append(canonical.UsageSoFar(self._usage))
        candidate = response.first()
        if candidate is None:
            if response.block is not None:
                self._finish, self._words = response.block
            return events
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self._part(part, events, self._ids)
        if candidate.finish is not None:
            self._finish, self._words = candidate.finish, candidate.words
        return events

    def _part(self, part: Part, events: list[Event], ids: CallIds) -> None:
        if part.thought:
            if part.text or part.signature:
                self._think(part.text or "", part.signature or "", events)
            return
        if part.signature:
            # It belongs to this part, so it stands in a block of its own right before it.
            self._close(events)
            self._think("", part.signature, events)
        if part.text:
            self._begin("text", events)
            events.append(canonical.TextDelta(self._index, part.text))
        image = part.image
        if image is not None:
            self._whole(image, events)
        if part.call is not None:
            self._call(part.call, events, ids)

    def _whole(self, block: Json, events: list[Event]) -> None:
        self._close(events)
        self._index += 1
        events += (canonical.BlockStart(self._index, block), canonical.BlockStop(self._index))

    def _think(self, text: str, signature: str, events: list[Event]) -> None:
        self._begin("thinking", events)
        if text:
            events.append(canonical.ThinkingDelta(self._index, text))
        if signature:
            self._close(events, signature)

    def _call(self, call: FunctionCall, events: list[Event], ids: CallIds) -> None:
        self._close(events)
        self._called = True
        self._index += 1
        block = {"type": "tool_use", "id": ids.take(call.id), "name": call.name, "input": {}}
        events += (
            canonical.BlockStart(self._index, block),
            canonical.InputDelta(self._index, call.arguments().decode()),
            canonical.BlockStop(self._index),
        )

    def _begin(self, kind: str, events: list[Event]) -> None:
        if self._open == kind:
            return
        self._close(events)
        self._open = kind
        self._index += 1
        block: Json = {"type": kind, kind: ""}
        if kind == "thinking":
            block["signature"] = ""
        events.append(canonical.BlockStart(self._index, block))

    def _close(self, events: list[Event], signature: str = "") -> None:
        if self._open == "thinking":
            # Thinking that Google did not sign is still its own, and says so.
            events.append(canonical.SignatureDelta(self._index, signatures.tag(signature, PROVIDER)))
        if self._open:
            events.append(canonical.BlockStop(self._index))
        self._open = ""
