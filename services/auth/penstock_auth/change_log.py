"""Changes between replicas of auth: each is written with its cause in one transaction, and read by the others at once.

Numbers of rows that are committed side by side may come out of order, so a reader looks back over the last of them.
What it reads it also posts on the bulletin, and reads from there while SQL does not let it read the log.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, select

from penstock_auth import metrics
from penstock_auth.bulletin import MOST, Posted, unheard
from penstock_auth.changes import Change, ChangeKind
from penstock_auth.counters import StoreDown, StoreRefused
from penstock_auth.errors import DatabaseDown
from penstock_auth.tables import changes
from penstock_chassis import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from penstock_auth.bulletin import Bulletin
    from penstock_auth.database import Database

log = logs.get(__name__)

_LOOK_BACK: Final = MOST
_KEEP_MS: Final = 3_600_000
_TIDY_EVERY: Final = 1200
# A store that has forgotten what was posted, or never had it, has it again within ten seconds.
_POST_ALL_EVERY: Final = 33
# A log that was not read for so long may have something that this replica cannot know of.
_UNREAD_SECONDS: Final = 1.0


def write(connection: Connection, change: Change, now_ms: int) -> None:
    """Write one change down, in the transaction that makes it."""
    connection.execute(insert(changes).values(kind=change.kind.value, subject=change.subject, created_at_ms=now_ms))


class ChangeLog:
    """Reads what replicas write, this one's own changes too (hearing twice of a change is harmless).

    `now_ms` gives Unix ms, `monotonic` seconds.
    """

    def __init__(
        self,
        database: Database,
        publish: Callable[[Change], None],
        bulletin: Bulletin,
        *,
        now_ms: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._database = database
        self._publish = publish
        self._bulletin = bulletin
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._last: int | None = None
        self._seen: set[int] = set()
        self._read_at = monotonic()
        self._posted: frozenset[int] = frozenset()
        self._noticed: frozenset[int] = frozenset()

    async def run(self, every_seconds: float = 0.3) -> None:
        """Look for changes until cancelled."""
        turns = 0
        while True:
            try:
                await self.look(post_all=turns % _POST_ALL_EVERY == 0)
                turns += 1
                if turns % _TIDY_EVERY == 0:
                    await self._database.write(self._tidy, repeatable=True)
            except DatabaseDown:
                log.warning("change_log_unread")
            await asyncio.sleep(every_seconds)

    async def look(self, *, post_all: bool = False) -> None:
        """Publish what is new, and post it. The first look only finds the place to begin at. Raises DatabaseDown."""
        asked = self._monotonic()
        rows = await self._database.read(self._read)
        for number, change in rows:
            if self._last is not None and number not in self._seen:
                self._publish(change)
        self._seen = {number for number, _ in rows}
        self._last = max([self._last or 0, *self._seen])
        self._read_at, self._noticed = asked, frozenset()
        await self._post(rows, post_all=post_all)

    async def _post(self, rows: list[Posted], *, post_all: bool) -> None:
        """Post what was not posted yet, or all; what could not be is posted the next time."""
        news = [row for row in rows if post_all or row.number not in self._posted]
        if not news and not post_all:
            return
        oldest = rows[0].number if rows else (self._last or 0) + 1
        try:
            await self._bulletin.post(news, oldest)
        except (StoreDown, StoreRefused):
            metrics.STORE_ERRORS.labels("post").inc()
        else:
            self._posted = frozenset(self._seen)

    async def run_without_sql(self, every_seconds: float = 0.5) -> None:
        """Look at the bulletin whenever the log cannot be read, until cancelled."""
        while True:
            try:
                await self.look_without_sql()
            except (StoreDown, StoreRefused):
                metrics.STORE_ERRORS.labels("bulletin").inc()
            await asyncio.sleep(every_seconds)

    async def look_without_sql(self) -> None:
        """Publish what others have posted since the log was last read, if that was too long ago. Raises StoreDown."""
        if self._monotonic() - self._read_at < _UNREAD_SECONDS:
            return
        posted = await self._bulletin.read()
        for each in unheard(posted, self._seen | self._noticed, self._last or 0):
            log.warning("change_heard_without_sql", kind=each.change.kind.value, number=each.number)
            self._publish(each.change)
        self._noticed = frozenset(each.number for each in posted)

    def _tidy(self, connection: Connection) -> None:
        connection.execute(delete(changes).where(changes.c.created_at_ms < self._now_ms() - _KEEP_MS))

    def _read(self, connection: Connection) -> list[Posted]:
        newest = self._last
        if newest is None:
            newest = connection.execute(select(func.coalesce(func.max(changes.c.id), 0))).scalar_one()
        query = select(changes.c.id, changes.c.kind, changes.c.subject).where(changes.c.id > newest - _LOOK_BACK)
        rows = connection.execute(query.order_by(changes.c.id))
        return [Posted(number, Change(ChangeKind(kind), subject)) for number, kind, subject in rows]
