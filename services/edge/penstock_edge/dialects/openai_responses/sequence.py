"""Numbers the events of one stream."""

from __future__ import annotations


class Sequence:
    """Writes events with consecutive numbers; `first` is that of the first one."""

    __slots__ = ("_next",)

    def __init__(self, first: int = 0) -> None:
        self._next = first

    def event(self, kind: bytes, fields: bytes) -> bytes:
        """Return one event; `fields` are the members of its JSON object beside type and number."""
        number = self._next
        self._next = number + 1
        return b'event: %s\ndata: {"type":"%s","sequence_number":%d,%s}\n\n' % (kind, kind, number, fields)

    def item(self, stage: bytes, index: int, item: bytes) -> bytes:
        """Return the event that an output item was `added` or is `done`."""
        return self.event(b"response.output_item." + stage, b'"output_index":%d,"item":%s' % (index, item))
