"""Who sends how much: projects with their parts of the load, and how impatient they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.routing.clients.turns import Agents, Way

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Project:
    """One project. `part`: of all work that is offered (output tokens, or what else is scarce)."""

    name: str
    part: float
    way: Way = field(default_factory=Agents)
    burst_every: float = 0.0
    """Seconds between bursts on the average; 0: none. A burst's sessions come on top of the rest."""
    burst_size: int = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """What a client does with an error. An SDK retries by itself, waits 0.5 s doubling to 8 s, or as told up to 60 s."""

    retries: int = 0
    again: int = 0
    """How often somebody asks the same once more after the SDK has given up ..."""
    again_seconds: float = 15.0
    """... after so long."""


NO_RETRY = Patience()
SDK = Patience(retries=2, again=3)


@dataclass(frozen=True, slots=True)
class Mix:
    """All clients of a scenario."""

    projects: tuple[Project, ...]
    models: tuple[str, ...]
    load: float
    """Offered work as a part of the true capacity."""
    capacity_accounts: float
    """How many accounts' worth of capacity that is a part of."""
    shape: Callable[[float], float] | None = None
    """The load's course over time, as a factor."""
    patience: Patience = NO_RETRY


TEAM = (
    Project("alpha", 0.30),
    Project("beta", 0.25),
    Project("gamma", 0.20),
    Project("delta", 0.15),
    Project("epsilon", 0.10),
)
"""Five projects of agents, unequal but none large enough to be out of bounds."""
UNEQUAL = (
    Project("huge", 0.50),
    Project("large", 0.25),
    Project("middle", 0.15),
    Project("small", 0.07),
    Project("tiny", 0.03),
)
"""At 150 % of capacity huge and large want more than an even share, the others less."""
