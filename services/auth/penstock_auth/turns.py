"""Whose turn it is near a limit: callers that were denied requests or slots and said that they need them.

One that was denied and comes back in time goes before those that asked later, so that no edge starves beside a
quicker one. A turn that is not taken lapses soon after the denial does. `lua/allow.lua` keeps the same list in a hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GRACE_MS: Final = 250  # by which a caller may come late for its turn
MOST: Final = 256


@dataclass(slots=True)
class Turn:
    """One denied caller: first denied `since`, expected back `until`, with what it needs. `key`: whose limits."""

    key: str
    kind: str
    since: int
    until: int
    requests: int
    slots: int


class Turns:
    """The denied callers of one project by name (session, key and kind)."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}

    def ahead(self, name: str, now: int) -> list[Turn]:
        """Return those whose turn comes before that of `name`."""
        if not self._turns:
            return []
        mine = (self._since(name, now), name)
        return [t for n, t in self._turns.items() if n != name and t.until >= now and (t.since, n) < mine]

    def wait(self, name: str, turn: Turn, now: int) -> None:
        """Note that `name` was denied; it keeps its place if it had one. `turn.since` is set here."""
        turn.since = self._since(name, now)
        if len(self._turns) >= MOST:
            self._turns = {n: t for n, t in self._turns.items() if t.until >= now}
        if name in self._turns or len(self._turns) < MOST:
            self._turns[name] = turn

    def done(self, name: str) -> None:
        """Forget the turn of `name`."""
        self._turns.pop(name, None)

    def _since(self, name: str, now: int) -> int:
        mine = self._turns.get(name)
        return mine.since if mine is not None and mine.until >= now else now
