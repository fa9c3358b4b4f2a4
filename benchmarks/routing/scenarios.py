"""The scenarios: which accounts, which clients, what goes wrong, and when measuring begins and ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.routing.accounts.faults import Fault, Kind
from benchmarks.routing.accounts.latency import Latency
from benchmarks.routing.accounts.manners import ANTHROPIC, GEMINI, OPENAI, Manner, ModelLimits
from benchmarks.routing.clients.mix import SDK, TEAM, UNEQUAL, Mix, Project
from benchmarks.routing.clients.turns import Agents, Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MINUTE = 60.0
LENIENT = 4 * MINUTE
"""So long accounts refuse nobody: the world begins in the middle of thousands of conversations, all caches cold."""
WARM = 10 * MINUTE
MODEL = "large"
LIMITS = {MODEL: ModelLimits(4_000, 1_200_000, 240_000)}
"""In the proportions of Anthropic's upper tiers (input five times the output)."""


SMALLER = {MODEL: ModelLimits(2_000, 600_000, 120_000)}
"""The same by half, for scenarios whose clients ask again and again."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One world. `begins`, `ends`: what is measured; the world starts at 0 with its conversations under way."""

    name: str
    title: str
    mix: Mix
    ends: float
    begins: float = WARM
    lenient: float = LENIENT
    manner: Manner = ANTHROPIC
    accounts: int = 10
    limits: Mapping[str, ModelLimits] = field(default_factory=lambda: LIMITS)
    sizes: tuple[float, ...] = ()
    """Each account's limits as a factor; empty: all alike."""
    faults: tuple[Fault, ...] = ()
    slots: int = 0
    """Requests at once that an account allows; 0: any number. A refusal for that has no Retry-After."""
    window_tokens: float = 0.0
    """A quota of tokens over five hours; 0: none."""
    declared: bool = False
    """The operator has stated the accounts' limits to the gateway; otherwise it has to find them out."""
    latency: Latency = field(default_factory=Latency)
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
        limits=SMALLER,
        ends=ends + 12 * MINUTE,
        course_from=ends,
    )


def rising() -> Scenario:
    """Return a load that rises slowly from 60 % to 130 %, and stays there."""
    begins, ends = WARM, WARM + 25 * MINUTE

    def shape(now: float) -> float:
        return 0.6 + 0.7 * min(max((now - begins) / (ends - begins), 0.0), 1.0)

    return Scenario(
        name="rising load",
        title="Load rising from 60 % to 130 %: what is used when the first request is refused",
        mix=Mix(TEAM, (MODEL,), load=1.0, capacity_accounts=10, shape=shape),
        limits=SMALLER,
        ends=ends + 8 * MINUTE,
    )


def mixed() -> Scenario:
    """Return unequal accounts, two models, bursts and a batch beside agents, and few slots."""
    projects = (
        Project("agents", 0.45),
        Project("bursts", 0.25, burst_every=150.0, burst_size=30),
        Project("chats", 0.15, Agents(prefix_tokens=2_500, turns=6.0, person_share=0.9, tool_result=150.0)),
        Project("batch", 0.15, Batch()),
    )
    return Scenario(
        name="mixed",
        title="Unequal accounts with limited slots, two models, bursts and a batch; 80 % of what they can carry",
        mix=Mix(projects, ("large", "small"), load=0.8, capacity_accounts=10),
        limits={"large": ModelLimits(2_000, 700_000, 140_000), "small": ModelLimits(2_000, 700_000, 140_000)},
        sizes=(2.0, 1.5, 1.5, 1.2, 1.0, 0.8, 0.7, 0.5, 0.5, 0.3),
        slots=90,
        ends=WARM + 15 * MINUTE,
    )


def storm() -> Scenario:
    """Return a provider that is overloaded as a whole: every account answers six in ten requests with 529."""
    begins, ends = WARM, WARM + 3 * MINUTE
    return Scenario(
        name="storm",
        title="Three minutes in which every account answers six in ten requests with 529; clients retry; 70 % load",
        mix=Mix(TEAM, (MODEL,), load=0.7, capacity_accounts=10, patience=SDK),
        limits=SMALLER,
        faults=tuple(Fault(account, Kind.STORM, begins, ends) for account in range(10)),
        ends=ends + 9 * MINUTE,
        course_from=ends,
    )


def _counted_by(manner: Manner, name: str) -> Scenario:
    """Return the first scenario, shorter, with accounts of a provider that counts cached input too."""
    kinds = (Kind.DOWN, Kind.STORM, Kind.BROWN_OUT, Kind.CUT)
    every = 4 * MINUTE
    return Scenario(
        name=name,
        title=f"One of ten accounts failing at a time, 90 % load, counted as {manner.provider} counts",
        mix=Mix(TEAM, (MODEL,), load=0.9, capacity_accounts=9),
        manner=manner,
        limits={MODEL: ModelLimits(1_500, 12_000_000, 1)},
        faults=tuple(
            Fault(2 * index, kind, WARM + index * every, WARM + (index + 1) * every) for index, kind in enumerate(kinds)
        ),
        ends=WARM + len(kinds) * every,
    )


def openai() -> Scenario:
    """Return accounts that count cached input and reserve `max_tokens`."""
    return _counted_by(OPENAI, "one failing, OpenAI")


def gemini() -> Scenario:
    """Return accounts that say nothing of what is left."""
    return _counted_by(GEMINI, "one failing, Gemini")


def windows() -> Scenario:
    """Return twenty hours of subscriptions of unequal size, whose quotas run out hours before they return."""
    return Scenario(
        name="five-hour windows",
        title="Twenty hours of ten unequal subscriptions with quotas over five hours and few slots; 70 % of the quotas",
        mix=Mix(TEAM, (MODEL,), load=0.7, capacity_accounts=10, patience=SDK),
        sizes=(2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5),
        window_tokens=3_000_000.0,
        slots=12,
        begins=30 * MINUTE,
        ends=20 * 60 * MINUTE,
    )


SCENARIOS: dict[str, Callable[[], Scenario]] = {
    "one_failing": one_failing,
    "steady": steady,
    "overload": overload,
    "overload_stated": partial(overload, declared=True),
    "outage": outage,
    "rising": rising,
    "mixed": mixed,
    "storm": storm,
    "openai": openai,
    "gemini": gemini,
    "windows": windows,
}
