"""Puts a scenario together with a policy, and runs it."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

from benchmarks.routing.accounts.account import Account
from benchmarks.routing.accounts.window import HOURS_5, Window
from benchmarks.routing.capacity import Capacity, capacity
from benchmarks.routing.clients.fleet import Fleet
from benchmarks.routing.engine import Engine
from benchmarks.routing.gateway import Gateway
from benchmarks.routing.metrics import Metrics
from benchmarks.routing.policies.hedging import BlamingHedging, Hedging
from benchmarks.routing.policies.others import LeastBusy, LowestLatency, RoundRobin, Shuffle, StickyHash
from benchmarks.routing.policies.ours import Ours
from benchmarks.routing.sight import AccountSight

if TYPE_CHECKING:
    from benchmarks.routing.accounts.refill import Refill
    from benchmarks.routing.scenarios import Scenario
    from benchmarks.routing.sight import Policy

OTHERS = {policy.name: policy for policy in (RoundRobin, Shuffle, LeastBusy, StickyHash, LowestLatency)}
POLICIES = (Ours.name, *OTHERS)
OURS = {policy.name: policy for policy in (Ours, Hedging, BlamingHedging)}


class World:
    """One run."""

    def __init__(self, scenario: Scenario, policy: str, seed: int) -> None:
        self.scenario = scenario
        base = f"{seed}/{scenario.name}"
        self.engine = Engine()
        sizes = scenario.sizes or (1.0,) * scenario.accounts
        names = [f"account-{number}" for number in range(scenario.accounts)]
        self.accounts = {
            name: Account(
                name,
                scenario.manner,
                {model: limits.scaled(size) for model, limits in scenario.limits.items()},
                scenario.latency,
                Random(f"{base}/{name}"),
                slots=scenario.slots,
                window=Window(scenario.window_tokens * size) if scenario.window_tokens else None,
            )
            for name, size in zip(names, sizes, strict=True)
        }
        limits = {model: [limit.scaled(size) for size in sizes] for model, limit in scenario.limits.items()}
        quota = scenario.window_tokens * sum(sizes) / len(sizes) / HOURS_5 if scenario.window_tokens else math.inf
        self.capacity: Capacity = capacity(scenario.mix, scenario.manner, limits, quota)
        self.metrics = Metrics(
            scenario.begins,
            scenario.ends,
            scenario.manner,
            scenario.latency,
            scenario.accounts,
            dict(self.capacity.scarce),
        )
        sights = [_sight(scenario, name, size) for name, size in zip(names, sizes, strict=True)]
        self.policy = _policy(policy, sights, Random(f"{base}/policy"), scenario)
        self.gateway = Gateway(
            self.engine, self.policy, self.accounts, self.metrics, scenario.edges, Random(f"{base}/gateway")
        )
        self.gateway.plan(scenario.faults)
        for account in self.accounts.values():
            account.lenient = True
            self.engine.at(scenario.lenient, account.enforces, scenario.lenient)
        self.fleet = Fleet(self.engine, self.gateway, scenario.mix, self.capacity.rates, base)
        self.stored = 0.0
        """Scarce units in store when measuring began, less those when it ended: they were not lost."""

    def run(self) -> None:
        """Run it to its end."""
        self.engine.run(self.scenario.begins)
        self.stored = self._in_store()
        self.engine.run(self.scenario.ends)
        self.stored -= self._in_store()

    def offered_capacity(self) -> float:
        """Return the scarce units that the accounts had to give while it was measured."""
        seconds = self.scenario.ends - self.scenario.begins
        if self.scenario.window_tokens:
            return sum(self.capacity.per_second.values()) * seconds
        return sum(bucket.rate * seconds for bucket in self._scarce()) + self.stored

    def _in_store(self) -> float:
        return sum(max(bucket.left(self.engine.now), 0.0) for bucket in self._scarce())

    def _scarce(self) -> list[Refill]:
        if self.scenario.window_tokens:
            return []
        return [
            getattr(account.buckets[model], self.capacity.scarce[model])
            for account in self.accounts.values()
            for model in self.scenario.mix.models
        ]


def _sight(scenario: Scenario, name: str, size: float) -> AccountSight:
    models = tuple(scenario.limits)
    if not scenario.declared:
        return AccountSight(name, scenario.manner.provider, models)
    requests = sum(int(limits.requests * size) for limits in scenario.limits.values())
    return AccountSight(
        name, scenario.manner.provider, models, requests_per_minute=requests, slots=scenario.slots or -1
    )


def _policy(name: str, accounts: list[AccountSight], rng: Random, scenario: Scenario) -> Policy:
    if name in OURS:
        return OURS[name](accounts, rng, scenario.wait_seconds, scenario.edges)
    return OTHERS[name](accounts, rng, scenario.wait_seconds)
