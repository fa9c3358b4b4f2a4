"""Finds a key by digest for an Allow call: declared keys in the catalog, others in SQL through a bounded cache.

A key that changes is in doubt until it was read anew (on other replicas within a second, by the change log, or by the
bulletin where SQL cannot be reached). While SQL is down, what the cache holds goes on, but for what is in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from penstock_auth.errors import DatabaseDown, KeyInDoubt
from penstock_auth.keys import KeyState, Source, find_by_digest, find_by_digests
from penstock_auth.plans import EMPTY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from penstock_auth.database import Database
    from penstock_auth.keys import Key
    from penstock_auth.plans import CatalogView

K = TypeVar("K", "Key", "Key | None")

_FRESH_SECONDS: Final = 30.0
_UNKNOWN_SECONDS: Final = 5.0
_STALE_SECONDS: Final = 900.0
# How long a database that may be frozen is waited for, and when it is asked again, where the cache has an answer.
_PATIENCE_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Place:
    key: Key | None
    read_at: float
    failed_at: float = float("-inf")
    in_doubt: bool = False

    def fresh(self, now: float) -> bool:
        """Say whether it is good without a look into SQL."""
        return not self.in_doubt and now - self.read_at < (_FRESH_SECONDS if self.key is not None else _UNKNOWN_SECONDS)

    def has_answer(self, now: float) -> bool:
        """Say whether it has something to say while SQL is down."""
        return self.key is not None and (self.in_doubt or now - self.read_at <= _STALE_SECONDS)

    def without_sql(self) -> Key | None:
        """Return what goes on while SQL is down. Raises KeyInDoubt."""
        if self.in_doubt and self.key is not None:
            raise KeyInDoubt(self.key)
        return self.key


class KeyBook:
    """`catalog` is the view in force; `monotonic` gives seconds."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float], limit: int = 50_000) -> None:
        self.catalog: CatalogView = EMPTY
        self._database = database
        self._monotonic = monotonic
        self._limit = limit
        self._places: dict[bytes, _Place] = {}
        self._doubts = 0

    async def find(self, digest: bytes) -> Key | None:
        """Find a key in any state. Raises DatabaseDown when only SQL could tell, KeyInDoubt of one that has changed."""
        declared = self.catalog.declared.get(digest)
        if declared is not None:
            return declared
        place = self._places.get(digest)
        now = self._monotonic()
        if place is not None and place.fresh(now):
            return place.key
        stale = place if place is not None and place.has_answer(now) else None
        if stale is not None and now - stale.failed_at < _AGAIN_SECONDS:
            return stale.without_sql()
        doubts = self._doubts
        try:
            key = await self._database.read(
                lambda connection: find_by_digest(connection, digest),
                seconds=None if stale is None else _PATIENCE_SECONDS,
            )
        except DatabaseDown:
            # It may have come into doubt, or have been read by another call, meanwhile.
            place = self._places.get(digest)
            if place is None or not place.has_answer(now):
                raise
            self._places[digest] = place = replace(place, failed_at=self._monotonic())
            return place.without_sql()
        return self._learn(digest, key, doubts)

    async def find_many(self, digests: Iterable[bytes]) -> dict[bytes, Key]:
        """Find keys in any state, all that must be read at once; unknown ones are absent. Raises DatabaseDown.

        One that was read lately enough to go on with is not read again.
        """
        found: dict[bytes, Key] = {}
        news = []
        since = self._monotonic() - _STALE_SECONDS
        for digest in digests:
            place = self._places.get(digest)
            key = self.catalog.declared.get(digest) or (place.key if place and place.read_at >= since else None)
            if key is None:
                news.append(digest)
            else:
                found[digest] = key
        doubts = self._doubts
        read = await self._database.read(lambda connection: find_by_digests(connection, news)) if news else {}
        for digest, key in read.items():
            found[digest] = self._learn(digest, key, doubts)
        return found

    def doubt(self, digest: bytes) -> None:
        """Use nothing of this key that was read before now."""
        self._doubts += 1
        place = self._places.pop(digest, None)
        if place is not None and place.key is not None:
            self._places[digest] = _Place(place.key, place.read_at, in_doubt=True)

    def doubt_all(self) -> None:
        """Use nothing of any key that was read before now."""
        for digest in list(self._places):
            self.doubt(digest)

    def _learn(self, digest: bytes, key: K, doubts: int) -> K:
        """Keep what was read after so many doubts, and return what is true of it."""
        if key is not None and key.source == Source.DECLARED:
            # The catalog alone says which declared keys are good; this one is not in it any more.
            key = replace(key, state=KeyState.WITHDRAWN.value)
        if doubts == self._doubts:
            # Else it may have been read before the change because of which something was doubted meanwhile.
            self._keep(digest, key)
        return key

    def _keep(self, digest: bytes, key: Key | None) -> None:
        self._places.pop(digest, None)
        while len(self._places) >= self._limit:
            del self._places[next(iter(self._places))]
        self._places[digest] = _Place(key, self._monotonic())
