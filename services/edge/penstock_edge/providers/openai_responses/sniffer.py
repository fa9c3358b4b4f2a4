"""Follows a Responses stream whose bytes pass untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge.providers.odd_json import mended_event
from penstock_edge.providers.openai_responses.fields import Response, read_ending, read_error, read_event, read_name
from penstock_edge.providers.openai_responses.output import UNREADABLE, Fault
from penstock_edge.providers.wire import Signal
from penstock_edge.sse import data_of

if TYPE_CHECKING:
    from penstock_edge.providers.failure import Failure
    from penstock_edge.usage import UsageMeter


_STOPS: Final = frozenset({"response.completed", "response.incomplete"})
_PRELUDES: Final = frozenset(
    {"response.created", "response.in_progress", "response.queued", "keepalive", "codex.rate_limits"}
)


class ResponsesSniffer:
    """See `penstock_edge.providers.wire.Sniffer`."""

    __slots__ = ("_meter", "_stopped", "characters", "failure")

    def __init__(self, meter: UsageMeter) -> None:
        self._meter = meter
        self._stopped = False
        self.characters = 0
        """Characters of all deltas so far."""
        self.failure: Failure | None = None
        """Set by an error event."""

    def observe(self, raw: bytes) -> Signal:
        """Read one whole event."""
        data = data_of(raw)
        if not data:
            return Signal.PRELUDE
        try:
            event = read_event(data)
        except msgspec.ValidationError:
            return self._unknown(data)
        except UNREADABLE:
            return self._odd(data)
        if event.delta:
            self.characters += len(event.delta)
            return Signal.OUTPUT
        return self._judge(event.type, data)

    def at_end(self) -> Signal:
        """Say that a body that ends before the last event has broken off."""
        return Signal.STOP if self._stopped else Signal.BROKEN

    def _judge(self, kind: str, data: bytes) -> Signal:
        if kind in _STOPS:
            self._settle(data)
            self._stopped = True
            return Signal.STOP
        if kind == "response.failed":
            self.failure = (self._settle(data).error or Fault()).failure()
            return Signal.ERROR
        if kind == "error":
            self.failure = error_of(data).failure()
            return Signal.ERROR
        return Signal.PRELUDE if kind in _PRELUDES else Signal.OUTPUT

    def _settle(self, data: bytes) -> Response:
        """Take over what the whole answer says of itself at its end."""
        try:
            response = read_ending(data).response
        except UNREADABLE:
            return Response()
        if response.usage is not None:
            self._meter.merge(response.usage.report())
            self._meter.final = response.usage.output_tokens is not None
        if isinstance(response.id, str):
            self._meter.answer_id = response.id
        return response

    def _unknown(self, data: bytes) -> Signal:
        """Judge an event whose fields are not as known: it passes if it names a type at all."""
        try:
            kind = read_name(data).type
        except UNREADABLE:
            return self._odd(data)
        return self._judge(kind, data)

    def _odd(self, data: bytes) -> Signal:
        plain = mended_event(data)
        return self.observe(plain) if plain else Signal.BROKEN


def error_of(data: bytes) -> Fault:
    """Return the error of an `error` event: it stands in it bare, or as a member."""
    try:
        event = read_error(data)
    except UNREADABLE:
        return Fault()
    return event.error or event
