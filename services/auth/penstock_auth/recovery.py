"""Who is there, and who has yet to speak up after the store lost its memory: the state of an epoch, pure.

`counters_memory` keeps one `Epoch`; `counters_redis` reads one out of its hash, which `lua/sessions.lua` changes by
the same rules. Times are ms of the store's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from penstock_auth.counters import EpochState

if TYPE_CHECKING:
    from collections.abc import Collection

SILENCE_MS: Final = 30_000  # after which a session's holdings end
GRACE_MS: Final = 30_000  # for which a loss waits for recorded sessions
REMEMBER_MS: Final = 3_600_000  # how long a silent or ended session is remembered
FILLED_WINDOW_MS: Final = 300_000  # windows up to this long start full when a session stays lost


class Status(StrEnum):
    """What an epoch knows of a session."""

    FRESH = "fresh"  # new in this epoch: it can have nothing from before
    DECLARED = "declared"
    MUST = "must"  # it may have things that this epoch does not know: lend it nothing before it declares them
    DROPPED = "dropped"  # silent for too long; its holdings are gone
    ENDED = "ended"


LIVE: Final = frozenset({Status.FRESH, Status.DECLARED, Status.MUST})


@dataclass(slots=True)
class Presence:
    """One session: when it was last heard, what it is, and whether it has declared (or ended) in this epoch."""

    seen_ms: int
    status: Status
    spoke: bool = False


@dataclass(slots=True)
class Epoch:
    """One life of the store. `expected` are the sessions recorded before it; None until somebody has looked."""

    id: str
    since_ms: int
    expected: frozenset[str] | None = None
    sessions: dict[str, Presence] = field(default_factory=dict)

    def touch(self, session: str, now: int) -> Status:
        """Note a sign of life and return what the session is now."""
        known = self.sessions.get(session)
        if known is None:
            known = self.sessions[session] = Presence(now, Status.MUST if self.recorded(session) else Status.FRESH)
        elif known.status is not Status.ENDED:
            known.seen_ms = now
            if known.status is Status.DROPPED:
                known.status = Status.MUST
        return known.status

    def declare(self, session: str, now: int) -> None:
        """Note that the session has declared all that it has."""
        if self.touch(session, now) is not Status.ENDED:
            self.sessions[session] = Presence(now, Status.DECLARED, spoke=True)

    def end(self, session: str, now: int) -> None:
        """Note that the session has ended cleanly."""
        self.sessions[session] = Presence(now, Status.ENDED, spoke=True)

    def drop_silent(self, now: int) -> None:
        """Drop sessions that have been silent for too long, and forget those that were dropped long ago."""
        for name, presence in list(self.sessions.items()):
            if presence.status in LIVE and presence.seen_ms <= now - SILENCE_MS:
                presence.status = Status.DROPPED
            elif presence.status not in LIVE and presence.seen_ms <= now - REMEMBER_MS:
                del self.sessions[name]
                if presence.spoke and self.expected is not None:
                    self.expected -= {name}

    def status(self, session: str) -> Status | None:
        """Return what the session is; None when it has never been heard."""
        known = self.sessions.get(session)
        return None if known is None else known.status

    def absent(self, session: str) -> bool:
        """Say whether the session was there before this epoch and has not spoken in it."""
        return self.recorded(session) and not self.spoke(session)

    def recorded(self, session: str) -> bool:
        """Say whether the session was there before this epoch, for all that is known."""
        return self.expected is None or session in self.expected

    def spoke(self, session: str) -> bool:
        """Say whether the session has declared or ended in this epoch."""
        known = self.sessions.get(session)
        return known is not None and known.spoke

    def missing(self) -> frozenset[str]:
        """Return recorded sessions that have neither declared nor ended in this epoch."""
        return frozenset(s for s in self.expected or () if not self.spoke(s))

    def recovering(self, now: int) -> bool:
        """Say whether recorded sessions are still being waited for."""
        return self.expected is None or (now < self.since_ms + GRACE_MS and bool(self.missing()))

    def full_at_ms(self, now: int) -> int:
        """Return the time at which short windows start full because a session stayed lost; 0 when none did."""
        until = self.since_ms + GRACE_MS
        return until if self.expected is not None and now >= until and self.missing() else 0

    def live(self) -> list[str]:
        """Return the sessions that are there."""
        return [name for name, presence in self.sessions.items() if presence.status in LIVE]

    def gone(self) -> list[str]:
        """Return the sessions that were there in this epoch and are no more."""
        return [name for name, presence in self.sessions.items() if presence.status not in LIVE]

    def expect(self, sessions: Collection[str]) -> None:
        """Name the sessions recorded before the loss; the first to do so is believed."""
        if self.expected is None:
            self.expected = frozenset(sessions)
            for name, presence in self.sessions.items():
                if presence.status is Status.MUST and not presence.spoke and name not in self.expected:
                    presence.status = Status.FRESH

    def state(self, now: int) -> EpochState:
        """Return what others may know of it."""
        recovering, missing = self.recovering(now), self.missing()
        return EpochState(
            id=self.id,
            since_ms=self.since_ms,
            store_time_ms=now,
            waiting=missing if recovering else frozenset(),
            lost=frozenset() if recovering else missing,
            live=frozenset(self.live()),
            dropped=frozenset(name for name, p in self.sessions.items() if p.status is Status.DROPPED),
        )
