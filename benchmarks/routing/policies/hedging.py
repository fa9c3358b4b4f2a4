"""Penstock with hedging, which is not built: a stream without a first byte by the model's p99 is asked for once more.

The second attempt goes to another account that has room now, as far as a budget allows, and whichever begins first is
used. An attempt that lost says nothing of its account; with `blames`, one that was overtaken counts as a failure.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from benchmarks.routing.policies.our_edge import Flight, SimEdge
from benchmarks.routing.policies.ours import Ours
from benchmarks.routing.sight import Hedge, Send

from penstock_routing import Attempted, NoneLeft, RetryBudget, outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from benchmarks.routing.policies.our_router import SimRouter, Timers
    from benchmarks.routing.sight import AccountSight, Asked, Decision, Headers, Seen

    from penstock_routing import Pick, Policy

_SAMPLES = 2000
_FEWEST = 200
_SORTED_EVERY = 100


class FirstBytes:
    """How long a model's streams take to their first byte, as the last two thousand of them did."""

    __slots__ = ("_count", "_p99", "_seconds")

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_SAMPLES)
        self._count = 0
        self._p99 = float("inf")

    def add(self, seconds: float) -> None:
        """Count one."""
        self._seconds.append(seconds)
        self._count += 1
        if self._count >= _FEWEST and self._count % _SORTED_EVERY == 0:
            self._p99 = sorted(self._seconds)[int(0.99 * len(self._seconds))]

    def p99(self) -> float:
        """Return the 99th percentile; inf while too little is known."""
        return self._p99


class HedgingEdge(SimEdge):
    """One edge process that hedges."""

    part: ClassVar[float] = 0.05
    """Hedges by requests, at most, over ten seconds."""
    blames: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        accounts: Sequence[AccountSight],
        policy: Policy,
        router: SimRouter,
        timers: Timers,
        rng: Random,
        wait_seconds: float,
    ) -> None:
        super().__init__(name, accounts, policy, router, timers, rng, wait_seconds)
        self._hedges = RetryBudget(minimum=2, fraction=self.part)
        self._first_bytes: defaultdict[str, FirstBytes] = defaultdict(FirstBytes)
        self._silent: dict[int, Pick] = {}
        """Who has been sent, and shown nothing yet."""

    def arrives(self, asked: Asked, now: float) -> Decision:
        """Take a new request."""
        self._hedges.request(now)
        return super().arrives(asked, now)

    def _chosen(self, flight: Flight, pick: Pick, now: float) -> Decision:
        decision = super()._chosen(flight, pick, now)
        seconds = self._first_bytes[flight.asked.model].p99()
        if isinstance(decision, Send) and flight.asked.stream and flight.asked.number > 0 and seconds < float("inf"):
            self._silent[flight.asked.number] = pick
            self._timers.at(now + seconds, self._hedge, flight, pick)
        return decision

    def begun(self, number: int, headers: Headers | None, now: float) -> None:
        """Note that output begins."""
        self._silent.pop(number, None)
        flight = self.flights[number]
        if flight.pick is not None:
            self._first_bytes[flight.asked.model].add(now - flight.pick.taken_at)
        super().begun(number, headers, now)

    def finished(self, number: int, seen: Seen, now: float) -> Decision | None:
        """Note an attempt's end: while the request's other attempt is out, nothing follows."""
        self._silent.pop(number, None)
        rival = self.flights.get(-number)
        if rival is None:
            return super().finished(number, seen, now)
        self._now = now
        flight = self.flights.pop(number)
        cls = self._ended(flight, seen, now)
        rival.tried |= {seen.account}
        rival.history.append(Attempted(seen.account, cls, seen.status, repeatable=seen.repeatable))
        return None

    def dropped(self, number: int, now: float) -> None:
        """Note that an attempt was given up."""
        self._silent.pop(number, None)
        if self.blames and number > 0:
            self._now = now
            self._lost(self.flights.pop(number), outcomes.UNSTABLE, now)
        else:
            super().dropped(number, now)

    def _hedge(self, flight: Flight, pick: Pick, now: float) -> None:
        number = flight.asked.number
        if self._silent.pop(number, None) is not pick:
            return
        tried = flight.tried | {pick.account}
        found = self.pool.pick(flight.traits, tried, now, self._draw)
        if isinstance(found, NoneLeft):
            return
        if not self._hedges.try_retry(now):
            self.pool.unused(found, now)
            return
        second = Flight(replace(flight.asked, number=-number), flight.traits)
        second.tried, second.history, second.pick = tried, list(flight.history), found
        self.flights[-number] = second
        self.decided.append((number, Hedge(found.account)))


class BlamingEdge(HedgingEdge):
    """The same, and who was overtaken counts as failed."""

    blames = True


class Hedging(Ours):
    """Ours, with second attempts."""

    name = "penstock, hedging"
    edge = HedgingEdge


class BlamingHedging(Ours):
    """Ours, with second attempts and what they show of accounts."""

    name = "penstock, hedging that blames"
    edge = BlamingEdge
