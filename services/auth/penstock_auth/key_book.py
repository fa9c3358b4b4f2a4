"""Finds a key by digest for an Allow call: declared keys in the catalog, others in SQL through a bounded cache.

A change of a key empties its place in the cache (on other replicas within a second, by the change log). While SQL is
down, what the cache holds goes on: nobody can disable a key then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from penstock_auth.errors import DatabaseDown
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


class KeyBook:
    """`catalog` is the view in force; `monotonic` gives seconds."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float], limit: int = 50_000) -> None:
        self.catalog: CatalogView = EMPTY
        self._database = database
        self._monotonic = monotonic
        self._limit = limit
        self._places: dict[bytes, _Place] = {}
        self._forgotten = 0

    async def find(self, digest: bytes) -> Key | None:
        """Find a key in any state. Raises DatabaseDown when only SQL could tell."""
        declared = self.catalog.declared.get(digest)
        if declared is not None:
            return declared
        place = self._places.get(digest)
        now = self._monotonic()
        age = now - place.read_at if place is not None else 0.0
        if place is not None and age < (_FRESH_SECONDS if place.key is not None else _UNKNOWN_SECONDS):
            return place.key
        stale = place if place is not None and place.key is not None and age <= _STALE_SECONDS else None
        if stale is not None and now - stale.failed_at < _AGAIN_SECONDS:
            return stale.key
        forgotten = self._forgotten
        try:
            key = await self._database.read(
                lambda connection: find_by_digest(connection, digest),
                seconds=None if stale is None else _PATIENCE_SECONDS,
            )
        except DatabaseDown:
            if stale is None:
                raise
            if self._places.get(digest) is stale:
                self._places[digest] = replace(stale, failed_at=self._monotonic())
            return stale.key
        return self._learn(digest, key, forgotten)

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
        forgotten = self._forgotten
        read = await self._database.read(lambda connection: find_by_digests(connection, news)) if news else {}
        for digest, key in read.items():
            found[digest] = self._learn(digest, key, forgotten)
        return found

    def forget(self, digest: bytes) -> None:
        """Read this key anew next time."""
        self._forgotten += 1
        self._places.pop(digest, None)

    def forget_all(self) -> None:
        """Read every key anew."""
        self._forgotten += 1
        self._places.clear()

    def _learn(self, digest: bytes, key: K, forgotten: int) -> K:
        """Keep what was read after so much had been forgotten, and return what is true of it."""
        if key is not None and key.source == Source.DECLARED:
            # The catalog alone says which declared keys are good; this one is not in it any more.
            key = replace(key, state=KeyState.WITHDRAWN.value)
        if forgotten == self._forgotten:
            # Else it may have been read before the change because of which something was forgotten meanwhile.
            self._keep(digest, key)
        return key

    def _keep(self, digest: bytes, key: Key | None) -> None:
        self._places.pop(digest, None)
        while len(self._places) >= self._limit:
            del self._places[next(iter(self._places))]
        self._places[digest] = _Place(key, self._monotonic())
