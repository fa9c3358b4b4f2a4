"""What of a request is ignored: collected on its way, and said in one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLACE: Final = re.compile(r"(?<=[A-Za-z])\.\d+")
_MORE: Final = ", and more"


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


def line(ignored: Sequence[str], most: int) -> str:
    """Return all entries, each once; in a long conversation not where each stands, but what it is."""
    text = ", ".join(dict.fromkeys(ignored))
    if len(text) <= most:
        return text
    text = ", ".join(dict.fromkeys(_PLACE.sub(".*", entry) for entry in ignored))
    if len(text) <= most:
        return text
    room = most - len(_MORE)
    whole = text.rfind(", ", 0, room + 2)
    return text[: whole if whole >= 0 else room] + _MORE
