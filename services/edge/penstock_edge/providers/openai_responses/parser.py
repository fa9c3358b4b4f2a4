"""Reads a Responses stream into canonical events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge.canonical import Failed, MessageDelta, MessageStart, MessageStop, UnreadableError
from penstock_edge.providers.odd_json import mended_event
from penstock_edge.providers.openai_responses.output import UNREADABLE, Fault, Incomplete, Item, Usage, stop_reason
from penstock_edge.providers.openai_responses.output_blocks import OutputBlocks
from penstock_edge.providers.openai_responses.sniffer import error_of
from penstock_edge.sse import data_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock_edge.canonical import Event


class _Response(msgspec.Struct):
    id: str = ""
    model: str = ""
    usage: Usage | None = None
    error: Fault | None = None
    incomplete_details: Incomplete | None = None


class _Event(msgspec.Struct):
    type: str
    delta: str = ""
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    item: Item | None = None
    response: _Response | None = None


class _Named(msgspec.Struct):
    type: str


_event = msgspec.json.Decoder(_Event)
_named = msgspec.json.Decoder(_Named)

_TEXTS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_THOUGHTS: Final = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete"})
_ITEMS: Final = frozenset({"response.output_item.added", "response.output_item.done"})
# Only these must be as they are known to be.
_KNOWN: Final = _TEXTS | _THOUGHTS | _ENDS | _ITEMS | {"response.function_call_arguments.delta"}


class ResponsesParser:
    """See `penstock_edge.providers.wire.EventParser`."""

    __slots__ = ("_blocks", "_over", "_started")

    def __init__(self) -> None:
        self._blocks = OutputBlocks()
        self._started = False
        self._over = False

    def feed(self, raw: bytes) -> Sequence[Event]:
        """Return what one whole event says. Raises UnreadableError."""
        data = data_of(raw)
        if not data or self._over:
            return ()
        try:
            event = _event.decode(data)
        except msgspec.ValidationError:
            return self._unknown(data)
        except UNREADABLE:
            return self._odd(data)
        kind = event.type
        blocks = self._blocks
        if kind in _TEXTS:
            blocks.text(event.output_index, event.content_index, event.delta, refused=kind == "response.refusal.delta")
        elif kind == "response.function_call_arguments.delta":
            blocks.arguments(event.output_index, event.delta)
        elif kind in _THOUGHTS:
            part = event.summary_index if kind == "response.reasoning_summary_text.delta" else event.content_index
            blocks.thinking(event.output_index, kind, part, event.delta)
        elif kind == "response.output_item.added":
            blocks.added(event.output_index, event.item or Item())
        elif kind == "response.output_item.done":
            blocks.done(event.output_index, event.item or Item())
        elif kind in _ENDS:
            return self._end(event.response or _Response(), kind)
        elif kind == "response.failed":
            return self._failed((event.response or _Response()).error or Fault())
        elif kind == "error":
            return self._failed(error_of(data))
        elif kind == "response.created":
            return self._start(event.response or _Response())
        else:
            return ()
        return self._begun(blocks.take())

    def end(self) -> Sequence[Event]:
        """Return nothing after the last event; raises UnreadableError when it is missing."""
        if not self._over:
            raise UnreadableError
        return ()

    def _start(self, response: _Response) -> Sequence[Event]:
        if self._started:
            return ()
        self._started = True
        usage = response.usage.report() if response.usage is not None else None
        if usage is None:
            return (MessageStart(response.id, response.model),)
        return (MessageStart(response.id, response.model, usage),)

    def _begun(self, events: list[Event]) -> list[Event]:
        """Return events behind the one that must be the first."""
        if events and not self._started:
            return [*self._start(_Response()), *events]
        return events

    def _end(self, response: _Response, kind: str) -> Sequence[Event]:
        self._over = True
        blocks = self._blocks
        blocks.close()
        incomplete = (response.incomplete_details or Incomplete()) if kind == "response.incomplete" else None
        delta = MessageDelta(
            stop_reason=stop_reason(incomplete, called=blocks.called, refused=blocks.refused),
            usage=(response.usage or Usage()).report(),
        )
        start = () if self._started else self._start(response)
        return [*start, *blocks.take(), delta, MessageStop()]

    def _failed(self, error: Fault) -> Sequence[Event]:
        self._over = True
        return (Failed(error.failure()),)

    def _odd(self, data: bytes) -> Sequence[Event]:
        plain = mended_event(data)
        if not plain:
            raise UnreadableError
        return self.feed(plain)

    def _unknown(self, data: bytes) -> Sequence[Event]:
        """Pass over an event whose fields are not as known, unless the answer would lack something."""
        try:
            kind = _named.decode(data).type
        except UNREADABLE:
            return self._odd(data)
        if kind in _KNOWN:
            raise UnreadableError
        if kind in {"error", "response.failed"}:
            return self._failed(error_of(data))
        return ()
