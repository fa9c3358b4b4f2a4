"""Penstock's edge in virtual time: the library's pool, retry rules, retry budget and waiting room, as the edge uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.routing.policies.our_router import BATCH_SECONDS, DEMAND_SECONDS, WIRE_SECONDS
from benchmarks.routing.sight import HOLD, Refuse, Send

from penstock_edge.outcomes import _Rate
from penstock_routing import Attempted, Hints, NoneLeft, Outcome, Pool, RetryBudget, Traits, may_retry, outcomes
from penstock_routing.accounts import AccountFacts
from penstock_routing.shares import Demand
from penstock_routing.waiting_room import WaitingRoom, Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from benchmarks.routing.policies.our_router import SimRouter, Timers
    from benchmarks.routing.sight import AccountSight, Asked, Decision, Headers, Seen

    from penstock_routing import Pick, Policy, Share
    from penstock_routing.candidates import Cooldown
    from penstock_routing.health import Key

_BYTES_PER_TOKEN = 4.0
_FIRST_OUTPUT = 1_024.0
_LEARN = 0.2
_PLACES = 512
_CALM = frozenset({outcomes.OK, outcomes.CLIENT_LEFT, outcomes.CLIENT_FAULT})


class Flight:
    """A request at this edge."""

    __slots__ = ("asked", "history", "pick", "traits", "tried")

    def __init__(self, asked: Asked, traits: Traits) -> None:
        self.asked = asked
        self.traits = traits
        self.tried: frozenset[str] = frozenset()
        self.history: list[Attempted] = []
        self.pick: Pick | None = None


class SimEdge:
    """One edge process."""

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
        self.name = name
        self.pool = Pool(policy)
        self.flights: dict[int, Flight] = {}
        self.decided: list[tuple[int, Decision]] = []
        self._policy = policy
        self._router = router
        self._timers = timers
        self._draw: Callable[[], float] = rng.random
        self._wait = wait_seconds
        self._budget = RetryBudget()
        self._room: WaitingRoom[Flight] = WaitingRoom(self.pool, self._draw, places=_PLACES, seconds=wait_seconds)
        self._turn_at = float("inf")
        self._outputs: dict[tuple[str, str], float] = {}
        self._rates: dict[str, _Rate] = {}
        self._queued: list[Outcome] = []
        self._flush_at = float("inf")
        self._now = 0.0
        self.pool.load([_facts(account) for account in accounts], 0.0)
        self.pool.listen(self._changed)
        self._limited = any(max(a.slots, a.requests_per_minute, a.tokens_per_minute) >= 0 for a in accounts)
        self._names = [account.name for account in accounts]
        timers.at(0.0, self._demand)

    # Requests

    def arrives(self, asked: Asked, now: float) -> Decision:
        """Take a new request."""
        self._now = now
        flight = self.flights[asked.number] = Flight(asked, self._traits(asked))
        self._budget.request(now)
        return self._choose(flight, now)

    def begun(self, number: int, headers: Headers | None, now: float) -> None:
        """Note that output begins."""
        self._now = now
        pick = self.flights[number].pick
        if pick is not None and headers is not None:
            self.pool.heard(pick, _hints(headers), now)
        if pick is not None and pick.watched and self.pool.begun(pick, now):
            self._report(self._outcome(self.flights[number], None, outcomes.BEGUN, now), True, now)

    def finished(self, number: int, seen: Seen, now: float) -> Decision | None:
        """Note an attempt's end, and go on after a failure as the edge's loop does."""
        self._now = now
        flight = self.flights[number]
        cls = self._ended(flight, seen, now)
        if seen.good:
            self._learn(flight, seen)
        if seen.good or seen.broken:
            del self.flights[number]
            return None
        flight.tried |= {seen.account}
        flight.history.append(Attempted(seen.account, cls, seen.status, repeatable=seen.repeatable))
        if not may_retry(flight.history, self._policy):
            return self._give_up(flight, now)
        return self._choose(flight, now)

    def _ended(self, flight: Flight, seen: Seen, now: float) -> str:
        """Give an attempt's place back; returns what class of end it was."""
        pick = flight.pick
        assert pick is not None
        cls = _class(seen)
        outcome = self._outcome(flight, seen, cls, now)
        urgent = self.pool.finished(pick, outcome, now)
        flight.pick = None
        self._report(outcome, urgent, now)
        return cls

    def dropped(self, number: int, now: float) -> None:
        """Note that an attempt was given up: it says nothing of its account."""
        self._now = now
        self._lost(self.flights.pop(number), outcomes.CLIENT_LEFT, now)

    def _lost(self, flight: Flight, cls: str, now: float) -> None:
        pick = flight.pick
        assert pick is not None
        outcome = self._outcome(flight, None, cls, now, first_byte=False)
        self._report(outcome, self.pool.finished(pick, outcome, now), now)

    def _choose(self, flight: Flight, now: float) -> Decision:
        """Pick an account or wait for one, as the edge's `_pick` does."""
        found = self._room.seek(Wish(flight.traits, flight.tried, flight), now)
        if found is None:
            self._arm(max(self._room.due(), now))
            return HOLD
        return self._none(flight, found, now) if isinstance(found, NoneLeft) else self._chosen(flight, found, now)

    def _chosen(self, flight: Flight, pick: Pick, now: float) -> Decision:
        if flight.history and not self._budget.try_retry(now):
            self.pool.unused(pick, now)
            return self._give_up(flight, now)
        flight.pick = pick
        return Send(pick.account)

    def _none(self, flight: Flight, none: NoneLeft, now: float) -> Refuse:
        if flight.history:
            return self._give_up(flight, now)
        del self.flights[flight.asked.number]
        return Refuse(429 if none.throttled else 529, none.soonest_seconds)

    def _give_up(self, flight: Flight, now: float) -> Refuse:
        del self.flights[flight.asked.number]
        cls = flight.history[-1].cls
        status = (
            429
            if cls in {outcomes.THROTTLED, outcomes.THROTTLED_NO_HINT}
            else 529
            if cls == outcomes.OVERLOADED
            else 502
        )
        return Refuse(status, self.pool.soonest(flight.traits, now))

    # Waiting

    def _changed(self) -> None:
        if len(self._room):
            self._arm(self._now)

    def _arm(self, due: float) -> None:
        if due < self._turn_at:
            self._turn_at = due
            self._timers.at(due, self._turn)

    def _turn(self, now: float) -> None:
        if now < self._turn_at:
            return
        self._turn_at = float("inf")
        self._now = now
        for flight, answer in self._room.turn(now):
            decision = (
                self._none(flight, answer, now) if isinstance(answer, NoneLeft) else self._chosen(flight, answer, now)
            )
            self.decided.append((flight.asked.number, decision))
        due = self._room.due()
        if due != float("inf"):
            self._arm(max(due, now))

    # What it knows of requests

    def _traits(self, asked: Asked) -> Traits:
        affinity = (
            f"{asked.project}/{asked.session or asked.prefix}".encode() if asked.session or asked.prefix else None
        )
        output = self._outputs.get((asked.project, asked.model), _FIRST_OUTPUT)
        return Traits(
            model=asked.model,
            affinity=affinity,
            project=asked.project,
            session=self.name,
            estimated_tokens=int(asked.prompt_bytes / _BYTES_PER_TOKEN + min(output, asked.max_tokens)),
            estimated_output=int(min(output, asked.max_tokens)),
        )

    def _learn(self, flight: Flight, seen: Seen) -> None:
        key = (flight.asked.project, flight.asked.model)
        known = self._outputs.get(key, float(seen.output_tokens))
        self._outputs[key] = known + _LEARN * (seen.output_tokens - known)

    def _outcome(self, flight: Flight, seen: Seen | None, cls: str, now: float, *, first_byte: bool = True) -> Outcome:
        pick = flight.pick
        assert pick is not None
        told = seen is not None and seen.input_tokens >= 0
        return Outcome(
            request_id=str(flight.asked.number),
            project=flight.traits.project,
            account=pick.account,
            model=flight.traits.model,
            cls=cls,
            status=200 if seen is None else seen.status,
            retry_after=None if seen is None else seen.retry_after,
            sent_at=pick.taken_at,
            ended_at=now,
            first_byte=first_byte if seen is None else seen.status != 0 or seen.began_at >= 0,
            tokens=seen.input_tokens + seen.output_tokens if seen is not None and told else -1,
            trial=pick.trial,
            hints=None if seen is None or seen.headers is None else _hints(seen.headers),
        )

    # The router

    def word(self, key: Key, cooldown: Cooldown | None, now: float) -> None:
        """Hear the router's word on one condition."""
        self._now = now
        self.pool.router_seen(now)
        if cooldown is None:
            self.pool.clear_cooldown(key.account, key.model, key.operation, now)
        else:
            self.pool.set_cooldown(cooldown, now)

    def share(self, account: str, version: int, share: Share, now: float) -> None:
        """Obey a share; the router hears of it with the next demand, at once."""
        self._now = now
        self.pool.set_share(account, version, share, now)
        if version:
            self._say_demand(now)

    def heard(self, now: float) -> None:
        """Hear a heartbeat."""
        self.pool.router_seen(now)

    def _report(self, outcome: Outcome, urgent: bool, now: float) -> None:
        if self._limited:
            self._rates.setdefault(outcome.account, _Rate()).add(outcome.ended_at, max(outcome.tokens, 0))
        self._queued.append(outcome)
        due = now if urgent or outcome.cls not in _CALM else now + BATCH_SECONDS
        if due < self._flush_at:
            self._flush_at = due
            self._timers.at(due, self._flush)

    def _flush(self, now: float) -> None:
        if now < self._flush_at:
            return
        self._flush_at = float("inf")
        batch, self._queued = self._queued, []
        self._timers.at(now + WIRE_SECONDS, self._router.report, batch)

    def _demand(self, now: float) -> None:
        self._say_demand(now)
        self._timers.at(now + DEMAND_SECONDS, self._demand)

    def _say_demand(self, now: float) -> None:
        versions = {name: version for name, (version, _) in self.pool.shares().items()}
        rows = {}
        for name in self._names:
            rate = self._rates.get(name)
            in_use = self.pool.in_flight(name)
            rows[name] = Demand(in_use, rate.requests(now) if rate else 0, rate.tokens(now) if rate else 0)
        self._timers.at(now + WIRE_SECONDS, self._router.demanded, self.name, rows, versions)


