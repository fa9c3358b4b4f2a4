"""What accounts can truly carry, from their models and the clients': the measure that load and use are told in.

True capacity is the largest steady load that the accounts named could serve if every conversation stayed with one
account (so that only new input counts where cached input is free) and no bucket's refill were lost. It is counted in
the resource that runs out first: requests, counted input or output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import TYPE_CHECKING

from benchmarks.routing.accounts.cache import LEAST_TOKENS, TTL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.routing.accounts.manners import Manner, ModelLimits
    from benchmarks.routing.clients.mix import Mix
    from benchmarks.routing.clients.turns import Turn, Way

_SAMPLES = 1500
DIMENSIONS = ("requests", "input", "output", "window")
Work = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Capacity:
    """By model: what runs out first, and how much of it per second there is; begun conversations per second."""

    scarce: Mapping[str, str]
    per_second: Mapping[str, float]
    rates: Mapping[tuple[str, str], float]


def work(turn: Turn, cached: int, manner: Manner) -> Work:
    """Return what a turn takes of requests, counted input, output, and of a quota over hours."""
    counted = turn.prompt_tokens if manner.cached_input_counts else turn.prompt_tokens - cached
    if manner.reserves_max_tokens:
        counted += turn.max_tokens
    output = float(turn.output_tokens)
    return 1.0, float(counted), output if manner.output_limited else 0.0, turn.prompt_tokens - cached + output


def capacity(
    mix: Mix, manner: Manner, limits: Mapping[str, Sequence[ModelLimits]], window_per_second: float = math.inf
) -> Capacity:
    """Return the capacity of accounts with these limits by model, and the rates that load them as the mix says.

    `window_per_second`: what an account's quota over hours comes to (for one model only).
    """
    scarce: dict[str, str] = {}
    per_second: dict[str, float] = {}
    rates: dict[tuple[str, str], float] = {}
    for model in mix.models:
        all_of_them = limits[model]
        mean = [
            sum(values) / len(all_of_them)
            for values in zip(*((item.requests, item.input, item.output) for item in all_of_them), strict=True)
        ]
        total = [value * mix.capacity_accounts / 60.0 for value in mean]
        total.append(window_per_second * mix.capacity_accounts)
        costs = {project.name: _cost(project.way, manner) for project in mix.projects}
        plain: dict[str, float] = {}
        for project in mix.projects:
            dominant = max(cost / limit for cost, limit in zip(costs[project.name], total, strict=True))
            plain[project.name] = project.part / dominant
        use = [sum(plain[name] * costs[name][i] for name in plain) / total[i] for i in range(len(DIMENSIONS))]
        scarcest = max(range(len(DIMENSIONS)), key=lambda i: use[i])
        scarce[model], per_second[model] = DIMENSIONS[scarcest], total[scarcest]
        for name, rate in plain.items():
            rates[name, model] = rate * mix.load / use[scarcest]
    return Capacity(scarce, per_second, rates)


@cache
def _cost(way: Way, manner: Manner) -> Work:
    """Return the mean cost of a conversation from beginning to end, when it always meets a warm cache."""
    rng = Random("capacity")
    sums = [0.0] * len(DIMENSIONS)
    for number in range(_SAMPLES):
        known = 0
        for turn in way.session("", str(number), "", rng):
            warm = turn.prefix_tokens if turn.prefix_tokens >= LEAST_TOKENS else 0
            cached = known if known and turn.gap < TTL_SECONDS else warm
            for i, value in enumerate(work(turn, cached, manner)):
                sums[i] += value
            known = turn.prompt_tokens
    return sums[0] / _SAMPLES, sums[1] / _SAMPLES, sums[2] / _SAMPLES, sums[3] / _SAMPLES
