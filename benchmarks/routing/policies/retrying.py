"""What the other policies share: three attempts on different accounts, a wait when there is none, and cooldowns.

They differ in which account they prefer. To be fair to them they all get sensible retries, they see every request (as
one replica, or several with perfect shared memory), and they too may keep a request for as long as ours does before they
refuse it. Cooldowns are those of LiteLLM's router (1.109): a 429 cools an account for its Retry-After or 5 s, a 401 or
404 for 5 s, and so does a share of failures above one half among at least five requests of this minute. LiteLLM's
deployment is one model at one account: so is what cools here. When no account is left, retries
back off from 0.5 s doubling to 8 s with a jitter.
"""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from benchmarks.routing.sight import HOLD, Refuse, Send

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

    from benchmarks.routing.sight import AccountSight, Asked, Decision, Headers, Seen

ATTEMPTS = 3
COOLDOWN_SECONDS = 5.0
_FAILED_SHARE = 0.5
_LEAST_REQUESTS = 5
_FIRST_PAUSE, _LONGEST_PAUSE, _JITTER = 0.5, 8.0, 0.75


class Lane:
    """One model at one account, as far as it can be seen."""

    __slots__ = ("account", "cool_until", "failed", "in_flight", "latencies", "minute", "succeeded")

    def __init__(self, account: str) -> None:
        self.account = account
        self.in_flight = 0
        self.cool_until = -math.inf
        self.minute = -1
        self.failed = self.succeeded = 0
        self.latencies: list[float] = []


class Flight:
    """A request under way."""

    __slots__ = ("asked", "history", "lane", "pauses", "status", "tried")

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.tried: set[str] = set()
        self.lane: Lane | None = None
        self.history = 0
        self.pauses = 0
        self.status = 429


class Retrying(ABC):
    """Everything but the choice among accounts that are left."""

    name = ""
    cools = True

    def __init__(self, accounts: Sequence[AccountSight], rng: Random, wait_seconds: float) -> None:
        self.rng = rng
        self.wait_seconds = wait_seconds
        self.lanes: dict[str, list[Lane]] = {}
        for account in accounts:
            for model in account.models:
                self.lanes.setdefault(model, []).append(Lane(account.name))
        self._flights: dict[int, Flight] = {}
        self._held: list[tuple[float, int]] = []

    @abstractmethod
    def prefer(self, asked: Asked, lanes: Sequence[Lane]) -> Lane:
        """Choose one of these, of which there is at least one, for a request."""

    # The protocol

    def pick(self, asked: Asked, now: float) -> Decision:
        """Say where a new request goes."""
        flight = self._flights[asked.number] = Flight(asked)
        return self._next(flight, now)

    def begun(self, number: int, headers: Headers | None, now: float) -> None:
        """Take no notice."""
        del number, headers, now

    def finished(self, number: int, seen: Seen, now: float) -> Decision | None:
        """Count it; a failure that can be repeated goes on."""
        flight = self._flights[number]
        lane = flight.lane
        assert lane is not None
        lane.in_flight -= 1
        self._judge(lane, seen, now)
        if seen.good or seen.broken:
            del self._flights[number]
            return None
        flight.history += 1
        flight.status = seen.status if seen.status in {429, 529} else 502
        if flight.history >= ATTEMPTS or not seen.repeatable:
            return self._refuse(flight, now)
        return self._next(flight, now)

    def dropped(self, number: int, now: float) -> None:
        """Take no notice: these never hedge."""
        del number, now

    def tick(self, now: float) -> Iterable[tuple[int, Decision]]:
        """Try those again whose pause is over."""
        while self._held and self._held[0][0] <= now:
            _, number = heapq.heappop(self._held)
            flight = self._flights.get(number)
            if flight is not None:
                decision = self._next(flight, now)
                if decision is not HOLD:
                    yield number, decision

    def due(self) -> float:
        """Return when the next pause ends."""
        return self._held[0][0] if self._held else math.inf

    def probes(self) -> list[str]:
        """Probe nothing."""
        return []

    def probed(self, account: str, status: int, now: float) -> None:
        """Take no notice."""
        del account, status, now

    # How

    def _next(self, flight: Flight, now: float) -> Decision:
        asked = flight.asked
        lanes = [
            lane
            for lane in self.lanes.get(asked.model, ())
            if lane.account not in flight.tried and lane.cool_until <= now
        ]
        if not lanes:
            return self._pause(flight, now)
        lane = flight.lane = self.prefer(asked, lanes)
        flight.tried.add(lane.account)
        lane.in_flight += 1
        return Send(lane.account)

    def _pause(self, flight: Flight, now: float) -> Decision:
        deadline = flight.asked.arrived + self.wait_seconds if not flight.history else math.inf
        pause = min(_FIRST_PAUSE * 2.0**flight.pauses, _LONGEST_PAUSE) + _JITTER * self.rng.random()
        flight.pauses += 1
        if flight.history and flight.pauses > ATTEMPTS - flight.history:
            return self._refuse(flight, now)
        if now >= deadline:
            return self._refuse(flight, now)
        # After a pause an account that was tried may be tried again.
        flight.tried.clear()
        heapq.heappush(self._held, (min(now + pause, deadline), flight.asked.number))
        return HOLD

    def _refuse(self, flight: Flight, now: float) -> Refuse:
        del self._flights[flight.asked.number]
        soonest = min((lane.cool_until for lane in self.lanes.get(flight.asked.model, ())), default=now)
        return Refuse(flight.status, max(soonest - now, 0.0))

    def _judge(self, lane: Lane, seen: Seen, now: float) -> None:
        if int(now // 60) != lane.minute:
            lane.minute = int(now // 60)
            lane.failed = lane.succeeded = 0
        if seen.good:
            lane.succeeded += 1
            return
        lane.failed += 1
        if not self.cools:
            if seen.retry_after is not None:
                lane.cool_until = max(lane.cool_until, now + seen.retry_after)
            return
        total = lane.failed + lane.succeeded
        if seen.status in {401, 403, 404, 429} or (total >= _LEAST_REQUESTS and lane.failed / total > _FAILED_SHARE):
            pause = seen.retry_after if seen.retry_after is not None and seen.retry_after <= 60 else COOLDOWN_SECONDS
            lane.cool_until = max(lane.cool_until, now + pause)
