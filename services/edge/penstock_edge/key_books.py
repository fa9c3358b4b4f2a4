"""All keys that this edge knows of, each with its allowance and those who wait for auth's answer about it. No I/O."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from penstock_chassis import logs
from penstock_chassis.tracing import CURRENT
from penstock_edge.allowance import COUNT_TOKENS, REQUESTS, Allowance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from penstock_chassis.tracing import TraceContext
    from penstock_edge.key_facts import KeyFacts
    from penstock_edge.records import Admitted, Kind, Need, Refused

_log = logs.get(__name__)

_LOOKED_AT = 16


class Waiter:
    """Somebody who waits for auth's answer; without a `need` only for the key's facts."""

    __slots__ = ("asked", "future", "need", "trace")

    def __init__(self, need: Need | None) -> None:
        self.need = need
        self.future: asyncio.Future[Admitted | Refused | KeyFacts] = asyncio.get_running_loop().create_future()
        self.asked = 0
        self.trace = CURRENT.get()

    @property
    def answered(self) -> bool:
        """True once there is an answer for somebody who may still be there."""
        return self.future.done() and not self.future.cancelled()


class KeyBook:
    """One key: its allowance, who waits, and whether somebody is asking auth about it."""

    __slots__ = ("_counting", "_requesting", "allowance", "last_kind", "refill", "returning", "task", "trace")

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self._requesting: deque[Waiter] = deque()
        self._counting: deque[Waiter] = deque()
        self.refill: Kind | None = None
        """What is to be asked for ahead."""
        self.returning = False
        """Something is to go back."""
        self.task: asyncio.Task[None] | None = None
        self.trace: TraceContext | None = None
        """The traced request that waits for the question that is being asked."""
        self.last_kind: Kind = COUNT_TOKENS

    def row(self, kind: Kind) -> deque[Waiter]:
        """Return who waits with requests of one kind."""
        return self._requesting if kind == "requests" else self._counting

    @property
    def idle(self) -> bool:
        """True when forgetting this key would lose nothing."""
        return self.task is None and self.allowance.idle and not self._requesting and not self._counting

    def first(self, kind: Kind) -> Waiter | None:
        """Return who has waited longest and is still there."""
        row = self.row(kind)
        while row and row[0].future.done():
            row.popleft()
        return row[0] if row else None

    @property
    def awaited(self) -> bool:
        """True while somebody waits."""
        return self.first(REQUESTS) is not None or self.first(COUNT_TOKENS) is not None

    @property
    def wants_more(self) -> bool:
        """True while there is something to ask."""
        return self.refill is not None or self.returning or self.awaited

    def has_place(self, kind: Kind, places: int) -> bool:
        """Say whether one more may wait, of at most `places`."""
        row = self.row(kind)
        if len(row) >= places:
            left = [w for w in row if not w.future.done()]
            row.clear()
            row.extend(left)
        return len(row) < places

    def next_kind(self) -> Kind:
        """Return whose turn it is: kinds that somebody waits for in turn, else what is asked for ahead."""
        kind: Kind = REQUESTS if self.last_kind == COUNT_TOKENS else COUNT_TOKENS
        if self.first(kind) is None:
            kind = REQUESTS if kind == COUNT_TOKENS else COUNT_TOKENS
        if self.first(kind) is None:
            kind = self.refill or REQUESTS
        self.last_kind = kind
        return kind

    def recovering(self, now: float) -> float:
        """Return for how many seconds auth wants not to be asked about this key, because it recovers from a loss."""
        lanes = (self.allowance.requests, self.allowance.count_tokens)
        denials = [lane.denied for lane in lanes if lane.denied is not None]
        return max((d.valid_until for d in denials if d.refused.reason == "RECOVERING"), default=now) - now


class KeyBooks:
    """The books by key digest, the longest unused one first; and, apart, digests that auth does not know."""

    def __init__(self, clock: Callable[[], float], *, max_keys: int, max_unknown_keys: int) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._max_unknown = max_unknown_keys
        self._books: OrderedDict[bytes, KeyBook] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._projects: dict[str, set[bytes]] = {}
        self._plans: dict[str, set[bytes]] = {}
        self._newest: KeyBook | None = None
        self.get = self._books.get

    def __len__(self) -> int:
        return len(self._books)

    def __iter__(self) -> Iterator[KeyBook]:
        return iter(self._books.values())

    def used(self, book: KeyBook) -> None:
        """Note that this key was used just now; it must be here."""
        if book is not self._newest:
            self._books.move_to_end(book.allowance.digest)
            self._newest = book

    def find(self, digest: bytes, oldest_ms: int) -> KeyBook | None:
        """Return the key's book, a new one if need be; None when there are too many that hold something.

        `oldest_ms`: admissions before it need not be remembered.
        """
        book = self._books.get(digest)
        if book is not None:
            return book
        if len(self._books) >= self._max_keys:
            self._evict(oldest_ms)
        if len(self._books) >= 2 * self._max_keys:
            _log.error("too_many_keys", keys=len(self._books))
            return None
        book = self._newest = self._books[digest] = KeyBook(Allowance(digest, self._clock))
        return book

    def forget(self, book: KeyBook) -> None:
        """Drop a book that is idle."""
        self.learn(book, None)
        del self._books[book.allowance.digest]
        if book is self._newest:
            self._newest = None

    def learn(self, book: KeyBook, facts: KeyFacts | None) -> None:
        """Note what auth says of the key."""
        before, book.allowance.facts = book.allowance.facts, facts
        digest = book.allowance.digest
        _move(self._projects, digest, before.project if before else None, facts.project if facts else None)
        _move(self._plans, digest, before.plan if before else None, facts.plan if facts else None)

    def of_project(self, project: str) -> list[bytes]:
        """Return the digests of a project's keys."""
        return list(self._projects.get(project, ()))

    def of_plan(self, plan: str) -> list[bytes]:
        """Return the digests of the keys that follow a plan."""
        return list(self._plans.get(plan, ()))

    def unknown(self, digest: bytes, now: float) -> bool:
        """Say whether auth has lately said that it does not know this key."""
        return self._unknown.get(digest, now) > now

    def note_unknown(self, digest: bytes, until: float) -> None:
        """Remember until then that auth does not know this key."""
        self._unknown[digest] = until
        self._unknown.move_to_end(digest)
        if len(self._unknown) > self._max_unknown:
            self._unknown.popitem(last=False)

    def doubt_unknown(self, digest: bytes | None = None) -> None:
        """Ask about this key again though auth did not know it; without a digest about any."""
        if digest is None:
            self._unknown.clear()
        else:
            self._unknown.pop(digest, None)

    def _evict(self, oldest_ms: int) -> None:
        """Forget a key that was not used for long and holds nothing; looks at a few of the oldest."""
        for book in [book for book, _ in zip(self, range(_LOOKED_AT), strict=False)]:
            book.allowance.unrecorded.forget_before(oldest_ms)
            if book.idle:
                self.forget(book)
                return
            # What still holds something comes to the end of the row, so that the next look finds others.
            self._newest = book
            self._books.move_to_end(book.allowance.digest)


def _move(groups: dict[str, set[bytes]], digest: bytes, before: str | None, after: str | None) -> None:
    if before == after:
        return
    if before is not None and (members := groups.get(before)) is not None:
        members.discard(digest)
        if not members:
            del groups[before]
    if after is not None:
        groups.setdefault(after, set()).add(digest)
