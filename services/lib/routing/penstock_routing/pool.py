"""An edge's picture of all accounts: picks one for each request, and takes it back when the attempt has ended.

The router explains with the same code. Nothing here does I/O, reads a clock or draws random numbers: `now` is the
caller's monotonic seconds, `rng` returns floats in [0, 1).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from penstock_routing import condition as c
from penstock_routing import outcomes as o
from penstock_routing import rendezvous, selection
from penstock_routing.candidates import Candidate, Cooldown, NoneLeft, Pick, Traits
from penstock_routing.gates import Gates
from penstock_routing.lanes import Account, Lane, Tier
from penstock_routing.policy import Policy, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from penstock_routing.accounts import AccountFacts, Share
    from penstock_routing.outcomes import Outcome

_FEW: Final = 16
_DRAWS: Final = 8
_FAVOURITES: Final = 8
_REMEMBERED: Final = 4096
_SUCCESSES: Final = frozenset({o.OK, o.BEGUN})

Obstacle = tuple[str, float, bool]
"""Why an account is not taken, seconds until it may be, and whether that is for throttling."""


class Pool:
    """All accounts with their health, shares and load, indexed by model. Not thread-safe: one event loop owns it.

    No method raises for unknown accounts or models: such a thing is ignored or answered by NoneLeft.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._accounts: dict[str, Account] = {}
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._tiers: dict[str, tuple[Tier, ...]] = {}
        self._closed: dict[str, tuple[Lane, ...]] = {}
        self._restricted: dict[tuple[str, frozenset[str]], tuple[Tier, ...]] = {}
        """The same for requests that only some providers may take, made when first asked for."""
        self._gates = Gates(self.policy, self._accounts, self._lanes)
        self._favourites: OrderedDict[tuple[str, frozenset[str] | None, int, int], tuple[Lane, ...]] = OrderedDict()
        self._told: Callable[[], None] = _nobody

    def listen(self, told: Callable[[], None]) -> None:
        """Call `told` whenever an account may have more room than before. It must not call back: act later."""
        self._told = told

    # What the router says.

    def load(self, accounts: Iterable[AccountFacts], now: float) -> None:
        """Replace the set of accounts. Load, health and buckets of those that stay are kept."""
        wanted = {facts.name: facts for facts in accounts}
        for name in [name for name in self._accounts if name not in wanted]:
            del self._accounts[name]
        for name, facts in wanted.items():
            known = self._accounts.get(name)
            if known is None:
                self._accounts[name] = Account(facts)
                continue
            if known.facts.credential_hash != facts.credential_hash:
                self._gates.credential_changed(name, now)
            known.adopt(facts)
        self._index()
        self._gates.keep(now)
        self._told()

    def account(self, name: str) -> AccountFacts | None:
        """Return an account's facts (with its credential); None when it is not (or no longer) in the catalog."""
        account = self._accounts.get(name)
        return account.facts if account is not None else None

    def providers(self, model: str) -> frozenset[str]:
        """Return the providers of the accounts that serve a model, whatever their health."""
        lanes = (*self._closed.get(model, ()), *(lane for tier in self._tiers.get(model, ()) for lane in tier.lanes))
        return frozenset(lane.account.facts.provider for lane in lanes)

    def router_seen(self, now: float) -> None:
        """Note that the router spoke (any update or heartbeat). While it does, it alone decides about returns."""
        self._gates.router_at = now

    def set_cooldown(self, cooldown: Cooldown, now: float) -> None:
        """Take the router's word. It wins, but never shortens a cooldown that this edge set itself in the last 2 s."""
        self._gates.set(cooldown, now)
        self._told()

    def clear_cooldown(self, account: str, model: str, operation: str, now: float) -> None:
        """Take the router's word that nothing is wrong there; the same exception as for `set_cooldown`."""
        self._gates.clear(account, model, operation, now)
        self._told()

    def set_cooldowns(self, cooldowns: Iterable[Cooldown], now: float) -> None:
        """Take a full snapshot's cooldowns: whatever is not named is cleared."""
        named = {(item.account, item.model, item.operation): item for item in cooldowns}
        for key in self._gates.named():
            if key not in named:
                self._gates.clear(*key, now)
        for item in named.values():
            self._gates.set(item, now)
        self._told()

    def set_share(self, account: str, version: int, share: Share, now: float) -> None:
        """Obey a share from now on. An older version than the one in force is ignored."""
        known = self._accounts.get(account)
        if known is not None and version >= known.share_version:
            known.obey(version, share, now)
            self._told()

    def shares(self) -> dict[str, tuple[int, Share]]:
        """Return (version, share) by account: what a reconnecting edge declares, and the version for Demand."""
        return {
            name: (account.share_version, account.share)
            for name, account in self._accounts.items()
            if account.share_version >= 0
        }

    # A request's way.

    def pick(self, traits: Traits, tried: frozenset[str], now: float, rng: Callable[[], float]) -> Pick | NoneLeft:
        """Choose an account and take a slot and bucket units of it. A few microseconds; never waits."""
        for tier in self._tiers_for(traits):
            if len(tier.lanes) <= _FEW:
                lane = self._from_few(tier.lanes, traits, tried, now, rng)
            else:
                lane = self._from_many(tier, traits, tried, now, rng)
            if lane is not None:
                return self._take(lane, traits, now)
        return self._none_left(traits, tried, now)

    def begun(self, pick: Pick, now: float) -> bool:
        """Note that output of a watched pick has begun. True once: report an Outcome of class Begun at once."""
        if not pick.watched or pick.done or not pick.gates:
            return False
        pick.lane.fails = 0
        pick.lane.refresh()
        self._gates.succeeded(pick, now)
        self._gates.left(pick)
        self._told()
        return True

    def finished(self, pick: Pick, outcome: Outcome, now: float) -> bool:
        """Give the place back and apply the health rules here at once, provisionally.

        Returns True when the outcome changed health: report it to the router at once rather than in the next batch.
        """
        if pick.done:
            return False
        pick.done = True
        lane = pick.lane
        used = pick.tokens if outcome.tokens < 0 else outcome.tokens
        self._give(pick, 0, pick.tokens - used, now)
        if outcome.hints is not None:
            lane.hinted(outcome.hints, now)
        if outcome.cls in _SUCCESSES or (outcome.cls == o.CLIENT_LEFT and outcome.first_byte):
            if lane.fails:
                lane.fails = 0
                lane.refresh()
            if pick.gates:
                self._gates.succeeded(pick, now)
            self._gates.left(pick)
            return pick.watched
        self._gates.left(pick)
        if self.policy.effect(outcome.cls).scope is Scope.NONE:
            return pick.trial
        lane.fails += 1
        lane.failed_at = now
        lane.refresh()
        return self._gates.failed(outcome, now) or pick.watched or outcome.cls == o.UNSTABLE

    def unused(self, pick: Pick, now: float) -> None:
        """Give back a pick for which nothing was sent, its request and tokens included; says nothing of health."""
        if pick.done:
            return
        pick.done = True
        self._give(pick, 1, pick.tokens, now)
        self._gates.left(pick)

    def in_flight(self, account: str) -> int:
        """Return how many picks of this account are out (Demand.slots_in_use)."""
        known = self._accounts.get(account)
        return known.in_flight if known is not None else 0

    def assume_load(self, account: str, in_flight: int) -> None:
        """Say what is out on an account that others pick for: where one only explains."""
        known = self._accounts.get(account)
        if known is not None:
            known.in_flight = known.slots_used = in_flight

    def explain(self, traits: Traits, now: float) -> list[Candidate]:
        """Return every account that serves the model, best first, dropped ones last, by the code that picks."""
        ranked: list[Candidate] = []
        dropped: list[Candidate] = []
        for tier in self._tiers.get(traits.model, ()):
            open_lanes: list[tuple[Lane, float, str]] = []
            for lane in tier.lanes:
                if not lane.may_take(traits.providers):
                    dropped.append(_candidate(lane, "OtherProvider", 0.0, 0))
                    continue
                obstacle = self._obstacle(lane, traits, now)
                if obstacle is not None:
                    dropped.append(_candidate(lane, obstacle[0], 0.0, 0, obstacle[1]))
                else:
                    open_lanes.append((lane, *self._standing(lane, now)))
            for lane, score, reason in self._ordered(open_lanes, traits):
                ranked.append(_candidate(lane, reason, score, len(ranked) + 1))
        dropped += [_candidate(lane, lane.account.closed, 0.0, 0) for lane in self._closed.get(traits.model, ())]
        return ranked + dropped

    def soonest(self, traits: Traits, now: float) -> float:
        """Return the seconds until the first candidate may be back; 0 when one is there now."""
        waits = [self._obstacle(lane, traits, now) for lane in self._open(traits)]
        return min((0.0 if wait is None else wait[1] for wait in waits), default=self.policy.unknown_recovery_seconds)

    # How it decides.

    def _from_few(
        self, lanes: list[Lane], traits: Traits, tried: frozenset[str], now: float, rng: Callable[[], float]
    ) -> Lane | None:
        good: list[Lane] = []
        weights: list[float] = []
        last: list[Lane] = []
        for lane in lanes:
            account = lane.account
            if account.name in tried:
                continue
            if lane.plain and account.plain:
                good.append(lane)
                weights.append(lane.weight)
                continue
            if self._obstacle(lane, traits, now) is not None:
                continue
            weight, reason = self._standing(lane, now)
            if not reason:
                good.append(lane)
                weights.append(weight)
            elif reason == "HalfOpen" and not tried:
                return lane
            else:
                last.append(lane)
        if last and (not good or (not tried and rng() * self.policy.demoted_one_in < 1.0)):
            good, weights = last, [lane.weight for lane in last]
        return self._choose(good, weights, traits, rng) if good else None

    def _choose(self, lanes: list[Lane], weights: list[float], traits: Traits, rng: Callable[[], float]) -> Lane:
        if len(lanes) == 1:
            return lanes[0]
        loads = [lane.account.in_flight for lane in lanes]
        if traits.affinity is None:
            return lanes[selection.two(weights, loads, rng)]
        policy = self.policy
        salts = [lane.account.salt for lane in lanes]
        digest = rendezvous.digest(traits.affinity)
        return lanes[selection.affine(digest, salts, weights, loads, policy.bounded_load, policy.bounded_load_floor)]

    def _from_many(
        self, tier: Tier, traits: Traits, tried: frozenset[str], now: float, rng: Callable[[], float]
    ) -> Lane | None:
        """Look at a handful of a large tier; only when none of these will do, at all of it."""
        draws = self._drawn(tier, rng) if traits.affinity is None else self._favoured(tier, traits.affinity, traits)
        best: Lane | None = None
        for lane in draws:
            if lane.account.name in tried or self._obstacle(lane, traits, now) is not None:
                continue
            weight, reason = self._standing(lane, now)
            if reason:
                continue
            if traits.affinity is not None:
                if lane.in_flight < self.policy.bounded_load_floor:
                    return lane
                continue
            if best is not None:
                return lane if lane.account.in_flight * best.weight < best.account.in_flight * weight else best
            best = lane
        if best is not None:
            return best
        return self._from_few(tier.lanes, traits, tried, now, rng)

    def _drawn(self, tier: Tier, rng: Callable[[], float]) -> Iterator[Lane]:
        for _ in range(_DRAWS):
            index = bisect_right(tier.cumulative, rng() * tier.weight)
            yield tier.lanes[min(index, len(tier.lanes) - 1)]

    def _favoured(self, tier: Tier, affinity: bytes, traits: Traits) -> tuple[Lane, ...]:
        digest = rendezvous.digest(affinity)
        key = (traits.model, traits.providers, tier.number, digest)
        found = self._favourites.get(key)
        if found is None:
            found = tuple(
                sorted(tier.lanes, key=lambda lane: -rendezvous.score(digest, lane.account.salt, lane.weight))[
                    :_FAVOURITES
                ]
            )
            self._favourites[key] = found
            if len(self._favourites) > _REMEMBERED:
                self._favourites.popitem(last=False)
        return found

    def _obstacle(self, lane: Lane, traits: Traits, now: float) -> Obstacle | None:
        account = lane.account
        counting = traits.operation == o.COUNT_TOKENS
        if account.gate is not None:
            obstacle = self._gates.obstacle(account.gate, traits.session, counting, now)
            if obstacle is not None:
                return obstacle
        if lane.gate is not None:
            obstacle = self._gates.obstacle(lane.gate, traits.session, counting, now)
            if obstacle is not None:
                return obstacle
        if counting:
            gate = account.count_gate
            return self._gates.obstacle(gate, traits.session, False, now) if gate is not None else None
        return account.obstacle(traits.estimated_tokens, now) if account.limited else None

    def _standing(self, lane: Lane, now: float) -> tuple[float, str]:
        """Return the weight now, and why it is no ordinary candidate (empty when it is one)."""
        weight = lane.weight
        for gate in (lane.gate, lane.account.gate):
            if gate is not None and gate.condition.step < c.HEALTHY:
                if gate.condition.step < 0:
                    return weight, "HalfOpen"
                weight *= gate.condition.ramp_percent(self.policy) / 100.0
        if lane.demoted(self.policy, now):
            return weight, "FailedLately"
        factor = lane.scarcity(self.policy.scarce_fraction, now)
        if factor <= 0.0:
            return weight, "UpstreamSpent"
        return weight * factor, ""

    def _ordered(self, lanes: list[tuple[Lane, float, str]], traits: Traits) -> Iterator[tuple[Lane, float, str]]:
        """Order one tier as `_from_few` prefers it: a trial, then ordinary ones by score, then the rest."""
        loads = [lane.account.in_flight for lane, _, _ in lanes]
        weights = [weight for _, weight, _ in lanes]
        if traits.affinity is None:
            scores = selection.share_of(weights, loads)
            order = sorted(range(len(lanes)), key=lambda index: -scores[index])
        else:
            digest = rendezvous.digest(traits.affinity)
            salts = [lane.account.salt for lane, _, _ in lanes]
            scores = [rendezvous.score(digest, s, w) for s, w in zip(salts, weights, strict=True)]
            policy = self.policy
            order = rendezvous.order(digest, salts, weights, loads, policy.bounded_load, policy.bounded_load_floor)
        order.sort(key=lambda index: {"HalfOpen": 0, "": 1}.get(lanes[index][2], 2))
        for index in order:
            yield lanes[index][0], scores[index], lanes[index][2]

    def _take(self, lane: Lane, traits: Traits, now: float) -> Pick:
        account = lane.account
        account.in_flight += 1
        lane.in_flight += 1
        if traits.operation != o.COUNT_TOKENS:
            account.slots_used += 1
            if account.limited:
                account.take(traits.estimated_tokens, now)
        if lane.hint_until > now:
            lane.took(traits.estimated_tokens)
        pick = Pick(account.name, lane.model, traits.operation, traits.estimated_tokens, now, lane)
        if not (account.gate is None and lane.gate is None and account.count_gate is None):
            self._gates.entered(pick, now)
        return pick

    def _give(self, pick: Pick, requests: int, tokens: int, now: float) -> None:
        lane = pick.lane
        lane.in_flight -= 1
        lane.account.in_flight -= 1
        if pick.operation != o.COUNT_TOKENS:
            lane.account.slots_used -= 1
        if pick.limited:
            lane.account.give(requests, tokens, now)
        self._told()

    def _none_left(self, traits: Traits, tried: frozenset[str], now: float) -> NoneLeft:
        reasons: dict[str, str] = {
            lane.account.name: lane.account.closed for lane in self._closed.get(traits.model, ())
        }
        soonest, throttled, candidates = math.inf, True, 0
        for lane in self._open(traits):
            if lane.account.name in tried:
                reasons[lane.account.name] = "Tried"
                continue
            reason, seconds, throttle = self._obstacle(lane, traits, now) or ("Busy", 0.1, False)
            reasons[lane.account.name] = reason
            soonest = min(soonest, seconds)
            throttled = throttled and throttle
            candidates += 1
        if soonest == math.inf:
            soonest = self.policy.unknown_recovery_seconds
        return NoneLeft(throttled=throttled and candidates > 0, soonest_seconds=max(soonest, 0.001), reasons=reasons)

    def _open(self, traits: Traits) -> Iterator[Lane]:
        return (lane for tier in self._tiers_for(traits) for lane in tier.lanes)

    def _tiers_for(self, traits: Traits) -> tuple[Tier, ...]:
        """Return the tiers that serve the model, without the accounts of providers that may not."""
        if traits.providers is None:
            return self._tiers.get(traits.model, ())
        key = (traits.model, traits.providers)
        found = self._restricted.get(key)
        if found is None:
            tiers = self._tiers.get(traits.model, ())
            kept = ((t.number, [lane for lane in t.lanes if lane.may_take(traits.providers)]) for t in tiers)
            found = self._restricted[key] = tuple(Tier(number, lanes) for number, lanes in kept if lanes)
        return found

    def _index(self) -> None:
        """Build the index by model anew; lanes that stay keep their state."""
        old, self._lanes = self._lanes, {}
        by_model: dict[str, dict[int, list[Lane]]] = {}
        closed: dict[str, list[Lane]] = {}
        for account in self._accounts.values():
            for model in account.facts.models:
                lane = old.get((account.name, model))
                if lane is None or lane.account is not account:
                    lane = Lane(account, model)
                lane.weight = float(account.facts.weight)
                self._lanes[account.name, model] = lane
                if account.closed:
                    closed.setdefault(model, []).append(lane)
                else:
                    by_model.setdefault(model, {}).setdefault(account.facts.tier, []).append(lane)
        self._tiers = {
            model: tuple(Tier(number, tiers[number]) for number in sorted(tiers)) for model, tiers in by_model.items()
        }
        self._closed = {model: tuple(lanes) for model, lanes in closed.items()}
        self._gates.lanes = self._lanes
        self._favourites.clear()
        self._restricted.clear()


def _nobody() -> None:
    """Nobody listens."""


def _candidate(lane: Lane, reason: str, score: float, rank: int, seconds: float = 0.0) -> Candidate:
    facts = lane.account.facts
    return Candidate(
        account=facts.name,
        eligible=rank > 0,
        reason=reason or "Eligible",
        score=score,
        tier=facts.tier,
        rank=rank,
        seconds=seconds,
    )
