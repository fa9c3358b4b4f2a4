"""The edge sessions that speak to this router: when last, what they hold, what they would like. Bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from penstock_routing.shares import Demand, Offer

_PRESENT_SECONDS: Final = 3.0


@dataclass(slots=True)
class EdgeSession:
    """One life of one edge process. Times are store seconds."""

    name: str
    edge: str = ""
    watches: int = 0
    """Streams open now."""
    seen_at: float = 0.0
    seq: int = 0
    """The newest report that was taken in."""
    catalog_version: str = ""
    declared: dict[str, Offer] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    demand: dict[str, Demand] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)
    offered_at: float = float("-inf")
    """When it was last given a trial."""

    def busy(self) -> bool:
        """Tell whether it has traffic that a trial could use."""
        return any(demand.requests_per_minute or demand.slots for demand in self.demand.values())

    def waiting(self) -> list[str]:
        """Return the accounts that requests wait for there."""
        return [name for name, demand in self.demand.items() if demand.slots > max(self.in_flight.get(name, 0), 0)]

    def waits(self, account: str) -> bool:
        """Tell whether requests wait there for an account."""
        demand = self.demand.get(account)
        return demand is not None and demand.slots > max(self.in_flight.get(account, 0), 0)

    def uses(self, account: str) -> bool:
        """Tell whether it has a request for an account, under way or waiting."""
        demand = self.demand.get(account)
        return demand is not None and demand.slots > 0


class Sessions:
    """Sessions by name. `ended` are those that said goodbye or were superseded, until shares have been freed.

    `changes` grows whenever a session comes or goes for good. `joined` are those that have begun to watch, and
    `touched` the accounts of which any has said something new, until shares have been split by it.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._sessions: dict[str, EdgeSession] = {}
        self.ended: set[str] = set()
        self.changes = 0
        self.joined: set[str] = set()
        self.touched: set[str] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[EdgeSession]:
        return iter(self._sessions.values())

    def get(self, name: str) -> EdgeSession | None:
        """Return a session that is known here."""
        return self._sessions.get(name)

    def present(self, now: float) -> list[EdgeSession]:
        """Return those that are here: they watch, or did or reported a moment ago. Others may be at another router."""
        return [session for session in self if session.watches or session.seen_at >= now - _PRESENT_SECONDS]

    def watched(self) -> frozenset[str]:
        """Return the names of those that watch now."""
        return frozenset(session.name for session in self._sessions.values() if session.watches)

    def join(self, name: str, edge: str, declared: dict[str, Offer], now: float) -> EdgeSession:
        """Take in a session that begins to watch. Older sessions of the same edge that do not watch are over."""
        session = self.known(name, now)
        self.joined.add(name)
        session.edge = edge or session.edge
        session.declared = declared
        session.acknowledged = {}
        self.ended.discard(name)
        for other in list(self._sessions.values()):
            if edge and other.edge == edge and other is not session and not other.watches:
                self.end(other.name)
        return session

    def part(self, name: str, now: float) -> None:
        """Note that a stream of a session ended. When its edge watches in a newer life already, it is over."""
        session = self._sessions.get(name)
        if session is None:
            return
        session.watches -= 1
        session.seen_at = max(session.seen_at, now)
        lives_anew = any(other.edge == session.edge and other.watches for other in self._sessions.values())
        if session.watches <= 0 and session.edge and lives_anew:
            self.end(name)

    def want(self, session: EdgeSession, account: str, demand: Demand) -> None:
        """Note what a session would like of an account."""
        if session.demand.get(account) != demand:
            self.touched.add(account)
        session.demand[account] = demand

    def acknowledge(self, session: EdgeSession, account: str, version: int) -> None:
        """Note the share version that a session obeys."""
        if session.acknowledged.get(account) != version:
            self.touched.add(account)
        session.acknowledged[account] = version
        declared = session.declared.get(account)
        if declared is not None and version >= declared.version:
            del session.declared[account]

    def forget(self, accounts: Collection[str]) -> None:
        """Forget what all sessions have said of accounts that are gone."""
        for session in self:
            for account in accounts:
                session.declared.pop(account, None)
                session.acknowledged.pop(account, None)
                session.demand.pop(account, None)
                session.in_flight.pop(account, None)

    def known(self, name: str, now: float) -> EdgeSession:
        """Return the session, new if need be, seen now."""
        session = self._sessions.get(name)
        if session is None:
            if len(self._sessions) >= self._limit:
                del self._sessions[min(self._sessions.values(), key=lambda item: (item.watches > 0, item.seen_at)).name]
            session = self._sessions[name] = EdgeSession(name)
            self.changes += 1
        session.seen_at = max(session.seen_at, now)
        return session

    def end(self, name: str) -> None:
        """Note that a session is over for certain."""
        self.changes += 1
        self._sessions.pop(name, None)
        self.ended.add(name)

    def expire(self, now: float, silent_seconds: float) -> list[str]:
        """Forget sessions that neither watch nor have been heard of here for too long; returns them."""
        dead = []
        for session in self._sessions.values():
            if session.watches:
                session.seen_at = max(session.seen_at, now)
            elif session.seen_at < now - silent_seconds:
                dead.append(session.name)
        for name in dead:
            del self._sessions[name]
        self.changes += len(dead)
        return dead
