"""A stream that passes untouched: what ends it in place of its proper end is the end of the same answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge import request_id as request_ids
from penstock_edge.dialects.openai_responses.envelope import Envelope
from penstock_edge.dialects.openai_responses.sequence import Sequence
from penstock_edge.dialects.openai_responses.writer import failed
from penstock_edge.providers.odd_json import mended
from penstock_edge.sse import data_of

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.dialects.openai_responses.head import ResponsesHead
    from penstock_edge.errors import Problem

_COLON: Final = 0x3A
_UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeError, KeyError)
_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class PassingStream:
    """See `penstock_edge.dialects.dialect.Framing`."""

    __slots__ = ("_events", "_head", "_opening")

    def __init__(self, head: ResponsesHead) -> None:
        self._head = head
        self._events = 0
        self._opening = b""

    def event(self, raw: bytes) -> bytes:
        """Return an event as it is."""
        # Blank lines and comments are no events; names of fields are letters, which stand behind the colon.
        if raw[0] > _COLON:
            if self._events == 0:
                self._opening = raw
            self._events += 1
        return raw

    def close(self) -> bytes:
        """Return nothing: the last event has passed."""
        return b""

    def fail(self, problem: Problem, request_id: str) -> bytes:
        """Return an error event and the end of the answer that has begun, as a failed one."""
        try:
            opening = data_of(self._opening)
            begun = _members(_members(mended(opening) or opening)["response"])
        except _UNREADABLE:
            return never_begun(problem, request_id, self._head, self._events)

        def response(cause: Json) -> bytes:
            return _encode(begun | {"status": "failed", "error": cause})

        return failed(problem, Sequence(self._events), response)


def never_begun(problem: Problem, request_id: str, head: ResponsesHead, after: int = 0) -> bytes:
    """Return an error event and the end of an answer of which the client knows nothing, after so many events."""
    created = (request_ids.made_at_ms(request_id) or 0) // 1000
    envelope = Envelope(request_id, created, head.model, {}, head.tools)
    return failed(problem, Sequence(after), lambda cause: envelope.close("failed", [], error=cause))
