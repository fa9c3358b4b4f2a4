"""Penstock's router in virtual time: the library's health rules and the router's own lending, with the real delays.

What the process adds to them (gRPC, an event loop, Redis) is replaced by delays: outcomes arrive in batches at most
250 ms old, failures at once; the router turns four times a second; each way takes two milliseconds.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any

from penstock_router import messages
from penstock_router.lending import Lending
from penstock_router.sessions import Sessions
from penstock_router.store_memory import MemoryStore
from penstock_routing.health import Health
from penstock_routing.shares import NOTHING, Demand, Limits, Offer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from benchmarks.routing.sight import AccountSight

    from penstock_router.messages import Word
    from penstock_routing import Outcome, Policy
    from penstock_routing.health import Key

TURN_SECONDS = 0.25
BATCH_SECONDS = 0.25
WIRE_SECONDS = 0.002
DEMAND_SECONDS = 1.0
_IDLE_TRIAL_SECONDS = 5.0
_SILENT_SECONDS = 30.0


class Timers:
    """Things to do later, inside of a policy."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, what: Callable[..., None], *args: Any) -> None:
        """Call `what(*args, now)` at `when`."""
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, what, args))

    def due(self) -> float:
        """Return when there is something to do."""
        return self._heap[0][0] if self._heap else math.inf

    def run(self, now: float) -> None:
        """Do what is due."""
        while self._heap and self._heap[0][0] <= now:
            _, _, what, args = heapq.heappop(self._heap)
            what(*args, now)


class Desired:
    """The catalogue, as far as lending looks at it."""

    def __init__(self, accounts: Sequence[AccountSight]) -> None:
        self.limits = {
            account.name: Limits(
                slots=account.slots,
                requests_per_minute=account.requests_per_minute,
                tokens_per_minute=account.tokens_per_minute,
            )
            for account in accounts
        }

    def limited(self, account: str) -> bool:
        """Tell whether it has any limit."""
        limits = self.limits[account]
        return max(limits.slots, limits.requests_per_minute, limits.tokens_per_minute) >= 0


class SimRouter:
    """One router. `edges` are told what changes; `probe` asks an account for its models."""

    def __init__(self, accounts: Sequence[AccountSight], policy: Policy, timers: Timers, names: Sequence[str]) -> None:
        self.policy = policy
        self.health = Health(policy)
        self.words: dict[Key, Word] = {}
        self.to_probe: list[str] = []
        self._probing: set[str] = set()
        self._timers = timers
        self._now = 0.0
        self._names = list(names)
        self._demand: dict[str, dict[str, Demand]] = {name: {} for name in names}
        self._offered_at = dict.fromkeys(names, -math.inf)
        self._told: list[Any] = []
        self._sent: dict[tuple[str, str], int] = {}
        self._desired = Desired(accounts)
        self._limited = [name for name in self._desired.limits if self._desired.limited(name)]
        self._sessions = Sessions()
        self._lending = Lending(MemoryStore(lambda: self._now), silent_seconds=_SILENT_SECONDS)
        for name in names:
            session = self._sessions.join(name, name, {}, 0.0)
            session.watches = 1

    def watched_by(self, edges: Sequence[Any]) -> None:
        """Begin to tell these edges."""
        self._told = list(edges)
        for edge in edges:
            for account in self._limited:
                edge.share(account, 0, NOTHING, 0.0)
        self._timers.at(0.0, self._turn)

    # What comes in

    def report(self, outcomes: list[Outcome], now: float) -> None:
        """Take in a batch of outcomes."""
        for outcome in outcomes:
            self.health.observe(outcome, now)
        self._publish(now)

    def demanded(self, edge: str, demand: dict[str, Demand], versions: dict[str, int], now: float) -> None:
        """Take in what an edge uses and wants, and which shares it obeys."""
        self._demand[edge] = demand
        session = self._sessions.known(edge, now)
        session.demand = dict(demand)
        for account, version in versions.items():
            self._sessions.acknowledge(session, account, version)

    def probed(self, account: str, status: int, now: float) -> None:
        """Take a probe's answer."""
        self._probing.discard(account)
        self.health.probed(account, status=status, now=now)
        self._publish(now)

    # What it does by itself

    def _turn(self, now: float) -> None:
        self._now = now
        if self._limited:
            _finish(self._lending.sync(self._desired, self._sessions, now))  # type: ignore[arg-type] # the part of it that lending reads
            self._lend(now)
        self._offer_trials(now)
        self._publish(now)
        for account in sorted(self.health.due_probes(now)):
            if account not in self._probing:
                self._probing.add(account)
                self.to_probe.append(account)
        for edge in self._told:
            edge.heard(now)
        self._timers.at(min(now + TURN_SECONDS, max(self.health.soonest(now), now + 0.01)), self._turn)

    def _lend(self, now: float) -> None:
        for edge in self._told:
            for account, offer in self._lending.offers(edge.name).items():
                if self._sent.get((edge.name, account)) != offer.version:
                    self._sent[edge.name, account] = offer.version
                    self._timers.at(now + WIRE_SECONDS, self._deliver, edge, account, offer)

    def _deliver(self, edge: Any, account: str, offer: Offer, now: float) -> None:
        edge.share(account, offer.version, offer.share, now)

    def _offer_trials(self, now: float) -> None:
        for key in sorted(self.health.waiting(now)):
            busy = {
                name: any(d.requests_per_minute or d.slots for d in self._demand[name].values()) for name in self._names
            }
            chosen = min(self._names, key=lambda name: (not busy[name], self._offered_at[name], name))
            seconds = self.policy.trial_seconds if busy[chosen] else _IDLE_TRIAL_SECONDS
            if self.health.offer_trial(key, chosen, now + seconds, now):
                self._offered_at[chosen] = now

    def _publish(self, now: float) -> None:
        """Tell every edge of each condition that is not as they were told."""
        words: dict[Key, Word] = {}
        for key, condition in self.health.conditions.items():
            said = messages.word(condition, self.policy, now)
            if said is not None:
                words[key] = said
        changed = [key for key in {**self.words, **words} if self.words.get(key) != words.get(key)]
        self.words = words
        for key in changed:
            self._timers.at(now + WIRE_SECONDS, self._tell, key)

    def _tell(self, key: Key, now: float) -> None:
        said = self.words.get(key)
        for edge in self._told:
            edge.word(key, None if said is None else messages.cooldown(key, said, now), now)


def _finish(work: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise RuntimeError("a store in memory waits for nothing")
