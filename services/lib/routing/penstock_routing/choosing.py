"""Which lane of a tier takes a request: what stands in the way of each, how each stands, and which one it is then."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from penstock_routing import condition as c
from penstock_routing import outcomes as o
from penstock_routing import rendezvous, selection
from penstock_routing.lanes import UPSTREAM_FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from penstock_routing.candidates import Traits
    from penstock_routing.gates import Gates
    from penstock_routing.lanes import Gate, Lane, Tier
    from penstock_routing.policy import Policy
    from penstock_routing.warmth import Warm

_FEW: Final = 16
_DRAWS: Final = 8
_FAVOURITES: Final = 8
_REMEMBERED: Final = 4096

Obstacle = tuple[str, float, bool]
"""Why an account is not taken, seconds until it may be, and whether that is for throttling."""
UPSTREAM_SPENT: Final = "UpstreamSpent"
FULL: Final = frozenset({"SlotsFull", "RequestsSpent", "TokensSpent", UPSTREAM_SPENT, UPSTREAM_FULL})
"""Obstacles of accounts with which nothing is wrong: they are to have room again."""
BY_TIME: Final = frozenset({"RequestsSpent", "TokensSpent", UPSTREAM_SPENT, "Tried"})
"""Obstacles that end when it was said, or by something that the pool counts (`Pool.changes`)."""
WARM: Final = "Warm"
"""Why a candidate is first that has served the conversation lately."""
STORM: Final = "Storm"
"""Why a candidate is asked although it cools."""
HALF_OPEN: Final = "HalfOpen"
Standing = tuple["Lane", float, str]
"""A lane that may take a request, its weight or score, and what is special about it (empty: nothing)."""
OVERLOADED: Final[Obstacle] = ("Overloaded", math.inf, False)
"""A home with more than its part of the load: it is not to be waited for."""


_STORM_LEAST: Final = 4
"""Of fewer accounts nobody can tell whether they or their provider are overloaded."""


class Home:
    """Where a conversation's prompt is cached: what it has to read anew there, and why it cannot now, if so."""

    __slots__ = ("fresh", "lane", "obstacle", "warm")

    def __init__(self, lane: Lane, fresh: int, obstacle: Obstacle | None) -> None:
        self.lane = lane
        self.fresh = fresh
        self.obstacle = obstacle
        self.warm = False
        """This edge has seen it serve the conversation lately."""


