"""Server-sent events, incrementally: bytes of a stream in, whole events out with their bytes untouched.

Lines end at LF, CRLF or CR and nowhere else: U+2028, U+0085 and their like may stand raw inside an event's JSON.
"""

from __future__ import annotations

import re

# Atomic groups, so that one CRLF is never read as two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
# A blank line is at most four bytes, so this many bytes before new data may be the beginning of one.
_OVERLAP = 3


class EventTooLargeError(Exception):
    """One event is larger than this process is willing to hold."""


class EventSplitter:
    """Cuts a byte stream into events. All bytes fed come out again, in order, once their event is whole."""

    __slots__ = ("_limit", "_tail")

    def __init__(self, limit: int = 16 * 1024 * 1024) -> None:
        self._limit = limit
        self._tail = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of an event that is not whole yet."""
        return len(self._tail)

    def rest(self) -> bytes:
        """Return what came of an event that is not whole."""
        return bytes(self._tail)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that `chunk` completes, each with its blank line. Raises EventTooLargeError."""
        tail = self._tail
        if not tail:
            # One chunk is one event, most of the time.
            if chunk.endswith(b"\n\n") and chunk.find(b"\n\n") == len(chunk) - 2 and b"\r" not in chunk:
                return [chunk]
            return self._cut(chunk, 0)
        start = max(0, len(tail) - _OVERLAP)
        tail += chunk
        if len(tail) <= self._limit and _BLANK_LINE.search(tail, start) is None:
            return []
        whole = bytes(tail)
        self._tail = bytearray()
        return self._cut(whole, start)

    def _cut(self, data: bytes, search_from: int) -> list[bytes]:
        events: list[bytes] = []
        begin = 0
        if b"\r" in data:
            for match in _BLANK_LINE.finditer(data, search_from):
                events.append(data[begin : match.end()])
                begin = match.end()
        else:
            found = data.find(b"\n\n", search_from)
            while found >= 0:
                events.append(data[begin : found + 2])
                begin = found + 2
                found = data.find(b"\n\n", begin)
        if begin < len(data):
            if len(data) - begin > self._limit:
                raise EventTooLargeError(f"an event is larger than {self._limit} bytes")
            self._tail += memoryview(data)[begin:]
        return events


def data_of(event: bytes) -> bytes:
    """Return the data of one whole event (its `data` lines joined by LF); empty when it has none."""
    begin = event.find(b"\ndata: ")
    if (
        begin > 0
        and event.count(b"\n") == 3
        and event.endswith(b"\n\n")
        and b"\r" not in event
        and not event.startswith(b"data")
    ):
        # One line before the data and one of data, as nearly all events are.
        return event[begin + 7 : -2].strip(b" ")
    begin = event.find(b"data:")
    if begin > 0 and event[begin - 1] == 0x0A and b"\r" not in event:
        end = event.find(b"\n", begin)
        if event.find(b"\ndata", end) < 0 and begin == event.find(b"\ndata") + 1:
            return event[begin + 5 : end].strip(b" ")
    lines = [line[5:].removeprefix(b" ") for line in _LINE_END.split(event) if line.startswith(b"data:")]
    return b"\n".join(lines)
