"""The prompt cache of one account: which prefixes are known, and until when. Time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple


class Position(NamedTuple):
    """The end of one block of a prompt."""

    key: bytes
    """Digest of everything up to here, model included."""
    tokens: int
    """Tokens up to here."""
    ttl: int
    """Seconds that a cache mark here asks for; 0: no mark."""


class Split(NamedTuple):
    """How the input of one request divides."""

    uncached: int
    read: int
    write_5m: int
    write_1h: int


class PromptCache:
    """Bounded; the least recently used prefix goes first."""

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._known: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def _hit(self, key: bytes, now: float) -> bool:
        entry = self._known.get(key)
        return entry is not None and entry[0] > now

    def split(self, positions: list[Position], whole: int, minimum: int, now: float) -> Split:
        """Divide `whole` tokens by what is known now; changes nothing. Prefixes under `minimum` are not cached."""
        marks = [index for index, position in enumerate(positions) if position.ttl and position.tokens >= minimum]
        if not marks:
            return Split(whole, 0, 0, 0)
        known = [i for i in range(marks[-1] + 1) if positions[i].tokens >= minimum and self._hit(positions[i].key, now)]
        last = known[-1] if known else -1
        read = done = positions[last].tokens if known else 0
        writes = {300: 0, 3600: 0}
        for index in marks:
            if index > last:
                writes[positions[index].ttl] += positions[index].tokens - done
                done = positions[index].tokens
        return Split(whole - done, read, writes[300], writes[3600])

    def store(self, positions: list[Position], minimum: int, now: float) -> None:
        """Remember the marked prefixes, and renew those that were read."""
        for position in positions:
            entry = self._known.get(position.key)
            ttl = max(position.ttl if position.tokens >= minimum else 0, entry[1] if entry and entry[0] > now else 0)
            if ttl:
                self._known[position.key] = (now + ttl, ttl)
                self._known.move_to_end(position.key)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)