class Chooser:
    """Chooses by a policy; remembers nothing of requests but the favourites of their affinities."""

    def __init__(self, policy: Policy, gates: Gates) -> None:
        self._policy = policy
        self._gates = gates
        self.obstacles: dict[Lane, Obstacle] = {}
        """What stood in the way in the tier that was last looked at as a whole."""
        self._favourites: OrderedDict[tuple[str, frozenset[str] | None, int, int], tuple[Lane, ...]] = OrderedDict()

    def forget(self) -> None:
        """Forget favourites: the tiers are others now."""
        self._favourites.clear()

    def choose(
        self, tier: Tier, traits: Traits, tried: frozenset[str], now: float, rng: Callable[[], float]
    ) -> Lane | None:
        """Return the lane of a tier that takes a request without a home there; None when none may."""
        if len(tier.lanes) <= _FEW:
            return self._from_few(tier.lanes, traits, tried, now, rng)
        return self._from_many(tier, traits, tried, now, rng)

    def home(
        self, tier: Tier, traits: Traits, affinity: bytes, warm: Warm | None, tried: frozenset[str], now: float
    ) -> Home | None:
        """Return the home of a conversation in a tier: where its prompt is cached as far as anybody can know.

        That is who served it last, and where this edge has not seen it lately, who every other edge would lead it to:
        the first by rendezvous with which nothing is wrong. None: there is nobody, or only on trial.
        """
        if warm is not None and warm.lane.account.facts.tier == tier.number:
            fresh = warm.fresh(traits)
            home = self._as_home(warm.lane, tier, traits, fresh, self._policy.warm_load, tried, now)
            if home is not None:
                home.warm = True
                return home
        prompt = traits.estimated_tokens - traits.estimated_output
        # Nobody knows whether it is warm there; if it is not, then nowhere, and it has to be read anew once.
        fresh = int(prompt * self._policy.expected_fresh)
        for lane in self._favoured(tier, affinity, traits):
            home = self._as_home(lane, tier, traits, fresh, self._policy.bounded_load, tried, now)
            if home is not None:
                return home
        return None

    def _as_home(
        self, lane: Lane, tier: Tier, traits: Traits, fresh: int, factor: float, tried: frozenset[str], now: float
    ) -> Home | None:
        """Return a lane as a home, open or full; None when something is wrong with it."""
        account = lane.account
        if account.name in tried or account.closed or not lane.may_take(traits.providers):
            return None
        if not (lane.plain and account.plain and lane.gauges is None):
            obstacle = self.obstacle(lane, traits, fresh, now, at_home=True)
            if obstacle is not None:
                return Home(lane, fresh, obstacle) if obstacle[0] in FULL else None
            reason = self.standing(lane, now, scarcity=False)[1]
            if reason and (tried or reason != HALF_OPEN):
                return None
        floor = self._policy.bounded_load_floor
        if account.in_flight >= floor and tier.overloaded(lane, factor, floor, now):
            return Home(lane, fresh, OVERLOADED)
        return Home(lane, fresh, None)

    def trial(self, tier: Tier, traits: Traits, now: float, rng: Callable[[], float]) -> Lane | None:
        """Return a lane that waits for one request to succeed, if that may be this one.

        Otherwise an account to which nobody's rendezvous or warmth leads would never return. Of a large tier a few are
        looked at: it has many requests.
        """
        if traits.operation == o.COUNT_TOKENS:
            return None
        fresh = traits.estimated_tokens - traits.estimated_output
        for lane in tier.lanes if len(tier.lanes) <= _FEW else self._drawn(tier, rng):
            if lane.gate is None and lane.account.gate is None:
                continue
            if self.standing(lane, now, scarcity=False)[1] != HALF_OPEN:
                continue
            if self.obstacle(lane, traits, fresh, now) is None:
                return lane
        return None

    def storming(self, tier: Tier, traits: Traits, warm: Warm | None, tried: frozenset[str], now: float) -> list[Lane]:
        """Return who may take a request although they cool: the conversation's home, then the least loaded.

        Where most accounts of a tier cool for being overloaded, their provider is, not they: each answers some of what
        it is asked, and to stay away from all of them would refuse that as well.
        """
        cooling = [lane for lane in tier.lanes if lane.gate is not None and _overloaded(lane.gate, now)]
        if len(tier.lanes) < _STORM_LEAST or 2 * len(cooling) <= len(tier.lanes) or traits.operation == o.COUNT_TOKENS:
            return []
        prompt = traits.estimated_tokens - traits.estimated_output
        able: list[tuple[bool, float, int]] = []
        for index, lane in enumerate(cooling):
            account, strange = lane.account, warm is None or lane is not warm.lane
            if account.gate is not None or account.name in tried:
                continue
            if account.limited and account.obstacle(traits.estimated_tokens, now) is not None:
                continue
            fresh = prompt if warm is None or strange else warm.fresh(traits)
            if lane.gauges is None or lane.gauges.wait(traits, fresh, now, at_home=not strange) <= 0.0:
                able.append((strange, account.load, index))
        return [cooling[index] for _, _, index in sorted(able)]

    def obstacle(self, lane: Lane, traits: Traits, fresh: int, now: float, *, at_home: bool = False) -> Obstacle | None:
        """Return what stands in a request's way; `fresh`: the input that this account has to read anew."""
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
        if account.limited:
            obstacle = account.obstacle(traits.estimated_tokens, now)
            if obstacle is not None:
                return obstacle
        if lane.gauges is not None:
            wait = lane.gauges.wait(traits, fresh, now, at_home=at_home)
            if wait > 0.0:
                return (UPSTREAM_SPENT, wait, True)
        return None

    def standing(self, lane: Lane, now: float, *, scarcity: bool) -> tuple[float, str]:
        """Return the weight now, and why it is no ordinary candidate (empty when it is one)."""
        weight = lane.weight
        for gate in (lane.gate, lane.account.gate):
            if gate is not None and gate.condition.step < c.HEALTHY:
                if gate.condition.step < 0:
                    return weight, HALF_OPEN
                weight *= gate.condition.ramp_percent(self._policy) / 100.0
        if lane.demoted(self._policy, now):
            return weight, "FailedLately"
        if scarcity and lane.gauges is not None:
            weight *= lane.gauges.scarcity(self._policy.scarce_fraction, now)
        return weight, ""

    def ordered(
        self, tier: Tier, lanes: list[Standing], traits: Traits, home: Home | None, *, cold: bool
    ) -> Iterator[Standing]:
        """Order lanes of one tier as it is chosen from: the home, a trial, ordinary ones by score, then the rest.

        `cold`: no home has the request's prompt, so that a trial comes first. In a large tier it seldom meets one.
        """
        first = home.lane if home is not None and home.obstacle is None else None
        loads = [lane.account.load for lane, _, _ in lanes]
        weights = [weight for _, weight, _ in lanes]
        if traits.affinity is None:
            scores = selection.share_of(weights, loads)
            order = sorted(range(len(lanes)), key=lambda index: -scores[index])
        else:
            digest = rendezvous.digest(traits.affinity)
            salts = [lane.account.salt for lane, _, _ in lanes]
            scores = [rendezvous.score(digest, s, w) for s, w in zip(salts, weights, strict=True)]
            policy = self._policy
            order = rendezvous.order(digest, salts, weights, loads, policy.bounded_load, policy.bounded_load_floor)
        trial = (0 if cold else 2) if len(tier.lanes) <= _FEW else 4

        def place(index: int) -> tuple[int, int]:
            lane, _, reason = lanes[index]
            if reason == HALF_OPEN and trial < (1 if lane is first else 4):
                return trial, index
            return (1 if lane is first else {"": 3}.get(reason, 4)), 0

        for index in sorted(order, key=place):
            lane, _, reason = lanes[index]
            warm = home is not None and lane is first and home.warm and not reason
            yield lane, scores[index], WARM if warm else reason

    def _from_few(
        self, lanes: list[Lane], traits: Traits, tried: frozenset[str], now: float, rng: Callable[[], float]
    ) -> Lane | None:
        good: list[Lane] = []
        weights: list[float] = []
        last: list[Lane] = []
        loose = traits.affinity is None
        obstacles = self.obstacles
        obstacles.clear()
        for lane in lanes:
            account = lane.account
            if account.name in tried:
                continue
            gauges = lane.gauges
            if gauges is None and lane.plain and account.plain:
                good.append(lane)
                weights.append(lane.weight)
                continue
            fresh = traits.estimated_tokens - traits.estimated_output
            if gauges is not None and lane.plain and account.plain and traits.operation != o.COUNT_TOKENS:
                wait = gauges.wait(traits, fresh, now)
                if wait > 0.0:
                    obstacles[lane] = (UPSTREAM_SPENT, wait, True)
                    continue
                good.append(lane)
                scarcity = gauges.scarcity(self._policy.scarce_fraction, now) if loose else 1.0
                weights.append(lane.weight * scarcity)
                continue
            obstacle = self.obstacle(lane, traits, fresh, now)
            if obstacle is not None:
                obstacles[lane] = obstacle
                continue
            weight, reason = self.standing(lane, now, scarcity=loose)
            if not reason:
                good.append(lane)
                weights.append(weight)
            elif reason == HALF_OPEN and not tried:
                return lane
            else:
                last.append(lane)
        if last and (not good or (not tried and rng() * self._policy.demoted_one_in < 1.0)):
            good, weights = last, [lane.weight for lane in last]
        return self._among(good, weights, traits, rng) if good else None

    def _among(self, lanes: list[Lane], weights: list[float], traits: Traits, rng: Callable[[], float]) -> Lane:
        if len(lanes) == 1:
            return lanes[0]
        loads = [lane.account.load for lane in lanes]
        if traits.affinity is None:
            return lanes[selection.two(weights, loads, rng)]
        policy = self._policy
        salts = [lane.account.salt for lane in lanes]
        digest = rendezvous.digest(traits.affinity)
        return lanes[selection.affine(digest, salts, weights, loads, policy.bounded_load, policy.bounded_load_floor)]

    def _from_many(
        self, tier: Tier, traits: Traits, tried: frozenset[str], now: float, rng: Callable[[], float]
    ) -> Lane | None:
        """Look at a handful of a large tier; only when none of these will do, at all of it."""
        loose = traits.affinity is None
        fresh = traits.estimated_tokens - traits.estimated_output
        best: Lane | None = None
        for lane in (
            self._drawn(tier, rng) if traits.affinity is None else self._favoured(tier, traits.affinity, traits)
        ):
            if lane.account.name in tried or self.obstacle(lane, traits, fresh, now) is not None:
                continue
            weight, reason = self.standing(lane, now, scarcity=loose)
            if reason:
                continue
            if not loose:
                if not tier.overloaded(lane, self._policy.bounded_load, self._policy.bounded_load_floor, now):
                    return lane
                continue
            if best is not None:
                return lane if lane.account.load * best.weight < best.account.load * weight else best
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
            most = _FEW if len(tier.lanes) <= _FEW else _FAVOURITES
            best = sorted(tier.lanes, key=lambda lane: -rendezvous.score(digest, lane.account.salt, lane.weight))
            found = tuple(best[:most])
            self._favourites[key] = found
            if len(self._favourites) > _REMEMBERED:
                self._favourites.popitem(last=False)
        return found


def _overloaded(gate: Gate, now: float) -> bool:
    return gate.condition.cls == o.OVERLOADED and gate.condition.until() > now
