"""What SQL tells the counters after a loss: who may still hold something, and what a project's windows have seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from penstock_auth.counters import ProjectHistory, StoreDown
from penstock_auth.errors import DatabaseDown
from penstock_auth.keys import list_keys
from penstock_auth.usage import history

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sqlalchemy import Connection

    from penstock_auth.counters import Limit
    from penstock_auth.database import Database
    from penstock_auth.key_book import KeyBook
    from penstock_auth.sessions import SessionBook

# Buckets round up, and the store's clock need not be ours.
_SLACK_MS: Final = 120_000
_LEAST_MS: Final = 600_000
# For hundreds of thousands of rows; no call waits for so long.
_READ_SECONDS: Final = 20.0


class SqlTruth:
    """`counters.Truth` over the ledger. A database that is down counts as a store that is down: nothing can be lent."""

    def __init__(self, database: Database, sessions: SessionBook, keys: KeyBook, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._sessions = sessions
        self._keys = keys
        self._now_ms = now_ms

    async def unclean_sessions(self) -> Collection[str]:
        """See `Truth`."""
        try:
            return await self._sessions.unclean()
        except DatabaseDown as error:
            raise StoreDown("the ledger cannot be asked for edge sessions") from error

    async def history(self, project: str) -> ProjectHistory:
        """See `Truth`."""
        try:
            return await self._database.read(
                lambda connection: self._history(connection, project), seconds=_READ_SECONDS
            )
        except DatabaseDown as error:
            raise StoreDown("the ledger cannot be asked for a project's history") from error

    def _history(self, connection: Connection, project: str) -> ProjectHistory:
        catalog = self._keys.catalog
        now_ms = self._now_ms()
        found = list_keys(connection, project)
        counters = {key.id: key.counter for key in found}
        limits: dict[str, tuple[Limit, ...]] = {key.counter: catalog.limits_of(key.plan) for key in found}
        longest = max((limit.window_ms for each in limits.values() for limit in each), default=0)
        since_ms = now_ms - max(longest + longest // 50, _LEAST_MS) - _SLACK_MS
        rows = [
            replace(row, key=counters.get(row.key, row.key)) for row in history(connection, project, since_ms, now_ms)
        ]
        return ProjectHistory(rows=rows, limits=limits)
