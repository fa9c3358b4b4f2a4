"""Tells edges what changed: each open WatchChanges stream has a bounded queue of its own.

Numbers grow by one per change over the life of this auth; a heartbeat repeats the last one that its stream was sent. A
stream that cannot keep up is told that everything changed, instead of what it missed.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from penstock_auth import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

HEARTBEAT_SECONDS: Final = 0.5
_QUEUE_LIMIT: Final = 1024


class ChangeKind(StrEnum):
    """What a change is about."""

    KEY = "key"
    PROJECT = "project"
    PLAN = "plan"
    EVERYTHING = "everything"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: of a key (digest in hexadecimal), of a project or plan (name), or of everything."""

    kind: ChangeKind
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A change with its number."""

    seq: int
    change: Change


class Watcher:
    """One stream's queue."""

    def __init__(self, seq: int) -> None:
        self._queue: deque[Numbered] = deque()
        self._arrived = asyncio.Event()
        self._sent = seq
        self.ended = False

    def put(self, numbered: Numbered) -> None:
        """Queue a change; too many become one change of everything."""
        if len(self._queue) >= _QUEUE_LIMIT:
            self._queue.clear()
            numbered = Numbered(numbered.seq, Change(ChangeKind.EVERYTHING))
        self._queue.append(numbered)
        self._arrived.set()

    def poke(self) -> None:
        """Let a heartbeat go out now."""
        self._arrived.set()

    def end(self) -> None:
        """Let the stream end."""
        self.ended = True
        self._arrived.set()

    async def next(self, seconds: float = HEARTBEAT_SECONDS) -> Numbered:
        """Return the next change, or a heartbeat when there is none for so long."""
        if not self._queue:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
        self._arrived.clear()
        if not self._queue:
            return Numbered(self._sent, Change(ChangeKind.HEARTBEAT))
        numbered = self._queue.popleft()
        if self._queue:
            self._arrived.set()
        self._sent = numbered.seq
        return numbered


class ChangeHub:
    """Gives every change to every watcher."""

    def __init__(self) -> None:
        self._seq = 0
        self._watchers: set[Watcher] = set()
        self._sessions: Counter[str] = Counter()
        self.ended = False

    def publish(self, change: Change) -> None:
        """Tell all edges."""
        self._seq += 1
        metrics.CHANGES.labels(change.kind).inc()
        for watcher in self._watchers:
            watcher.put(Numbered(self._seq, change))

    def poke(self) -> None:
        """Send all edges a heartbeat now: the epoch in it is new."""
        for watcher in self._watchers:
            watcher.poke()

    def end(self) -> None:
        """End all streams, and each that opens from now on."""
        self.ended = True
        for watcher in self._watchers:
            watcher.end()

    def watched_by(self, session: str) -> bool:
        """Say whether this edge session has a stream here."""
        return self._sessions[session] > 0

    @contextmanager
    def watch(self, session: str = "") -> Iterator[Watcher]:
        """Open a queue for one stream."""
        watcher = Watcher(self._seq)
        if self.ended:
            watcher.end()
        self._watchers.add(watcher)
        self._sessions[session] += 1
        metrics.WATCHERS.set(len(self._watchers))
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            self._sessions[session] -= 1
            if not self._sessions[session]:
                del self._sessions[session]
            metrics.WATCHERS.set(len(self._watchers))
