"""The responses that one account has stored, for `previous_response_id` and `item_reference`; bounded."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple


class Turn(NamedTuple):
    """One stored response."""

    items: list[Any]
    """The whole input, earlier turns included, and the output."""
    output: list[Any]
    size: int
    """Bytes that it counts for."""


class Stored:
    """Forgets the oldest response when all of them are too large."""

    def __init__(self, limit_bytes: int = 64 * 1024 * 1024) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._turns: OrderedDict[str, Turn] = OrderedDict()
        self._items: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def add(self, response_id: str, items: list[Any], output: list[Any], size: int) -> None:
        """Store a response."""
        self._turns[response_id] = Turn(items, output, size)
        self._items.update({item["id"]: item for item in output})
        self._size += size
        while self._size > self._limit:
            _, oldest = self._turns.popitem(last=False)
            self._size -= oldest.size
            for item in oldest.output:
                self._items.pop(item["id"], None)

    def turn(self, response_id: str) -> Turn | None:
        """Return a response."""
        return self._turns.get(response_id)

    def item(self, item_id: str) -> Any:
        """Return an output item, or None."""
        return self._items.get(item_id)
