"""Why each account would take a request or not: the steps of a pick, told of every account. By the code that picks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_routing.candidates import Candidate
from penstock_routing.choosing import STORM

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from penstock_routing.candidates import Traits
    from penstock_routing.choosing import Chooser, Home, Obstacle, Standing
    from penstock_routing.lanes import Lane, Tier
    from penstock_routing.warmth import Warm

_NOT_TRIED: Final[frozenset[str]] = frozenset()


def explained(
    chooser: Chooser, tiers: Iterable[Tier], traits: Traits, warm: Warm | None, now: float, *, storming: bool
) -> list[Candidate]:
    """Return all accounts of these tiers, in the order in which they are asked, those that are not asked last.

    `storming`: the model's accounts may be asked although they cool, if most of a tier do.
    """
    ranked: list[Standing] = []
    asked_last: list[Standing] = []
    left: list[Candidate] = []
    for tier in tiers:
        home = chooser.home(tier, traits, traits.affinity, warm, _NOT_TRIED, now) if traits.affinity else None
        in_storm = _in_storm(chooser.storming(tier, traits, warm, _NOT_TRIED, now)) if storming else []
        able, unable = _looked_at(chooser, tier, traits, home, now)
        at_home = in_storm and warm is not None and in_storm[0][0] is warm.lane
        if at_home and (home is None or home.obstacle is not None):
            ranked.append(in_storm[0])
            del in_storm[0]
        ranked += chooser.ordered(tier, able, traits, home, cold=warm is None)
        asked_last += in_storm
        left += [left_out(lane, *obstacle[:2]) for lane, obstacle in unable]
    ranked += asked_last
    asked = {lane.account.name for lane, _, _ in ranked}
    taken = [_ranked(standing, rank) for rank, standing in enumerate(ranked, 1)]
    return taken + [candidate for candidate in left if candidate.account not in asked]


def left_out(lane: Lane, reason: str, seconds: float = 0.0) -> Candidate:
    """Return an account that does not take the request."""
    facts = lane.account.facts
    return Candidate(
        account=facts.name, eligible=False, reason=reason, score=0.0, tier=facts.tier, rank=0, seconds=seconds
    )


def _ranked(standing: Standing, rank: int) -> Candidate:
    lane, score, reason = standing
    facts = lane.account.facts
    return Candidate(
        account=facts.name, eligible=True, reason=reason or "Eligible", score=score, tier=facts.tier, rank=rank
    )


def _in_storm(lanes: Sequence[Lane]) -> list[Standing]:
    return [(lane, 1.0 / (lane.account.load + 1.0), STORM) for lane in lanes]


def _looked_at(
    chooser: Chooser, tier: Tier, traits: Traits, home: Home | None, now: float
) -> tuple[list[Standing], list[tuple[Lane, Obstacle]]]:
    """Return the lanes that nothing is in the way of as they stand, and the others with what is."""
    prompt = traits.estimated_tokens - traits.estimated_output
    able: list[Standing] = []
    unable: list[tuple[Lane, Obstacle]] = []
    for lane in tier.lanes:
        at_home = home is not None and home.lane is lane
        fresh = home.fresh if home is not None and at_home else prompt
        obstacle = chooser.obstacle(lane, traits, fresh, now, at_home=at_home)
        if obstacle is not None:
            unable.append((lane, obstacle))
        else:
            able.append((lane, *chooser.standing(lane, now, scarcity=traits.affinity is None)))
    return able, unable
