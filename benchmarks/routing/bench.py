"""The whole benchmark: all runs over the cores there are, then the JSON line."""

from __future__ import annotations

import json
import os
import sys
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from benchmarks.routing import report
from benchmarks.routing.figures import Figures, figures
from benchmarks.routing.scenarios import SCENARIOS
from benchmarks.routing.world import POLICIES, World

if TYPE_CHECKING:
    from collections.abc import Mapping

Results = dict[tuple[str, str], Figures]


_NEEDED = ("one_failing", "steady", "overload")
"""What the JSON line is made of; `SCENARIOS=outage,storm` adds just these."""


def one(task: tuple[str, str, int]) -> Figures:
    """Run one policy in one scenario."""
    scenario, policy, seed = task
    world = World(SCENARIOS[scenario](), policy, seed)
    world.run()
    return figures(world)


def run_all(seed: int, scenarios: list[str], policies: list[str]) -> Results:
    """Run all of them; the order in which they end changes nothing."""
    tasks = [(scenario, policy, seed) for scenario in scenarios for policy in policies]
    results: Results = {}
    began = time.monotonic()
    with get_context("spawn").Pool(min(os.cpu_count() or 1, len(tasks))) as pool:
        for task, found in zip(tasks, pool.imap(one, tasks), strict=True):
            results[task[0], task[1]] = found
            spent = time.monotonic() - began
            print(
                f"[{spent:5.0f} s] {len(results):3}/{len(tasks)}  {task[0]:14} {task[1]:22} "
                f"errors {found.error_rate:8.4%}  cache {found.cache_hit:6.1%}",
                file=sys.stderr,
                flush=True,
            )
    return results


def _four(results: Results, policy: str) -> dict[str, float]:
    return {
        "client_error_rate_one_of_ten_failing": round(results["one_failing", policy].error_rate, 8),
        "cache_hit_points_below_perfect": round(results["steady", policy].cache_points_below, 4),
        "capacity_used_at_150_percent": round(results["overload", policy].capacity_used, 6),
        "max_fair_share_deviation": round(results["overload", policy].max_fair_deviation, 6),
    }


def line(results: Results) -> Mapping[str, Any]:
    """Return the JSON line's content."""
    ours, *others = POLICIES
    return {**_four(results, ours), "policies": {name: _four(results, name) for name in others}}


def main() -> None:
    """Run everything, and say it."""
    seed = int(os.environ.get("SEED") or "1")
    chosen = (os.environ.get("SCENARIOS") or ",".join(SCENARIOS)).split(",")
    results = run_all(seed, [name for name in SCENARIOS if name in {*chosen, *_NEEDED}], list(POLICIES))
    report.write(results, POLICIES, seed)
    print(json.dumps(line(results), separators=(", ", ": ")))
