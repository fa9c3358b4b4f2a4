"""The goals with other seeds: `python -m benchmarks.routing.seeds 1 10` runs ours with each, and keeps the figures."""

from __future__ import annotations

import json
import os
import sys
from multiprocessing import get_context
from pathlib import Path

from benchmarks.routing.figures import figures
from benchmarks.routing.policies.ours import Ours
from benchmarks.routing.scenarios import SCENARIOS
from benchmarks.routing.world import World

KEPT = Path(__file__).parent / "seeds.json"
GOALS = ("one_failing", "steady", "overload")


def one(task: tuple[int, str]) -> dict[str, float]:
    """Run one scenario with one seed."""
    seed, scenario = task
    world = World(SCENARIOS[scenario](), Ours.name, seed)
    world.run()
    found = figures(world)
    return {
        "one_failing": {"errors": found.error_rate},
        "steady": {"points": round(found.cache_points_below, 4)},
        "overload": {"used": round(found.capacity_used, 6), "unfair": round(found.max_fair_deviation, 6)},
    }[scenario]


def table() -> list[str]:
    """Return the kept figures as a table; nothing when there are none."""
    if not KEPT.exists():
        return []
    rows = [
        "Ours with other seeds:",
        "",
        "| seed | errors | points below perfect | capacity used | unfairness |",
    ]
    rows.append("|---|---|---|---|---|")
    for seed, row in json.loads(KEPT.read_text()).items():
        rows.append(f"| {seed} | {row['errors']:.4%} | {row['points']:.2f} | {row['used']:.2%} | {row['unfair']:.2%} |")
    return rows


def main() -> None:
    """Run the seeds named, from first to last."""
    first, last = int(sys.argv[1]), int(sys.argv[2])
    tasks = [(seed, scenario) for seed in range(first, last + 1) for scenario in GOALS]
    rows: dict[str, dict[str, float]] = {}
    with get_context("spawn").Pool(os.cpu_count() or 1) as pool:
        for (seed, _), found in zip(tasks, pool.imap(one, tasks), strict=True):
            rows.setdefault(str(seed), {}).update(found)
            print(seed, found, file=sys.stderr, flush=True)
    KEPT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
