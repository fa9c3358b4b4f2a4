"""What the routing simulation says of a small world, real processes do in the same world, within stated bounds.

The same conversations begin at the same moments and take the same turns in both: once against `benchmarks/routing`'s
models in virtual time, once through `penstock up` against the simulator process with its limits and faults.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from benchmarks.routing.accounts.faults import Fault, Kind
from benchmarks.routing.accounts.latency import Latency
from benchmarks.routing.accounts.manners import ANTHROPIC, ModelLimits
from benchmarks.routing.clients.fleet import Client
from benchmarks.routing.clients.mix import Mix, Project
from benchmarks.routing.clients.turns import Turn
from benchmarks.routing.figures import Figures, fair_shares, figures
from benchmarks.routing.scenarios import Scenario
from benchmarks.routing.world import World

from tests.stack import MODEL, running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.stack import Simulator

PREFIX_TOKENS, GROWTH_TOKENS, TURNS = 1_600, 300, 6
LATENCY = Latency(base=0.06, base_spread=0.01, prefill=1e9, prefill_cached=1e9, decode=1e6)
SECONDS = 10.0
AMPLE = ModelLimits(1_000_000, 10**9, 10**9)
CONVERSATIONS = 32
TRIES = 4


@dataclass(slots=True)
class Told:
    """What a run comes to."""

    error_rate: float
    cache_hit: float
    served: dict[str, int]
    failing: float
    """The part of attempts that went to the account that fails, while it did."""


@dataclass(slots=True)
class Plan:
    """One conversation: when it begins, and its turns."""

    begins: float
    turns: list[Turn]


def conversation(number: int, project: str, rng: Random, turns: int) -> list[Turn]:
    return [
        Turn(
            project=project,
            session=f"{project}-{number}",
            named=False,
            model=MODEL,
            prefix=f"{project}-{number}/begins" if turns > 1 else "",
            prefix_tokens=PREFIX_TOKENS if turns > 1 else 0,
            prompt_tokens=(PREFIX_TOKENS if turns > 1 else 100) + GROWTH_TOKENS * index,
            output_tokens=8,
            max_tokens=64,
            stream=False,
            gap=0.0 if index == 0 else 0.4 + 0.8 * rng.random(),
        )
        for index in range(turns)
    ]


def agents() -> list[Plan]:
    rng = Random(7)
    return [Plan(4.0 * rng.random(), conversation(n, f"p{n % 2}", rng, TURNS)) for n in range(CONVERSATIONS)]


def singles(per_second: dict[str, float]) -> list[Plan]:
    rng = Random(8)
    plans = []
    for project, rate in per_second.items():
        count = int(rate * SECONDS)
        plans += [Plan(SECONDS * (n + rng.random()) / count, conversation(n, project, rng, 1)) for n in range(count)]
    return plans


# In virtual time


def simulated(scenario: Scenario, plans: Sequence[Plan], failing: str = "") -> tuple[Told, Figures]:
    world = World(scenario, "penstock", 1)
    for plan in plans:
        world.engine.at(plan.begins, Client(world.fleet, iter(plan.turns), Random(1)).begin)
    world.run()
    told = figures(world)
    sent = world.metrics.herd
    fault = scenario.faults[0] if scenario.faults else None
    during = {key: n for key, n in sent.items() if fault is not None and fault.begins <= key[0] < fault.ends}
    to_failing = sum(n for (_, name), n in during.items() if name == failing)
    served = {
        project.name: int(world.metrics.project_served.get((project.name, MODEL), 0))
        for project in scenario.mix.projects
    }
    return Told(told.error_rate, told.cache_hit, served, to_failing / max(sum(during.values()), 1)), told


def scenario(
    accounts: int, projects: Sequence[str], limits: ModelLimits, *, faults: tuple[Fault, ...] = ()
) -> Scenario:
    return Scenario(
        name="agrees",
        title="A small world that real processes can play",
        mix=Mix(tuple(Project(name, 1.0) for name in projects), (MODEL,), load=1e-9, capacity_accounts=accounts),
        accounts=accounts,
        limits={MODEL: limits},
        manner=replace(ANTHROPIC, request_burst_seconds=60.0),
        latency=LATENCY,
        faults=faults,
        edges=1,
        lenient=0.0,
        begins=0.0,
        ends=SECONDS + 6.0,
    )


# With real processes


def body(turn: Turn) -> dict[str, Any]:
    """Build a prompt of about the size; what was said before stays the same, byte for byte."""
    words = Random(turn.session)
    directive = "[[sim: tokens=8 latency=60ms]]"
    messages: list[dict[str, Any]] = []
    for index in range(1 + (turn.prompt_tokens - PREFIX_TOKENS) // GROWTH_TOKENS if turn.prefix else 1):
        tokens = 20 if not turn.prefix else PREFIX_TOKENS if index == 0 else GROWTH_TOKENS
        text = " ".join(f"{words.getrandbits(24):06x}" for _ in range(tokens * 4 // 7))
        said = [{"type": "text", "text": f"{text} {directive}"}]
        messages += [{"role": "user", "content": said}, {"role": "assistant", "content": "Very well."}]
    messages.pop()
    messages[-1]["content"][0]["cache_control"] = {"type": "ephemeral"}
    return {"model": MODEL, "max_tokens": 64, "messages": messages}


class Played:
    """The same conversations against a gateway."""

    def __init__(self, url: str, keys: dict[str, str]) -> None:
        self.url, self.keys = url, keys
        self.asked = self.errors = self.cached = self.prompt = 0
        self.served: dict[str, int] = dict.fromkeys(keys, 0)

    async def run(self, plans: Sequence[Plan]) -> None:
        began = asyncio.get_running_loop().time()
        limits = httpx.Limits(max_connections=400)
        async with httpx.AsyncClient(base_url=self.url, timeout=90, limits=limits) as client:
            await asyncio.gather(*(self._conversation(client, plan, began) for plan in plans))

    async def _conversation(self, client: httpx.AsyncClient, plan: Plan, began: float) -> None:
        await asyncio.sleep(began + plan.begins - asyncio.get_running_loop().time())
        for turn in plan.turns:
            content = json.dumps(body(turn))
            await asyncio.sleep(turn.gap)
            answer = await client.post("/v1/messages", content=content, headers={"x-api-key": self.keys[turn.project]})
            self.asked += 1
            if answer.status_code != 200:
                self.errors += 1
                continue
            usage = answer.json()["usage"]
            self.served[turn.project] += 1
            self.cached += usage["cache_read_input_tokens"]
            self.prompt += (
                usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
            )


def capacity_and_fairness(served: dict[str, int], asked: dict[str, float], capacity: float) -> tuple[float, float]:
    total = sum(served.values())
    fair = fair_shares(asked, total)
    return total / capacity, max(abs(served[name] - share) / share for name, share in fair.items())


def one_that_agrees(play: Callable[[Path], dict[str, tuple[float, float, float]]], folder: Path) -> None:
    """Play until every figure is as near to the simulation's as told. A machine that stalls plays another world, so there are a few tries."""
    told = []
    for number in range(TRIES):
        told.append(play(folder / str(number)))
        if all(abs(real - virtual) <= within for real, virtual, within in told[-1].values()):
            return
    raise AssertionError(f"(real, virtual, within): {told}")


