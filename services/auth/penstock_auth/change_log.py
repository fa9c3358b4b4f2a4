"""Changes between replicas of auth: each is written with its cause in one transaction, and read by the others at once.

Numbers of rows that are committed side by side may come out of order, so a reader looks back over the last of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, select

from penstock_auth.changes import Change, ChangeKind
from penstock_auth.errors import DatabaseDown
from penstock_auth.tables import changes
from penstock_chassis import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from penstock_auth.database import Database

log = logs.get(__name__)

_LOOK_BACK: Final = 500
_KEEP_MS: Final = 3_600_000
_TIDY_EVERY: Final = 1200


def write(connection: Connection, change: Change, now_ms: int) -> None:
    """Write one change down, in the transaction that makes it."""
    connection.execute(insert(changes).values(kind=change.kind.value, subject=change.subject, created_at_ms=now_ms))


class ChangeLog:
    """Reads what replicas write, this one's own changes too (hearing twice of a change is harmless)."""

    def __init__(self, database: Database, publish: Callable[[Change], None], now_ms: Callable[[], int]) -> None:
        self._database = database
        self._publish = publish
        self._now_ms = now_ms
        self._last: int | None = None
        self._seen: set[int] = set()

    async def run(self, every_seconds: float = 0.3) -> None:
        """Look for changes until cancelled."""
        turns = 0
        while True:
            try:
                await self.look()
                turns += 1
                if turns % _TIDY_EVERY == 0:
                    await self._database.write(self._tidy, repeatable=True)
            except DatabaseDown:
                log.warning("change_log_unread")
            await asyncio.sleep(every_seconds)

    async def look(self) -> None:
        """Publish what is new. The first look only finds the place to begin at. Raises DatabaseDown."""
        rows = await self._database.read(self._read)
        for number, kind, subject in rows:
            if self._last is not None and number not in self._seen:
                self._publish(Change(ChangeKind(kind), subject))
        self._seen = {number for number, _, _ in rows}
        self._last = max([self._last or 0, *self._seen])

    def _tidy(self, connection: Connection) -> None:
        connection.execute(delete(changes).where(changes.c.created_at_ms < self._now_ms() - _KEEP_MS))

    def _read(self, connection: Connection) -> list[tuple[int, str, str]]:
        newest = self._last
        if newest is None:
            newest = connection.execute(select(func.coalesce(func.max(changes.c.id), 0))).scalar_one()
        query = select(changes.c.id, changes.c.kind, changes.c.subject).where(changes.c.id > newest - _LOOK_BACK)
        return [(number, kind, subject) for number, kind, subject in connection.execute(query.order_by(changes.c.id))]
