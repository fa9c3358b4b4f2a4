"""The health of all accounts as this router knows it, and its exchange with the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_router.stores import Change
from penstock_routing.condition import Condition, date_anew, merge
from penstock_routing.health import Health, Key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from penstock_router.stores import Row, StateStore
    from penstock_routing.policy import Policy

KIND: Final = "conditions"
_SEPARATOR: Final = "\n"
_CLOCKS_DIFFER_SECONDS: Final = 60.0
"""What changed later than so is from before a clock was put back."""


class Conditions:
    """Health rules over conditions that several routers may share. `dirty`: changed here, not yet in the store."""

    def __init__(self, store: StateStore, policy: Policy) -> None:
        self.health = Health(policy)
        self.dirty: set[Key] = set()
        self._store = store
        self._versions: dict[Key, int] = {}
        self._served: Mapping[str, Collection[str]] | None = None
        self._loaded = False
        self.read_at: float | None = None
        """The store's time when it was last read."""

    def changed(self, keys: Iterable[Key]) -> None:
        """Note keys that were changed here."""
        self.dirty.update(keys)

    def keep(self, served: Mapping[str, Collection[str]], now: float) -> None:
        """Forget what is gone from the catalog (`served`: models by account), and what nothing remembers."""
        self._served = served
        self.dirty.update(self.health.keep(served, now))

    async def sync(self, now: float) -> int:
        """Take in what others changed, hand over what changed here; returns how often another router was first.

        Raises StoreDown; what is dirty stays so, and goes over when the store is back.
        """
        if self._store.shared or not self._loaded:
            reading = await self._store.read(KIND)
            self._adopt(reading.rows, now)
            self.read_at = reading.now
            self._loaded = True
        return await self._hand_over()

    async def offer(self, key: Key, session: str, until: float, now: float) -> bool:
        """Give a half-open return to one session, unless another router has given it away. Raises StoreDown.

        While the store is down nothing is offered by routers that share it.
        """
        condition = self.health.conditions.get(key)
        before = (condition.trial_session, condition.trial_until) if condition is not None else ("", 0.0)
        if not self.health.offer_trial(key, session, until, now):
            return False
        condition = self.health.conditions[key]
        body = msgspec.msgpack.encode(condition)
        taken: Mapping[str, int] = {}
        try:
            taken = await self._store.write(KIND, [Change(_name(key), self._versions.get(key, 0), body)])
        finally:
            if _name(key) not in taken:
                condition.trial_session, condition.trial_until = before
        if _name(key) not in taken:
            return False
        self._versions[key] = taken[_name(key)]
        return True

    def _adopt(self, rows: Mapping[str, Row], now: float) -> None:
        found: set[Key] = set()
        for name, row in rows.items():
            key = _key(name)
            if key is None:
                continue
            found.add(key)
            if self._versions.get(key) == row.version:
                continue
            theirs = _decoded(row.body)
            if theirs is None:
                continue
            if theirs.changed_at > now + _CLOCKS_DIFFER_SECONDS:
                date_anew(theirs, now)
            ours = self.health.conditions.get(key)
            if ours is not None and key in self.dirty:
                theirs = merge(ours, theirs)
            self.health.conditions[key] = theirs
            self._versions[key] = row.version
        self._missed([key for key in self._versions if key not in found], now)

    def _missed(self, keys: list[Key], now: float) -> None:
        """Put back in what the store has lost, but not what another router has forgotten and we would as well.

        Two routers would otherwise bring back for ever what the other one forgets.
        """
        if keys and self._served is not None:
            self.keep(self._served, now)
        for key in keys:
            if key in self.health.conditions:
                self._versions[key] = 0
                self.dirty.add(key)
            else:
                del self._versions[key]
                self.dirty.discard(key)

    async def _hand_over(self) -> int:
        if not self.dirty:
            return 0
        bodies = {key: self._encoded(key) for key in self.dirty}
        changes: Sequence[Change] = [
            Change(_name(key), self._versions.get(key, 0), body) for key, body in bodies.items()
        ]
        taken = await self._store.write(KIND, changes)
        for key, body in bodies.items():
            if _name(key) not in taken:
                continue
            self._versions[key] = taken[_name(key)]
            if body is None:
                del self._versions[key]
            if self._encoded(key) == body:
                self.dirty.discard(key)
        conflicts = len(bodies) - len(taken)
        if conflicts and not self._store.shared:
            self._loaded = False
        return conflicts

    def _encoded(self, key: Key) -> bytes | None:
        condition = self.health.conditions.get(key)
        return msgspec.msgpack.encode(condition) if condition is not None else None


def _name(key: Key) -> str:
    return _SEPARATOR.join(key)


def _key(name: str) -> Key | None:
    parts = name.split(_SEPARATOR)
    return Key(*parts) if len(parts) == len(Key._fields) else None


def _decoded(body: bytes) -> Condition | None:
    """Read a condition; one that another release wrote differently is as good as none."""
    try:
        return msgspec.msgpack.decode(body, type=Condition)
    except msgspec.MsgspecError:
        return None
