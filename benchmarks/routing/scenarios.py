"""The scenarios: which accounts, which clients, what goes wrong, and when measuring begins and ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.routing.accounts.faults import Fault, Kind
from benchmarks.routing.accounts.manners import ANTHROPIC, Manner, ModelLimits
from benchmarks.routing.clients.mix import SDK, TEAM, UNEQUAL, Mix

if TYPE_CHECKING:
    from collections.abc import Mapping

MINUTE = 60.0
LENIENT = 4 * MINUTE
"""So long accounts refuse nobody: the world begins in the middle of thousands of conversations, all caches cold."""
WARM = 10 * MINUTE
MODEL = "large"
LIMITS = {MODEL: ModelLimits(4_000, 1_200_000, 240_000)}
"""In the proportions of Anthropic's upper tiers (input five times the output)."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One world. `begins`, `ends`: what is measured; the world starts at 0 with its conversations under way."""

    name: str
    title: str
    mix: Mix
    ends: float
    begins: float = WARM
    manner: Manner = ANTHROPIC
    accounts: int = 10
    limits: Mapping[str, ModelLimits] = field(default_factory=lambda: LIMITS)
    sizes: tuple[float, ...] = ()
    """Each account's limits as a factor; empty: all alike."""
    faults: tuple[Fault, ...] = ()
    slots: int = 0
    declared: bool = False
    """The operator has stated the accounts' limits to the gateway; otherwise it has to find them out."""
    wait_seconds: float = 2.0
    edges: int = 3
    course_from: float = 0.0
    """When something ends after which things should be well again (0: nothing does)."""


def one_failing() -> Scenario:
    """Return ten accounts of which one is failing at any time, each in its own way."""
    kinds = list(Kind)
    every = 4 * MINUTE
    faults = tuple(
        Fault(index % 10, kind, WARM + index * every, WARM + (index + 1) * every) for index, kind in enumerate(kinds)
    )
    return Scenario(
        name="one of ten failing",
        title="One of ten accounts failing at a time, 90 % of what the other nine can carry",
        mix=Mix(TEAM, (MODEL,), load=0.9, capacity_accounts=9),
        faults=faults,
        ends=WARM + len(kinds) * every,
    )


def steady() -> Scenario:
    """Return ten accounts in good health under much load."""
    return Scenario(
        name="steady",
        title="Ten accounts in good health, 90 % of what they can carry",
        mix=Mix(TEAM, (MODEL,), load=0.9, capacity_accounts=10),
        ends=WARM + 20 * MINUTE,
    )


def overload(*, declared: bool = False) -> Scenario:
    """Return half as much again as the accounts can carry, from projects of very unequal demand."""
    return Scenario(
        name="overload, limits stated" if declared else "overload",
        title="150 % of what ten accounts can carry, from five unequal projects",
        mix=Mix(UNEQUAL, (MODEL,), load=1.5, capacity_accounts=10),
        ends=WARM + 15 * MINUTE,
        declared=declared,
    )


def outage() -> Scenario:
    """Return five of ten accounts gone for ten minutes, with clients that retry and people who ask again."""
    begins, ends = WARM, WARM + 10 * MINUTE
    return Scenario(
        name="outage of half",
        title="Half the accounts down for ten minutes, clients retry; 70 % of what all ten can carry",
        mix=Mix(TEAM, (MODEL,), load=0.7, capacity_accounts=10, patience=SDK),
        faults=tuple(Fault(account, Kind.DOWN, begins, ends) for account in range(5)),
        ends=ends + 15 * MINUTE,
        course_from=ends,
    )


def rising() -> Scenario:
    """Return a load that rises slowly from 60 % to 130 %."""
    begins, ends = WARM, WARM + 28 * MINUTE

    def shape(now: float) -> float:
        return 0.6 + 0.7 * min(max((now - begins) / (ends - begins), 0.0), 1.0)

    return Scenario(
        name="rising load",
        title="Load rising from 60 % to 130 %: what is used when the first request is refused",
        mix=Mix(TEAM, (MODEL,), load=1.0, capacity_accounts=10, shape=shape),
        ends=ends,
    )


SCENARIOS = {
    "one_failing": one_failing,
    "steady": steady,
    "overload": overload,
    "outage": outage,
    "rising": rising,
}
