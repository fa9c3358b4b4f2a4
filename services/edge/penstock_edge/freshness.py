"""How old an answer of auth may be, to be used now: nothing is spent that may have been revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.times import NEVER

if TYPE_CHECKING:
    from penstock_edge.changes import Changes
    from penstock_edge.key_facts import KeyFacts
    from penstock_edge.session import Session
    from penstock_edge.store_clock import StoreClock

_ABSENT_SECONDS: Final = 20.0
_STREAM_SECONDS: Final = 2.0
# By how much the clocks may differ by which auth and this edge see a key expire.
_CLOCKS_SECONDS: Final = 0.25


class Freshness:
    """Judges by the stream of changes, by the session's last call that was answered, and by the store's clock."""

    __slots__ = ("_changes", "_session", "_time", "everything_from")

    def __init__(self, changes: Changes, session: Session, time: StoreClock) -> None:
        self._changes = changes
        self._session = session
        self._time = time
        self.everything_from = -NEVER
        """Nothing that was asked for before then is used."""

    def everything_changed(self, now: float) -> None:
        """Use nothing that was asked for before now."""
        self.everything_from = now

    def floor(self, now: float) -> float:
        """Return when an answer must have been asked for, to be used now."""
        floor = self.everything_from
        if not self._changes.live(now):
            floor = max(floor, now - _STREAM_SECONDS)
        return floor if self.reaches_auth(now) else NEVER

    def floor_of(self, facts: KeyFacts | None, now: float) -> float:
        """Return the same for one key: of a key whose time is over, auth says anew what it is now."""
        floor = self.floor(now)
        if facts is None or facts.expires_at_ms <= 0:
            return floor
        ended = now - (self._time.at(now) - facts.expires_at_ms) / 1000
        return max(floor, ended + _CLOCKS_SECONDS) if now >= ended + _CLOCKS_SECONDS else floor

    def reaches_auth(self, now: float) -> bool:
        """Say whether auth has answered lately: else this edge opens no hold."""
        return now - self._session.reached_at <= _ABSENT_SECONDS
