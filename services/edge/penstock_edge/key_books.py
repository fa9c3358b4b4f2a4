"""All keys that this edge knows of, the longest unused one first. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from penstock_chassis import logs
from penstock_edge.allowance import Allowance
from penstock_edge.key_book import KeyBook
from penstock_edge.outage import ProjectParts
from penstock_edge.times import LONG_AGO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from penstock_edge.key_facts import KeyFacts

_log = logs.get(__name__)

_LOOKED_AT: Final = 16


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
        self._parts: dict[str, ProjectParts] = {}
        self._newest: KeyBook | None = None
        self._seq = 0
        self.group_changed_at = LONG_AGO
        """When we last heard that any project or plan changed."""
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
        # Auth remembers the numbers of this session's questions longer than we may remember the key.
        book.allowance.seq = self._seq
        return book

    def forget(self, book: KeyBook) -> None:
        """Drop a book that is idle."""
        self._seq = max(self._seq, book.allowance.seq)
        self.learn(book, None)
        del self._books[book.allowance.digest]
        if book is self._newest:
            self._newest = None

    def learn(self, book: KeyBook, facts: KeyFacts | None) -> None:
        """Note what auth says of the key."""
        before, book.allowance.facts = book.allowance.facts, facts
        digest = book.allowance.digest
        _move(self._projects, digest, before.project if before else None, facts.project if facts else None)
        if before is not None and before.project not in self._projects:
            self._parts.pop(before.project, None)
        _move(self._plans, digest, before.plan if before else None, facts.plan if facts else None)
        if facts is not None and (before is None or (before.project, before.plan) != (facts.project, facts.plan)):
            # A change of its project or plan since the question was sent could not be told to be about this key.
            book.allowance.changed_at = max(book.allowance.changed_at, self.group_changed_at)

    def of_project(self, project: str) -> list[bytes]:
        """Return the digests of a project's keys."""
        return list(self._projects.get(project, ()))

    def parts_of(self, project: str) -> ProjectParts:
        """Return what a project's keys share in an outage; the project must have one here."""
        return self._parts.setdefault(project, ProjectParts())

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
