"""What of a request is ignored, collected on its way."""

from __future__ import annotations


class Notes(list[str]):
    """A list, some entries of which are made once however often they come up, and however long it is by then."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        super().__init__()
        self._made: set[str] = set()

    def once(self, note: str) -> None:
        """Add an entry unless this has added it before."""
        if note not in self._made:
            self._made.add(note)
            self.append(note)
