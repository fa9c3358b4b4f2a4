"""An edge's picture of all accounts: picks one for each request, and takes it back when the attempt has ended.

The router explains with the same code. Nothing here does I/O, reads a clock or draws random numbers: `now` is the
caller's monotonic seconds, `rng` returns floats in [0, 1).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from penstock_routing import outcomes as o
from penstock_routing.candidates import Candidate, Cooldown, NoneLeft, Pick, Traits
from penstock_routing.choosing import BY_TIME, OVERLOADED, Chooser
from penstock_routing.explaining import explained, left_out
from penstock_routing.gates import Gates
from penstock_routing.lanes import Account
from penstock_routing.policy import Policy, Scope
from penstock_routing.serving import Serving
from penstock_routing.storms import Storms
from penstock_routing.warmth import Warmth, worth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from penstock_routing.accounts import AccountFacts, Hints, Share
    from penstock_routing.choosing import Home, Obstacle
    from penstock_routing.lanes import Lane, Tier
    from penstock_routing.outcomes import Outcome
    from penstock_routing.warmth import Warm

_SUCCESSES: Final = frozenset({o.OK, o.BEGUN})
_THROTTLED: Final = frozenset({o.THROTTLED, o.THROTTLED_NO_HINT})


class Pool:
    """All accounts with their health, shares and load, indexed by model. Not thread-safe: one event loop owns it.

    No method raises for unknown accounts or models: such a thing is ignored or answered by NoneLeft.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._accounts: dict[str, Account] = {}
        self._serving = Serving()
        self._storms = Storms()
        self._gates = Gates(self.policy, self._accounts, self._serving.lanes)
        self._chooser = Chooser(self.policy, self._gates)
        self._warmth = Warmth(self.policy)
        self._told: Callable[[], None] = _nobody
        self.changes = 0
        """How often something happened, other than time, that may change what a refused request would be told."""

    def listen(self, told: Callable[[], None]) -> None:
        """Call `told` whenever an account may have more room than before. It must not call back: act later."""
        self._told = told

    # What the router says.

    def load(self, accounts: Iterable[AccountFacts], now: float) -> None:
        """Replace the set of accounts. Load, health and buckets of those that stay are kept."""
        wanted = {facts.name: facts for facts in accounts}
        moved: set[str] = set()
        for name in [name for name in self._accounts if name not in wanted]:
            del self._accounts[name]
        for name, facts in wanted.items():
            known = self._accounts.get(name)
            if known is None:
                self._accounts[name] = Account(facts)
                continue
            if known.facts.credential_hash != facts.credential_hash:
                self._gates.credential_changed(name, now)
            if (known.facts.provider, known.facts.base_url) != (facts.provider, facts.base_url):
                moved.add(name)
            known.adopt(facts)
        self._serving.load(self._accounts.values(), moved)
        self._storms.keep(self._serving.models())
        self._gates.lanes = self._serving.lanes
        self._chooser.forget()
        self._gates.keep(now)
        self._changed()

    def account(self, name: str) -> AccountFacts | None:
        """Return an account's facts (with its credential); None when it is not (or no longer) in the catalog."""
        account = self._accounts.get(name)
        return account.facts if account is not None else None

    def providers(self, model: str) -> frozenset[str]:
        """Return the providers of the accounts that serve a model, whatever their health."""
        return self._serving.providers(model)

    def router_seen(self, now: float) -> None:
        """Note that the router spoke (any update or heartbeat). While it does, it alone decides about returns."""
        self._gates.router_at = now

    def set_cooldown(self, cooldown: Cooldown, now: float) -> None:
        """Take the router's word. It wins, but never shortens a cooldown that this edge set itself in the last 2 s."""
        self._gates.set(cooldown, now)
        self._changed()

    def clear_cooldown(self, account: str, model: str, operation: str, now: float) -> None:
        """Take the router's word that nothing is wrong there; the same exception as for `set_cooldown`."""
        self._gates.clear(account, model, operation, now)
        self._changed()

    def set_cooldowns(self, cooldowns: Iterable[Cooldown], now: float) -> None:
        """Take a full snapshot's cooldowns: whatever is not named is cleared."""
        named = {(item.account, item.model, item.operation): item for item in cooldowns}
        for key in self._gates.named():
            if key not in named:
                self._gates.clear(*key, now)
        for item in named.values():
            self._gates.set(item, now)
        self._changed()

    def set_share(self, account: str, version: int, share: Share, now: float) -> None:
        """Obey a share from now on. An older version than the one in force is ignored."""
        known = self._accounts.get(account)
        if known is not None and version >= known.share_version:
            known.obey(version, share, now)
            self._changed()

    def shares(self) -> dict[str, tuple[int, Share]]:
        """Return (version, share) by account: what a reconnecting edge declares, and the version for Demand."""
        return {
            name: (account.share_version, account.share)
            for name, account in self._accounts.items()
            if account.share_version >= 0
        }

    # A request's way.

    def pick(
        self, traits: Traits, tried: frozenset[str], now: float, rng: Callable[[], float], *, stay: float = 0.0
    ) -> Pick | NoneLeft:
        """Choose an account and take a slot and bucket units of it. A few microseconds; never waits.

        `stay`: so many seconds the caller would wait. A request whose prompt is cached by an account that is full for
        less than that, and less than it takes to read the prompt anew, is told so (`NoneLeft.home`) instead of going
        elsewhere.
        """
        chooser, affinity = self._chooser, traits.affinity
        warm = self._warmth.find(traits.model, affinity, now) if affinity is not None else None
        stands = math.inf
        for tier in self._serving.tiers(traits):
            if warm is None and not tried and self._gates:
                lane = chooser.trial(tier, traits, now, rng)
                if lane is not None:
                    return self._take(lane, traits, traits.estimated_tokens - traits.estimated_output, now)
            if affinity is not None:
                home = chooser.home(tier, traits, affinity, warm, tried, now)
                if home is not None:
                    if home.obstacle is None:
                        return self._take(home.lane, traits, home.fresh, now)
                    patience = self._patience(home, warm, traits)
                    if home.obstacle[1] <= min(patience, stay):
                        return _home_full(home, home.obstacle, patience)
                    stands = min(stands, 0.0 if home.obstacle == OVERLOADED else home.obstacle[1])
            if warm is not None and warm.lane.gate is not None:
                lane = self._despite(tier, traits, warm, tried, now)
                if lane is warm.lane:
                    return self._take_despite(lane, traits, warm, now)
            lane = chooser.choose(tier, traits, tried, now, rng)
            if lane is not None:
                return self._take(lane, traits, traits.estimated_tokens - traits.estimated_output, now)
        for tier in self._serving.tiers(traits):
            lane = self._despite(tier, traits, warm, tried, now)
            if lane is not None:
                return self._take_despite(lane, traits, warm, now)
        return self._none_left(traits, tried, now, stands)

    def _patience(self, home: Home, warm: Warm | None, traits: Traits) -> float:
        """Return for how many seconds waiting for a home costs less than reading the prompt anew elsewhere does."""
        prompt = traits.estimated_tokens - traits.estimated_output
        cached = min(warm.tokens, prompt) if warm is not None and home.warm else prompt - home.fresh
        return worth(self.policy, cached)

    def home(self, traits: Traits, now: float) -> tuple[str, float, int]:
        """Return the account that has a request's prompt, the seconds it is worth waiting for it, and what it lacks.

        Nobody, 0 and the whole prompt where no account has it.
        """
        if traits.affinity is not None:
            warm = self._warmth.find(traits.model, traits.affinity, now)
            if warm is not None and not warm.lane.account.closed:
                return warm.lane.account.name, warm.worth(self.policy, traits), warm.fresh(traits)
        return "", 0.0, traits.estimated_tokens - traits.estimated_output

    def heard(self, pick: Pick, hints: Hints, now: float) -> None:
        """Take what the head of an answer says of the upstream's limits, at the moment when it comes."""
        self._storms.heard(pick)
        pick.heard = hints
        pick.lane.heard(hints, now)
        self.changes += 1

    def begun(self, pick: Pick, now: float) -> bool:
        """Note that output of a watched pick has begun. True once: report an Outcome of class Begun at once."""
        if not pick.watched or pick.done or not pick.gates:
            return False
        pick.lane.fails = 0
        pick.lane.refresh()
        self._gates.succeeded(pick, now)
        self._gates.left(pick)
        self._changed()
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
        if outcome.hints is not None and pick.heard is None:
            self.heard(pick, outcome.hints, now)
        self._storms.ended(pick, outcome.cls)
        if outcome.cls in _SUCCESSES or (outcome.cls == o.CLIENT_LEFT and outcome.first_byte):
            if lane.fails:
                lane.fails = 0
                lane.refresh()
            if pick.gates:
                self._gates.succeeded(pick, now)
            self._gates.left(pick)
            if pick.affinity is not None:
                self._warmth.served(pick, used, now)
            return pick.watched
        self._gates.left(pick)
        if outcome.cls in _THROTTLED:
            self._undrained(pick, now)
            if _one_too_many(pick, outcome, now):
                lane.account.crowded(now)
                # To the router it is the throttle of a moment: whoever asks when a place is free is not refused.
                outcome.retry_after = 0.0
                return False
            self._refused(pick, outcome.retry_after or 0.0, now)
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
        self._storms.ended(pick, o.CLIENT_LEFT)
        self._give(pick, 1, pick.tokens, now)
        self._undrained(pick, now)
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
            known.load = float(in_flight)

    def explain(self, traits: Traits, now: float) -> list[Candidate]:
        """Return every account that serves the model, best first, dropped ones last, by the code that picks."""
        warm = self._warmth.find(traits.model, traits.affinity, now) if traits.affinity is not None else None
        storming = self._storms.open(traits.model)
        found = explained(self._chooser, self._serving.tiers(traits), traits, warm, now, storming=storming)
        found += [
            left_out(lane, "OtherProvider")
            for tier in self._serving.open(traits.model)
            for lane in tier.lanes
            if not lane.may_take(traits.providers)
        ]
        return found + [left_out(lane, lane.account.closed) for lane in self._serving.closed(traits.model)]

    def soonest(self, traits: Traits, now: float) -> float:
        """Return the seconds until the first candidate may be back; 0 when one is there now."""
        fresh = traits.estimated_tokens - traits.estimated_output
        waits = [self._chooser.obstacle(lane, traits, fresh, now) for lane in self._serving.lanes_for(traits)]
        return min((0.0 if wait is None else wait[1] for wait in waits), default=self.policy.unknown_recovery_seconds)

    # How it keeps books of that.

    def _take_despite(self, lane: Lane, traits: Traits, warm: Warm | None, now: float) -> Pick:
        at_home = warm is not None and lane is warm.lane
        fresh = (
            warm.fresh(traits) if warm is not None and at_home else traits.estimated_tokens - traits.estimated_output
        )
        self._storms.of(traits.model).began()
        return self._take(lane, traits, fresh, now, despite=True)

    def _despite(self, tier: Tier, traits: Traits, warm: Warm | None, tried: frozenset[str], now: float) -> Lane | None:
        if not self._gates or not self._storms.open(traits.model):
            return None
        able = self._chooser.storming(tier, traits, warm, tried, now)
        return able[0] if able else None

    def _take(self, lane: Lane, traits: Traits, fresh: int, now: float, *, despite: bool = False) -> Pick:
        """Take a place. One that is taken `despite` a cooldown is no trial, and shows nothing of its end."""
        self.changes += 1
        account = lane.account
        pick = Pick(lane, traits, fresh, now)
        pick.despite = despite
        pick.cost = 1.0 + (fresh + pick.output) / self.policy.load_unit_tokens
        account.in_flight += 1
        account.load += pick.cost
        lane.in_flight += 1
        if traits.operation != o.COUNT_TOKENS:
            account.slots_used += 1
            if account.limited:
                account.take(traits.estimated_tokens, now)
            if lane.gauges is not None:
                lane.gauges.take(1.0, pick.tokens, fresh, pick.output, now)
            lane.output_out += pick.output
        if not (despite or (account.gate is None and lane.gate is None and account.count_gate is None)):
            self._gates.entered(pick, now)
        return pick

    def _give(self, pick: Pick, requests: int, tokens: int, now: float) -> None:
        lane = pick.lane
        account = lane.account
        lane.in_flight -= 1
        account.in_flight -= 1
        # Sums of floats drift; an idle account has no load.
        account.load = account.load - pick.cost if account.in_flight else 0.0
        if pick.operation != o.COUNT_TOKENS:
            account.slots_used -= 1
            lane.output_out -= pick.output
        if pick.limited:
            account.give(requests, tokens, now)
        # Otherwise only its load has changed, and what its upstream says is left when its answer begins.
        if pick.limited or pick.heard is None or pick.gates or pick.despite:
            self.changes += 1
        self._told()

    def _changed(self) -> None:
        self.changes += 1
        self._told()

    def _undrained(self, pick: Pick, now: float) -> None:
        """Take back what a request was expected to drain: nothing of it has reached the upstream's count."""
        gauges = pick.lane.gauges
        if gauges is not None and pick.heard is None and pick.operation != o.COUNT_TOKENS:
            gauges.take(-1.0, pick.tokens, pick.fresh, pick.output, now)

    def _refused(self, pick: Pick, seconds: float, now: float) -> None:
        """Learn from a 429."""
        gauges = pick.lane.gauges
        if gauges is not None and pick.operation != o.COUNT_TOKENS:
            gauges.refused(pick.tokens, pick.fresh, pick.output, seconds, now)

    def _none_left(self, traits: Traits, tried: frozenset[str], now: float, stands: float) -> NoneLeft:
        reasons = {lane.account.name: lane.account.closed for lane in self._serving.closed(traits.model)}
        soonest, throttled, candidates = math.inf, True, 0
        fresh = traits.estimated_tokens - traits.estimated_output
        known = self._chooser.obstacles
        for lane in self._serving.lanes_for(traits):
            if lane.account.name in tried:
                reasons[lane.account.name] = "Tried"
                continue
            obstacle = known.get(lane) or self._chooser.obstacle(lane, traits, fresh, now)
            reason, seconds, throttle = obstacle or ("Busy", 0.1, False)
            reasons[lane.account.name] = reason
            soonest = min(soonest, seconds)
            throttled = throttled and throttle
            candidates += 1
        if soonest == math.inf:
            soonest = self.policy.unknown_recovery_seconds
        return NoneLeft(
            throttled=throttled and candidates > 0,
            soonest_seconds=max(soonest, 0.001),
            reasons=reasons,
            stands_seconds=min(stands, soonest) if BY_TIME.issuperset(reasons.values()) else 0.0,
        )


def _one_too_many(pick: Pick, outcome: Outcome, now: float) -> bool:
    """Tell whether a 429 was for the number of requests at once.

    It names no time, and by what its upstream tells of its limits there was room. Where no other is under way, that
    cannot be it; so an account that refuses everything without a word is soon taken for one.
    """
    if outcome.retry_after is not None or outcome.hints is None or not outcome.hints.any_left():
        return False
    if pick.watched or pick.despite or pick.operation == o.COUNT_TOKENS or pick.lane.account.slots_used <= 0:
        return False
    gauges = pick.lane.gauges
    return gauges is not None and not gauges.short(pick.tokens, pick.fresh, pick.output, now)


def _home_full(home: Home, obstacle: Obstacle, patience: float) -> NoneLeft:
    reason, seconds, throttled = obstacle
    name = home.lane.account.name
    return NoneLeft(
        throttled=throttled,
        soonest_seconds=max(seconds, 0.001),
        reasons={name: reason},
        home=name,
        worth_seconds=patience,
        stands_seconds=seconds if reason in BY_TIME else 0.0,
    )


def _nobody() -> None:
    """Nobody listens."""
