"""Follows a stream whose bytes pass untouched."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge.providers.gemini.failure import of_error_object, stray_error
from penstock_edge.providers.gemini.fields import read_chunk, read_loose, read_object
from penstock_edge.providers.gemini.response import UNREADABLE
from penstock_edge.providers.odd_json import mended_event
from penstock_edge.providers.wire import Signal
from penstock_edge.sse import data_of

if TYPE_CHECKING:
    from penstock_edge.providers.failure import Failure
    from penstock_edge.providers.gemini.fields import Chunk
    from penstock_edge.usage import UsageMeter


_NO_ERROR: Final = frozenset({b"", b"null"})


class GeminiSniffer:
    """One stream. Google says no proper end: a stream is whole when a candidate has told why it finished."""

    __slots__ = ("_finished", "characters", "failure", "meter")

    def __init__(self, meter: UsageMeter) -> None:
        self.meter = meter
        self.characters = 0
        """Characters of all deltas so far."""
        self.failure: Failure | None = None
        """Set by an error."""
        self._finished = False

    def observe(self, raw: bytes) -> Signal:
        """Read one whole event."""
        data = data_of(raw)
        if not data:
            self.failure = stray_error(raw)
            return Signal.PRELUDE if self.failure is None else Signal.ERROR
        try:
            chunk = read_chunk(data)
        except msgspec.ValidationError:
            return self._unknown(data)
        except UNREADABLE:
            plain = mended_event(data)
            return self.observe(plain) if plain else Signal.BROKEN
        if bytes(chunk.error) not in _NO_ERROR:
            self.failure = of_error_object(bytes(chunk.error))
            return Signal.ERROR
        said = self._hear(chunk)
        if chunk.usage is not None:
            self.meter.merge(chunk.usage.report())
            # Cumulative in every chunk; whole only from the one on that says the end.
            self.meter.final = self._finished
        return Signal.OUTPUT if said else Signal.PRELUDE

    def at_end(self) -> Signal:
        """Say what it means that the body ended here."""
        return Signal.STOP if self._finished else Signal.BROKEN

    def _hear(self, chunk: Chunk) -> bool:
        """Count what the candidates say; False when a user would see nothing of it."""
        if not chunk.candidates:
            if chunk.feedback is None or chunk.feedback.block_reason is None:
                return False
            self._finished = True
            return True
        said = False
        for candidate in chunk.candidates:
            if candidate.finish is not None:
                self._finished = said = True
            if candidate.content is None:
                continue
            for part in candidate.content.parts or ():
                said = True
                self.characters += len(part.text or "") + len(bytes(part.call))
        return said

    def _unknown(self, data: bytes) -> Signal:
        """Judge a chunk whose fields are not as known: it passes if it is an object at all."""
        try:
            read_object(data)
        except UNREADABLE:
            return Signal.BROKEN
        with contextlib.suppress(*UNREADABLE):
            self._finished = self._finished or any(one.finish is not None for one in read_loose(data).candidates)
        return Signal.OUTPUT
