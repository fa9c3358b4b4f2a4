"""Takes up each new catalog: prices and declared keys go into SQL, the view is put in force, the edges are told.

While SQL is down the last catalog stays in force, but for newer plans and what newer ones take from declared keys:
neither needs a row in the ledger, and a revocation must not wait for one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from penstock_auth import metrics
from penstock_auth.changes import Change, ChangeKind
from penstock_auth.declared_keys import record_declared
from penstock_auth.errors import DatabaseDown
from penstock_auth.plans import difference, price_rows, restricted, view
from penstock_auth.price_book import record_prices
from penstock_chassis import logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Connection

    from penstock_auth.changes import ChangeHub
    from penstock_auth.database import Database
    from penstock_auth.declared_keys import Recorded
    from penstock_auth.key_book import KeyBook
    from penstock_auth.plans import CatalogView, Difference
    from penstock_catalog.documents import AuthCatalog

log = logs.get(__name__)

_PAUSE_SECONDS: Final = 0.5
# Beyond so many changed keys, "everything" says it more shortly.
_MOST_KEYS: Final = 200


class Source(Protocol):
    """Where catalogs come from: `penstock_catalog.sources.DocumentSource`."""

    def changes(self) -> AsyncIterator[AuthCatalog]:
        """Give the catalog, and each later version of it."""
        ...


class CatalogFollower:
    """Follows a source for ever. `loaded` is set when the first catalog is in force."""

    def __init__(
        self, source: Source, database: Database, keys: KeyBook, changes: ChangeHub, now_ms: Callable[[], int]
    ) -> None:
        self._source = source
        self._database = database
        self._keys = keys
        self._changes = changes
        self._now_ms = now_ms
        self.loaded = asyncio.Event()
        self._newest: AuthCatalog | None = None
        self._tried = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled; one catalog after the other, unless the database is down."""
        async with asyncio.TaskGroup() as group:
            taking: asyncio.Task[None] | None = None
            async for document in self._source.changes():
                self._newest = document
                if taking is None or taking.done():
                    self._tried.clear()
                    taking = group.create_task(self._insist(document), name="taking")
                else:
                    self._restrict(document)
                await self._tried.wait()

    async def _insist(self, document: AuthCatalog) -> None:
        """Take it up, or the newest that comes meanwhile, however long the database is down."""
        while True:
            try:
                await self.take(document)
            except DatabaseDown as error:
                log.warning("catalog_not_taken", version=document.version, reason=str(error))
                self._restrict(self._newest or document)
                self._tried.set()
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                if self._newest is None or self._newest is document:
                    break
            document = self._newest or document
        self._tried.set()

    def _restrict(self, document: AuthCatalog) -> None:
        """Put in force what needs no SQL of a catalog that cannot be taken yet."""
        if not self.loaded.is_set():
            return
        before = self._keys.catalog
        changed = self._put(before, restricted(before, view(document)))
        if changed.keys or changed.plans:
            log.info("catalog_restricted", version=document.version, keys=len(changed.keys), plans=len(changed.plans))
            self._tell(changed)

    async def take(self, document: AuthCatalog) -> None:
        """Put one catalog in force. Raises DatabaseDown."""
        now_ms = self._now_ms()

        def record(connection: Connection) -> Recorded:
            record_prices(connection, price_rows(document), now_ms)
            return record_declared(connection, document.api_keys, now_ms)

        recorded = await self._database.write(record, repeatable=True)
        if recorded.refused:
            log.error(
                "declared_keys_refused",
                ids=recorded.refused,
                reason="their ids or digests are taken, or no project can have that name",
            )
        after = view(document, recorded)
        changed = self._put(self._keys.catalog, after)
        first = not self.loaded.is_set()
        self.loaded.set()
        metrics.CATALOG_LOADED.inc()
        log.info("catalog_loaded", version=after.version, plans=len(after.plans), declared_keys=len(after.declared))
        self._tell(changed, everything=first)

    def _put(self, before: CatalogView, after: CatalogView) -> Difference:
        """Put a view in force; gives what differs."""
        changed = difference(before, after)
        self._keys.catalog = after
        for digest in changed.keys:
            self._keys.doubt(digest)
        return changed

    def _tell(self, changed: Difference, *, everything: bool = False) -> None:
        if everything or len(changed.keys) > _MOST_KEYS:
            self._changes.publish(Change(ChangeKind.EVERYTHING))
            return
        for plan in changed.plans:
            self._changes.publish(Change(ChangeKind.PLAN, plan))
        for digest in changed.keys:
            self._changes.publish(Change(ChangeKind.KEY, digest.hex()))