def _facts(account: AccountSight) -> AccountFacts:
    return AccountFacts(name=account.name, provider=account.provider, models=account.models)


def _class(seen: Seen) -> str:
    """Name what happened, as the edge's providers do."""
    if seen.good:
        return outcomes.OK
    if seen.status == 429:
        return outcomes.THROTTLED if seen.retry_after is not None else outcomes.THROTTLED_NO_HINT
    named = {
        401: outcomes.CREDENTIAL_INVALID,
        403: outcomes.FORBIDDEN,
        503: outcomes.OVERLOADED,
        529: outcomes.OVERLOADED,
    }
    return named.get(seen.status, outcomes.UNSTABLE)


def _hints(headers: Headers) -> Hints:
    limit, left, reset = headers.tokens()
    return Hints(
        requests_limit=headers.requests_limit,
        requests_remaining=headers.requests_left,
        requests_reset_ms=int(headers.requests_reset * 1000),
        tokens_limit=limit,
        tokens_remaining=left,
        tokens_reset_ms=int(reset * 1000),
        input_limit=headers.input_limit,
        input_remaining=headers.input_left,
        input_reset_ms=int(headers.input_reset * 1000),
        output_limit=headers.output_limit,
        output_remaining=headers.output_left,
        output_reset_ms=int(headers.output_reset * 1000),
    )
