"""How streamed chunks stand in a body: as server-sent events, or as the elements of one JSON array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge.dialects.gemini.errors import error_body
from penstock_edge.dialects.unreadable import UNREADABLE
from penstock_edge.sse import data_of

if TYPE_CHECKING:
    from penstock_edge.errors import Problem

# One empty line: no event for whoever reads SSE, white space for whoever reads JSON. Not a comment, as is usual
# elsewhere: Google's Python SDK takes every line that is neither empty nor data for a piece of JSON, and raises.
KEEP_ALIVE: Final = b"\n"


class SseFraming:
    """Each chunk is one event without a name, with the line ends that Google uses."""

    __slots__ = ()

    def chunk(self, data: bytes) -> bytes:
        """Return what goes out for one chunk of JSON."""
        return b"data: %b\r\n\r\n" % data

    def close(self) -> bytes:
        """Return what goes out at the proper end: nothing says that nothing follows."""
        return b""

    def fail(self, problem: Problem) -> bytes:
        """Return what goes out instead of the proper end."""
        return self.chunk(error_body(problem))


class _Error(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()


_error = msgspec.json.Decoder(_Error)


class ArrayFraming:
    """All chunks are elements of one array, which is only closed when it is whole or an error is its last element."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = False

    def chunk(self, data: bytes) -> bytes:
        """Return what goes out for one chunk of JSON."""
        if self._begun:
            return b",\r\n" + data
        self._begun = True
        return b"[" + data

    def event(self, raw: bytes) -> bytes:
        """Return what goes out for one whole SSE event; nothing for an error, which `fail` is to tell."""
        data = data_of(raw)
        if not data or (b'"error"' in data and _is_error(data)):
            return b""
        return self.chunk(data)

    def close(self) -> bytes:
        """Return what goes out at the proper end."""
        return b"]" if self._begun else b"[]"

    def fail(self, problem: Problem, request_id: str = "") -> bytes:
        """Return what goes out instead of the proper end: an error as the last element."""
        del request_id  # Google's errors have no place for one.
        return self.chunk(error_body(problem)) + b"]"


def _is_error(data: bytes) -> bool:
    try:
        return bytes(_error.decode(data).error) not in {b"", b"null"}
    except UNREADABLE:
        return False
