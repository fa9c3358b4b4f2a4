"""Who has loaded what: versions as they were published, and since which of them each object is as it is now. Pure.

A version is a digest and says nothing of before and after, so their order is kept here. An object counts as loaded by
whoever has loaded the version in which it first stood as it stands now, or a later one: a replica that is late for
another object's sake is not late for this one's.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from penstock_operator.conditions import PROGRAMMED, Condition, false, true, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from penstock_operator.sights import Fleet

_MOST_VERSIONS: Final = 512
_MOST_NAMED: Final = 3
_ORDER: Final = {"False": 0, "Unknown": 1, "True": 2}


class Published:
    """What one catalog has held, from the last one that an operator before this one published."""

    def __init__(self) -> None:
        self.version = ""
        self._order: dict[str, int] = {}
        self._entries: Mapping[str, Any] = {}
        self._since: dict[str, int] = {}

    def take(self, version: str, entries: Mapping[str, Any]) -> None:
        """Note that this version is published now. `entries`: what of it makes each object what it is, by id."""
        number = max(self._order.values(), default=-1) + 1
        self._order.pop(version, None)
        self._order[version] = number
        while len(self._order) > _MOST_VERSIONS:
            del self._order[next(iter(self._order))]
        self._since = {
            id_: self._since[id_] if id_ in self._entries and self._entries[id_] == entry else number
            for id_, entry in entries.items()
        }
        self.version, self._entries = version, entries

    def holds(self, id_: str, entry: Any) -> bool:
        """Whether an object stands as `entry` in what is published now."""
        return id_ in self._entries and bool(self._entries[id_] == entry)

    def floor(self, versions: Iterable[str]) -> int:
        """Return how far the last of those has come who have loaded these versions; nobody is infinitely far."""
        return min((self._order.get(version, -1) for version in versions), default=sys.maxsize)

    def loaded(self, id_: str, floor: int) -> bool:
        """Whether all who have come as far as `floor` have this object as it is published now."""
        return id_ in self._since and floor >= self._since[id_]


@dataclass(frozen=True, slots=True)
class Side:
    """How far one catalog has come. `trouble` is why that cannot be told, if it cannot."""

    published: Published
    replicas: int
    sessions: int
    who: str
    trouble: Condition | None = None

    def judge(self, id_: str, entry: Any) -> Condition:
        """Say whether one object has been loaded."""
        if not self.published.holds(id_, entry):
            return unknown(PROGRAMMED, "Pending", "it is not published yet")
        if self.trouble is not None:
            return self.trouble
        if not self.published.loaded(id_, self.replicas):
            return false(PROGRAMMED, "Pending", f"not every {self.who} has loaded it yet")
        if not self.published.loaded(id_, self.sessions):
            return false(PROGRAMMED, "Pending", "not every edge has loaded it yet")
        return true(PROGRAMMED)


def side(published: Published, fleet: Fleet, who: str, sessions: Iterable[str] = ()) -> Side:
    """Look at one catalog: who has loaded what. `sessions`: the versions that edges have, where it goes to edges."""
    trouble = None
    if fleet.silent:
        message = f"{', '.join(fleet.silent[:_MOST_NAMED])} does not say what it has loaded"
        trouble = unknown(PROGRAMMED, f"{who.capitalize()}Silent", message)
    elif not fleet.serving:
        trouble = unknown(PROGRAMMED, f"No{who.capitalize()}", f"no {who} says what it has loaded")
    replicas = published.floor(word.version for word in fleet.serving.values())
    return Side(published, replicas, published.floor(sessions), who, trouble)


def worst(verdicts: Iterable[Condition]) -> Condition:
    """Return the first that does not hold, False before Unknown; else the last."""
    said = sorted(verdicts, key=lambda condition: _ORDER[condition.status])
    return said[0]
