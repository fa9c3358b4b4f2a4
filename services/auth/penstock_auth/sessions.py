"""Edge sessions in SQL: who has been lent something, so that after a loss of the counters auth knows whom to wait for.

A session is written down before anything is lent to it. Its last sign of life is kept coarsely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update

from penstock_auth import statements
from penstock_auth.errors import DatabaseDown
from penstock_auth.tables import edge_sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sqlalchemy import Connection

    from penstock_auth.database import Database

_COARSE_MS: Final = 10_000
_KNOWN_SECONDS: Final = 1.0  # an Allow waits no longer for a frozen database to hear of a session that it knows
_REMEMBERED: Final = 10_000


class SessionBook:
    """Notes sessions seen by this auth; at most one write per session every ten seconds."""

    def __init__(self, database: Database, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._now_ms = now_ms
        self._written: dict[str, int] = {}

    async def seen(self, session: str, edge: str = "") -> None:
        """Note a sign of life. Raises DatabaseDown when the session is new and cannot be written down."""
        now = self._now_ms()
        before = self._written.get(session)
        # What was noted by a clock that has been put back since is put right.
        if before is not None and 0 <= now - before < _COARSE_MS:
            return
        if before is not None:
            self._written[session] = now  # Whoever comes meanwhile need not write, nor wait.
        try:
            await self._database.write(
                lambda connection: _note(connection, session, edge, now),
                seconds=None if before is None else _KNOWN_SECONDS,
                repeatable=True,
            )
        except DatabaseDown:
            if before is None:
                raise
            return
        if len(self._written) >= _REMEMBERED:
            self._written.pop(next(iter(self._written)))
        self._written.pop(session, None)
        self._written[session] = now

    async def ended(self, session: str, edge: str = "") -> None:
        """Note a clean end. Raises DatabaseDown."""
        now = self._now_ms()
        self._written.pop(session, None)
        await self._database.write(lambda connection: _end(connection, session, edge, now), repeatable=True)

    async def lost(self, sessions: Collection[str]) -> None:
        """Note that nobody shall wait for these any more. Raises DatabaseDown."""
        now = self._now_ms()
        for session in sessions:
            self._written.pop(session, None)
        await self._database.write(lambda connection: _lose(connection, sorted(sessions), now), repeatable=True)

    async def sweep(self, silent_since_ms: int) -> None:
        """Note as lost all that were silent since; only for a time in which auth itself was there to hear them."""
        now = self._now_ms()
        await self._database.write(lambda connection: _sweep(connection, silent_since_ms, now), repeatable=True)

    async def unclean(self) -> list[str]:
        """Return sessions that neither ended cleanly nor are lost. Raises DatabaseDown."""
        return await self._database.read(_unclean)


def _note(connection: Connection, session: str, edge: str, now_ms: int) -> None:
    statement = statements.upsert(connection, edge_sessions).values(
        session=session, edge=edge, started_at_ms=now_ms, last_seen_ms=now_ms, ended_at_ms=0, lost_at_ms=0
    )
    # A session that comes back after it was given up is waited for again.
    changed = {"last_seen_ms": now_ms, "ended_at_ms": 0, "lost_at_ms": 0} | ({"edge": edge} if edge else {})
    connection.execute(statement.on_conflict_do_update(index_elements=[edge_sessions.c.session], set_=changed))


def _end(connection: Connection, session: str, edge: str, now_ms: int) -> None:
    statement = statements.upsert(connection, edge_sessions).values(
        session=session, edge=edge, started_at_ms=now_ms, last_seen_ms=now_ms, ended_at_ms=now_ms, lost_at_ms=0
    )
    connection.execute(
        statement.on_conflict_do_update(index_elements=[edge_sessions.c.session], set_={"ended_at_ms": now_ms})
    )


def _lose(connection: Connection, sessions: list[str], now_ms: int) -> None:
    connection.execute(
        update(edge_sessions)
        .where(edge_sessions.c.session.in_(sessions), edge_sessions.c.lost_at_ms == 0)
        .values(lost_at_ms=now_ms)
    )


def _sweep(connection: Connection, silent_since_ms: int, now_ms: int) -> None:
    connection.execute(
        update(edge_sessions)
        .where(
            edge_sessions.c.ended_at_ms == 0,
            edge_sessions.c.lost_at_ms == 0,
            edge_sessions.c.last_seen_ms < silent_since_ms,
        )
        .values(lost_at_ms=now_ms)
    )


def _unclean(connection: Connection) -> list[str]:
    return list(
        connection.scalars(
            select(edge_sessions.c.session).where(edge_sessions.c.ended_at_ms == 0, edge_sessions.c.lost_at_ms == 0)
        )
    )
