"""A run is the same for the same seed, another for another, and every policy gets through a small world."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from benchmarks.routing.accounts.faults import Fault, Kind
from benchmarks.routing.accounts.manners import ANTHROPIC, ModelLimits
from benchmarks.routing.capacity import capacity
from benchmarks.routing.clients.mix import SDK, TEAM, Mix
from benchmarks.routing.figures import fair_shares, figures, unfairness
from benchmarks.routing.policies.hedging import Hedging
from benchmarks.routing.scenarios import SCENARIOS, Scenario
from benchmarks.routing.world import POLICIES, World

ROOT = Path(__file__).parents[4]
LIMITS = {"m": ModelLimits(2_000, 75_000, 15_000)}


def small(**more) -> Scenario:
    fields = {
        "name": "small",
        "title": "A small world",
        "mix": Mix(TEAM, ("m",), load=0.7, capacity_accounts=3, patience=SDK),
        "accounts": 4,
        "limits": LIMITS,
        "faults": (Fault(0, Kind.DOWN, 80, 120),),
        "lenient": 40.0,
        "begins": 60.0,
        "ends": 150.0,
    }
    return Scenario(**{**fields, **more})


def told(policy: str, seed: int, **more) -> str:
    world = World(small(**more), policy, seed)
    world.run()
    return repr(asdict(figures(world)))


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_is_the_same_run(policy):
    assert told(policy, 1) == told(policy, 1)
    assert told(policy, 1) != told(policy, 2)


def test_of_two_attempts_one_is_used_and_both_are_paid_for():
    larger = {"m": ModelLimits(20_000, 750_000, 150_000)}
    world = World(small(limits=larger, edges=1, faults=(Fault(0, Kind.SLOW, 80, 120),)), Hedging.name, 1)
    world.run()
    m = world.metrics
    assert m.hedges > 0
    assert m.hedge_money > 0
    assert m.served + m.errors + m.broken <= m.asked
    assert all(account.in_flight >= 0 for account in world.accounts.values())


def test_hash_randomisation_changes_nothing():
    code = "from tests.unit.benchmarks.routing.test_runs import told; print(told('penstock', 3, declared=True))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_load_is_what_the_scenario_says():
    mix = Mix(TEAM, ("m",), load=0.5, capacity_accounts=10)
    full = capacity(replace(mix, load=1.0), ANTHROPIC, {"m": [LIMITS["m"]] * 10})
    half = capacity(mix, ANTHROPIC, {"m": [LIMITS["m"]] * 10})
    assert full.scarce == {"m": "output"}
    assert full.per_second == {"m": pytest.approx(10 * 15_000 / 60)}
    assert half.rates == {key: pytest.approx(rate / 2) for key, rate in full.rates.items()}


def test_fair_shares_give_the_small_all_and_the_others_the_same():
    assert fair_shares({"a": 10, "b": 1, "c": 5}, 9) == {"b": 1, "a": 4, "c": 4}
    assert fair_shares({"a": 1, "b": 1}, 9) == {"a": 1, "b": 1}


def test_a_share_that_was_not_wanted_is_not_owed_later():
    asked = {(0, "a", "m"): 9.0, (0, "b", "m"): 2.0, (1, "a", "m"): 9.0, (1, "b", "m"): 9.0}
    served = {(0, "a", "m"): 6.0, (0, "b", "m"): 2.0, (1, "a", "m"): 4.0, (1, "b", "m"): 4.0}
    assert unfairness(asked, served, 2) == 0.0


def test_too_much_in_one_minute_does_not_make_up_for_too_little_in_another():
    asked = {(minute, name, "m"): 9.0 for minute in (0, 1) for name in ("a", "b")}
    served = {(0, "a", "m"): 6.0, (0, "b", "m"): 2.0, (1, "a", "m"): 2.0, (1, "b", "m"): 6.0}
    assert unfairness(asked, served, 2) == pytest.approx(0.5)
    assert unfairness(asked, served, 0) == 0.0


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_can_be_told(name):
    scenario = SCENARIOS[name]()
    assert scenario.begins < scenario.ends
    assert all(0 <= fault.account < scenario.accounts for fault in scenario.faults)
    assert not scenario.sizes or len(scenario.sizes) == scenario.accounts
