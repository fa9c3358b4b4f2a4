"""Which edge session holds what of each limited account, split anew as demand changes, and shared through the store.

A turn looks at those accounts only of which something is new: what an edge said, what another router wrote, a time
that has come. All of them have their turn when sessions come or go, and every five seconds each for life signs.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_router.stores import Change
from penstock_routing.shares import Book, Offer, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from penstock_router.desired import Desired
    from penstock_router.sessions import Sessions
    from penstock_router.stores import Row, StateStore

KIND: Final = "shares"
_SEEN_STEP: Final = 5.0
_VERSIONS_PER_SECOND: Final = 10
_AT_ONCE: Final = 16


class Lending:
    """The books of all limited accounts. `learning_until`: store seconds before which nothing new is lent."""

    def __init__(self, store: StateStore, *, silent_seconds: float, learning_until: float = -math.inf) -> None:
        self.books: dict[str, Book] = {}
        self._store = store
        self._silent = silent_seconds
        self._learning_until = learning_until
        self._versions: dict[str, int] = {}
        self._loaded = False
        self._limited: frozenset[str] = frozenset()
        self._split_for: tuple[Desired | None, int] = (None, -1)
        self._open: set[str] = set()
        self._due: dict[str, float] = {}
        self._changed: set[str] = set()

    def changed(self) -> set[str]:
        """Return the accounts whose books are others than when this was last asked."""
        changed, self._changed = self._changed, set()
        return changed

    def offers(self, session: str, accounts: Iterable[str] | None = None) -> dict[str, Offer]:
        """Return the newest offer of each account (or of these) to a session."""
        return {
            account: holding.newest()
            for account in (self.books if accounts is None else accounts)
            if (book := self.books.get(account)) is not None
            and (holding := book.holdings.get(session)) is not None
            and holding.offers
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
            self._open |= self._adopt(reading.rows, now)
        ended, alive = frozenset(sessions.ended), sessions.watched()
        split_for = (desired, sessions.changes)
        touched, sessions.touched = sessions.touched, set()
        self._open |= touched | self._joined(desired, sessions)
        changes: list[Change] = []
        drafts: dict[str, Book] = {}
        for number, account in enumerate(self._concerned(desired, sessions, now)):
            if number % _AT_ONCE == _AT_ONCE - 1:
                # Whoever watches has to hear something meanwhile. What they say now is for the next turn.
                await asyncio.sleep(0)
            old = self.books.get(account)
            if account not in desired.limits:
                changes.append(Change(account, self._versions.get(account, 0), None))
                continue
            draft = self._draft(account, old, desired, sessions, ended, alive, now)
            if draft is None:
                self._settle(account, now)
                continue
            drafts[account] = draft
            changes.append(Change(account, self._versions.get(account, 0), msgspec.msgpack.encode(draft)))
        # Whatever is not taken now has to be looked at again; what is, once more, until nothing more comes of it.
        self._open |= {change.name for change in changes}
        taken = await self._store.write(KIND, changes) if changes else {}
        for account, version in taken.items():
            if account in drafts:
                self.books[account] = drafts[account]
                self._versions[account] = version
            else:
                self.books.pop(account, None)
                self._versions.pop(account, None)
                self._open.discard(account)
                self._due.pop(account, None)
        self._changed |= taken.keys()
        self._split_for = split_for
        if len(taken) == len(changes):
            sessions.ended -= ended
        return len(changes) - len(taken)

    def _concerned(self, desired: Desired, sessions: Sessions, now: float) -> set[str]:
        """Return the accounts to look at, of those with a limit, with a book, or of which an edge still has a share."""
        if self._split_for[0] is not desired:
            self._limited = frozenset(name for name in desired.limits if desired.limited(name))
        if self._split_for == (desired, sessions.changes) and not sessions.ended:
            due = {account for account in self.books if self._due.get(account, -math.inf) <= now}
            # Demand of accounts without a limit is of no concern here.
            self._open &= self.books.keys() | self._limited
            return self._open | due
        declared = {name for session in sessions for name in session.declared if name in desired.limits}
        return {*self.books, *self._limited, *declared}

    def _joined(self, desired: Desired, sessions: Sessions) -> set[str]:
        """Return the accounts of which a session that begins to watch has no share, or another than it says it has.

        One that was cut off for a moment comes back with what it had: of that nothing has to be split anew.
        """
        joined, sessions.joined = sessions.joined, set()
        found: set[str] = set()
        for session in (sessions.get(name) for name in joined):
            if session is None:
                continue
            for account in self.books.keys() | session.declared.keys():
                book = self.books.get(account)
                holding = book.holdings.get(session.name) if book is not None else None
                declared = session.declared.get(account)
                if (
                    holding is None
                    or len(holding.offers) != 1
                    or holding.edge != session.edge
                    or (declared is not None and declared.version != holding.newest().version)
                ):
                    found.add(account)
        return {account for account in found if account in self.books or account in desired.limits}

    def _settle(self, account: str, now: float) -> None:
        """Note that there is nothing more to do for an account until something happens, or its time comes."""
        self._open.discard(account)
        book = self.books.get(account)
        if book is None:
            return
        soonest = _sign_of_life(account, now) + _SEEN_STEP
        for holding in book.holdings.values():
            soonest = min(soonest, holding.seen_at + self._silent + _SEEN_STEP)
        if book.learning_until > now:
            soonest = min(soonest, book.learning_until)
        self._due[account] = soonest

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
        seen = _sign_of_life(account, now)
        lives = Counter(holding.edge for holding in book.holdings.values())
        for session in sessions:
            if self._store.shared and not session.watches:
                continue  # It may have moved to another router, which knows better what it has and wants.
            if session.name not in book.holdings:
                lives[session.edge] += 1
            book.join(session.name, session.declared.get(account), seen, session.edge)
            if lives[session.edge] > 1:
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

    def _adopt(self, rows: Mapping[str, Row], now: float) -> set[str]:
        """Take in what the store has; returns the accounts of which that is new."""
        adopted: set[str] = set()
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
                # The clock may have been put back.
                book.learning_until = min(book.learning_until, now + self._silent)
            self.books[account] = book
            self._versions[account] = row.version
            adopted.add(account)
        for account in [account for account in self._versions if account not in rows]:
            # The store has lost it: what we remember goes back in.
            self._versions[account] = 0
            self._due.pop(account, None)
        self._changed |= adopted
        return adopted


def _sign_of_life(account: str, now: float) -> float:
    """Return the time that stands for `now` in the account's book.

    Rounded, so that life signs alone do not write to the store all the time; and at moments of its own for each
    account, so that they are not all written at once.
    """
    phase = zlib.crc32(account.encode()) % 1000 / 1000 * _SEEN_STEP
    return math.floor((now - phase) / _SEEN_STEP) * _SEEN_STEP + phase


def _sum(parts: list[int]) -> int:
    return -1 if any(part < 0 for part in parts) else sum(parts)