@pytest.mark.xdist_group("routing-agrees")
def test_one_of_four_fails_for_a_while(tmp_path: Path) -> None:
    """One request in error more or less, cache hits within 9 points, the failing account's part of attempts within 7."""
    plans = agents()
    virtual, _ = simulated(
        scenario(4, ["p0", "p1"], AMPLE, faults=(Fault(0, Kind.OVERLOADED, 3.0, 6.0),)), plans, "account-0"
    )
    assert virtual.cache_hit > 0.6

    async def drive(played: Played, simulator: Simulator) -> tuple[float, float]:
        """Play; gives between which moments the account surely failed."""
        work = asyncio.create_task(played.run(plans))
        await asyncio.sleep(3.0)
        await asyncio.to_thread(simulator.faults, "a", {"operation": "messages", "set": {"fault": "529"}})
        begins = time.monotonic()
        await asyncio.sleep(3.0)
        ends = time.monotonic()
        await asyncio.to_thread(simulator.clear)
        await work
        return begins, ends

    def play(folder: Path) -> dict[str, tuple[float, float, float]]:
        with running(folder, accounts=["a", "b", "c", "d"]) as (gateway, simulator):
            played = Played(gateway.url, {name: gateway.key(project=name) for name in ("p0", "p1")})
            begins, ends = asyncio.run(drive(played, simulator))
            during = [one["account"] for one in simulator.messages() if begins <= one["arrived"] < ends]
        assert played.asked == CONVERSATIONS * TURNS
        return {
            "errors": (played.errors / played.asked, virtual.error_rate, 1.5 / played.asked),
            "cache hits": (played.cached / played.prompt, virtual.cache_hit, 0.09),
            "to the one that fails": (during.count("a") / max(len(during), 1), virtual.failing, 0.07),
        }

    one_that_agrees(play, tmp_path)


@pytest.mark.xdist_group("routing-agrees")
def test_more_is_asked_for_than_two_accounts_carry(tmp_path: Path) -> None:
    """Errors and capacity used within 3 points, fairness within 5 points."""
    per_minute, rates = 60, {"big": 17.0, "small": 3.0}
    capacity = 2 * per_minute * (1 + SECONDS / 60)
    limits = ModelLimits(per_minute, 10**9, 10**9)
    plans = singles(rates)
    asked = {name: float(int(rate * SECONDS)) for name, rate in rates.items()}
    virtual, _ = simulated(scenario(2, list(rates), limits), plans)
    used, unfair = capacity_and_fairness(virtual.served, asked, capacity)
    settings = {"limits": {"requests_per_minute": per_minute}}

    def play(folder: Path) -> dict[str, tuple[float, float, float]]:
        with running(folder, accounts=["a", "b"], simulator=settings) as (gateway, _):
            played = Played(gateway.url, {name: gateway.key(project=name) for name in rates})
            asyncio.run(played.run(plans))
        really_used, really_unfair = capacity_and_fairness(played.served, asked, capacity)
        return {
            "errors": (played.errors / played.asked, virtual.error_rate, 0.03),
            "used": (really_used, used, 0.03),
            "unfair": (really_unfair, unfair, 0.05),
        }

    one_that_agrees(play, tmp_path)
