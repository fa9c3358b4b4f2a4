"""Which edge session holds what of each limited account, split anew as demand changes, and shared through the store."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_router.stores import Change
from penstock_routing.shares import Book, Offer, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock_router.desired import Desired
    from penstock_router.sessions import Sessions
    from penstock_router.stores import Row, StateStore

KIND: Final = "shares"
_SEEN_STEP: Final = 5.0
_VERSIONS_PER_SECOND: Final = 10


class Lending:
    """The books of all limited accounts. `learning_until`: store seconds before which nothing new is lent."""

    def __init__(self, store: StateStore, *, silent_seconds: float, learning_until: float = -math.inf) -> None:
        self.books: dict[str, Book] = {}
        self._store = store
        self._silent = silent_seconds
        self._learning_until = learning_until
        self._versions: dict[str, int] = {}
        self._loaded = False

    def offers(self, session: str) -> dict[str, Offer]:
        """Return the newest offer of each account to a session."""
        return {
            account: holding.newest()
            for account, book in self.books.items()
            if (holding := book.holdings.get(session)) is not None and holding.offers
        }

    def lent(self, account: str) -> tuple[int, int]:
        """Return (slots, requests per minute) that edges may use of an account at most; -1: not limited."""
        book = self.books.get(account)
        parts = [holding.counted() for holding in book.holdings.values()] if book is not None else []
        return (_sum([part[0] for part in parts]), _sum([part[1] for part in parts]))

    async def sync(self, desired: Desired, sessions: Sessions, now: float) -> int:
        """Apply what sessions said, split anew, and store it; returns how often another router was first.

        Raises StoreDown: nothing new is lent then, and what was lent stays with who has it.
        """
        if self._store.shared or not self._loaded:
            reading = await self._store.read(KIND)
            self._adopt(reading.rows, now)
        ended, alive = frozenset(sessions.ended), sessions.watched()
        changes: list[Change] = []
        drafts: dict[str, Book] = {}
        for account in self._concerned(desired, sessions):
            old = self.books.get(account)
            if account not in desired.limits:
                changes.append(Change(account, self._versions.get(account, 0), None))
                continue
            draft = self._draft(account, old, desired, sessions, ended, alive, now)
            if draft is None:
                continue
            drafts[account] = draft
            changes.append(Change(account, self._versions.get(account, 0), msgspec.msgpack.encode(draft)))
        if not changes:
            sessions.ended -= ended
            return 0
        taken = await self._store.write(KIND, changes)
        for account, version in taken.items():
            if account in drafts:
                self.books[account] = drafts[account]
                self._versions[account] = version
            else:
                self.books.pop(account, None)
                self._versions.pop(account, None)
        if len(taken) == len(changes):
            sessions.ended -= ended
        return len(changes) - len(taken)

    def _concerned(self, desired: Desired, sessions: Sessions) -> set[str]:
        """Return the accounts with a limit, with a book, and those of which an edge still has a share."""
        limited = {name for name in desired.limits if desired.limited(name)}
        declared = {name for session in sessions for name in session.declared if name in desired.limits}
        return {*self.books, *limited, *declared}

    def _draft(
        self,
        account: str,
        old: Book | None,
        desired: Desired,
        sessions: Sessions,
        ended: frozenset[str],
        alive: frozenset[str],
        now: float,
    ) -> Book | None:
        """Return the account's next book; None when it is as it was."""
        before = msgspec.msgpack.encode(old) if old is not None else b""
        book = msgspec.msgpack.decode(before, type=Book) if before else self._new_book(now)
        book.limit = whole(desired.limits[account])
        # Rounded, so that life signs alone do not write to the store all the time.
        seen = math.floor(now / _SEEN_STEP) * _SEEN_STEP
        for session in sessions:
            if self._store.shared and not session.watches:
                continue  # It may have moved to another router, which knows better what it has and wants.
            book.join(session.name, session.declared.get(account), seen, session.edge)
            book.supersede(session.name, session.edge, alive=alive)
            if account in session.acknowledged:
                book.acknowledge(session.name, session.acknowledged[account])
            if account in session.demand:
                book.want(session.name, session.demand[account])
        for name in ended:
            book.leave(name)
        book.bury(now, self._silent + _SEEN_STEP)
        book.rebalance(now)
        return book if msgspec.msgpack.encode(book) != before else None

    def _new_book(self, now: float) -> Book:
        # Versions go on from the time, so that an edge never takes a new book's offers for older ones.
        return Book(version=int(now * _VERSIONS_PER_SECOND), learning_until=self._learning_until)

    def _adopt(self, rows: Mapping[str, Row], now: float) -> None:
        first = not self._loaded
        self._loaded = True
        for account, row in rows.items():
            if self._versions.get(account) == row.version:
                continue
            try:
                book = msgspec.msgpack.decode(row.body, type=Book)
            except msgspec.MsgspecError:
                continue
            if first and not self._store.shared:
                # Nobody could speak to us while we were away: silence counts from now.
                for holding in book.holdings.values():
                    holding.seen_at = now
            self.books[account] = book
            self._versions[account] = row.version
        for account in [account for account in self._versions if account not in rows]:
            # The store has lost it: what we remember goes back in.
            self._versions[account] = 0


def _sum(parts: list[int]) -> int:
    return -1 if any(part < 0 for part in parts) else sum(parts)
