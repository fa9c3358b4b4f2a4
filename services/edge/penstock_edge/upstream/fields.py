"""The headers of an answer, names and values in turn as the parser hands them over.

A real answer has two or three dozen of them and the gateway looks at three: so they are kept as they came, and names
are only compared where their lengths are the same.
"""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 60


class Names:
    """Some names of headers, in lower case, that answers are looked through for."""

    __slots__ = ("_lengths", "_names")

    def __init__(self, *names: bytes) -> None:
        """Take names of at most 60 bytes."""
        self._names = frozenset(names)
        lengths = 0
        for name in names:
            if len(name) > _LONGEST:
                raise ValueError("the name of a header is too long to be looked for")
            lengths |= 1 << len(name)
        self._lengths = lengths

    def among(self, fields: list[bytes]) -> list[tuple[bytes, bytes]]:
        """Return those headers that have one of these names, in lower case, in order of arrival."""
        found: list[tuple[bytes, bytes]] = []
        lengths = self._lengths
        for at in range(0, len(fields) - 1, 2):
            name = fields[at]
            if len(name) <= _LONGEST and lengths >> len(name) & 1:
                name = name.lower()
                if name in self._names:
                    found.append((name, fields[at + 1]))
        return found


def first(fields: list[bytes], name: bytes) -> bytes | None:
    """Return the value of the first header of that (lower-case) name."""
    size = len(name)
    for at in range(0, len(fields) - 1, 2):
        known = fields[at]
        if len(known) == size and (known == name or known.lower() == name):
            return fields[at + 1]
    return None


def pairs(fields: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Return all headers with lower-case names, in order of arrival."""
    return [(fields[at].lower(), fields[at + 1]) for at in range(0, len(fields) - 1, 2)]
