"""Follows answers of chat.completions whose bytes pass untouched, decoding no more than usage and meaning need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge.providers.odd_json import mended, mended_event
from penstock_edge.providers.openai_chat_fields import read_chunk, read_kind, read_odd, read_whole
from penstock_edge.providers.openai_chat_usage import UNREADABLE, report_of
from penstock_edge.providers.openai_failure import of_error_object
from penstock_edge.providers.wire import Signal
from penstock_edge.sse import data_of

if TYPE_CHECKING:
    from penstock_edge.providers.failure import Failure
    from penstock_edge.providers.openai_chat_fields import Choice
    from penstock_edge.usage import UsageMeter

_NOTHING: Final = frozenset({b"", b"null"})
DONE: Final = b"[DONE]"


def read_answer(body: bytes, meter: UsageMeter) -> bool:
    """Take over the usage of a unary answer; False when the body cannot be one."""
    try:
        answer = read_whole(body)
    except UNREADABLE:
        plain = mended(body)
        return read_answer(plain, meter) if plain else False
    if bytes(answer.error) not in _NOTHING:
        return False
    report = report_of(answer.usage)
    if report is not None:
        meter.merge(report)
        meter.final = True
    return True


def _is_error(data: bytes) -> bool:
    """Whether it is an error without an envelope, as some servers write them."""
    try:
        return read_kind(data).object == "error"
    except UNREADABLE:
        return False


class ChatSniffer:
    """Follows one stream."""

    __slots__ = ("_finished", "_meter", "characters", "failure")

    def __init__(self, meter: UsageMeter) -> None:
        self._meter = meter
        self._finished = False
        self.characters = 0
        """Characters of all deltas so far."""
        self.failure: Failure | None = None
        """Set by an error."""

    def observe(self, raw: bytes) -> Signal:
        """Read one whole event."""
        data = data_of(raw)
        if not data:
            return Signal.PRELUDE
        if data == DONE:
            return Signal.STOP
        try:
            chunk = read_chunk(data)
        except msgspec.ValidationError:
            return self._unknown(data)
        except UNREADABLE:
            plain = mended_event(data)
            return self.observe(plain) if plain else Signal.BROKEN
        if bytes(chunk.error) not in _NOTHING:
            return self._failed(bytes(chunk.error))
        if chunk.choices is None and _is_error(data):
            return self._failed(data)
        seen = self._choices(chunk.choices) if chunk.choices else Signal.PRELUDE
        told = self._told(chunk.usage, alone=not chunk.choices)
        return Signal.USAGE if told and not chunk.choices else seen

    def at_end(self) -> Signal:
        """Say what the end of the body means: some servers leave the last event out."""
        return Signal.STOP if self._finished else Signal.BROKEN

    def _choices(self, choices: list[Choice]) -> Signal:
        seen = Signal.PRELUDE
        for choice in choices:
            # Some servers say an empty reason all along.
            if choice.finish_reason:
                self._finished = True
                seen = Signal.OUTPUT
            delta = choice.delta
            if delta is None:
                continue
            said = len(delta.content or "") + len(delta.refusal or "")
            said += len(delta.reasoning_content or delta.reasoning or "")
            for call in delta.tool_calls or ():
                if call.function is not None:
                    said += len(call.function.arguments or "")
            self.characters += said
            # The first chunk only names the role; what is not known here (audio) is output too.
            if said or delta.tool_calls or delta.images or delta.role is None:
                seen = Signal.OUTPUT
        return seen

    def _told(self, usage: msgspec.Raw, *, alone: bool) -> bool:
        report = report_of(usage)
        if report is None:
            return False
        self._meter.merge(report)
        self._meter.final = alone or self._finished
        return True

    def _failed(self, error: bytes) -> Signal:
        self.failure = of_error_object(error)
        return Signal.ERROR

    def _unknown(self, data: bytes) -> Signal:
        """Judge a chunk whose parts are not as known: it passes if it is an object at all."""
        try:
            odd = read_odd(data)
        except UNREADABLE:
            return Signal.BROKEN
        if bytes(odd.error) not in _NOTHING:
            return self._failed(bytes(odd.error))
        self._told(odd.usage, alone=False)
        return Signal.OUTPUT
