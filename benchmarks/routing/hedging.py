"""What hedging would gain and cost: `python -m benchmarks.routing.hedging` runs ours with and without, and keeps it."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.routing.accounts.faults import Fault, Kind
from benchmarks.routing.clients.mix import TEAM, Mix
from benchmarks.routing.policies.hedging import BlamingHedging, Hedging
from benchmarks.routing.policies.ours import Ours
from benchmarks.routing.scenarios import MINUTE, MODEL, SMALLER, WARM, Scenario
from benchmarks.routing.world import World

KEPT = Path(__file__).parent / "hedging.json"
KINDS = (Kind.HANGING, Kind.SLOW, Kind.BROWN_OUT)
LOADS = (0.7, 0.9)
POLICIES = (Ours.name, Hedging.name, BlamingHedging.name)
_HEAD = (
    "policy | errors | broken off | wait p99 / p99.9 s | longest | second attempts | cache hits | paid, and for nothing"
)


def scenario(kind: Kind, load: float) -> Scenario:
    """Return one of ten accounts that is late for four minutes, and two minutes more."""
    return Scenario(
        name=f"hedging, {kind}, {load}",
        title=f"One of ten accounts {kind}, {load:.0%} of what the other nine can carry",
        mix=Mix(TEAM, (MODEL,), load=load, capacity_accounts=9),
        limits={MODEL: SMALLER[MODEL]},
        faults=(Fault(0, kind, WARM, WARM + 4 * MINUTE),),
        ends=WARM + 6 * MINUTE,
    )


def one(task: tuple[Kind, float, str], seed: int) -> dict[str, float | int | str]:
    """Run one of them."""
    kind, load, policy = task
    world = World(scenario(kind, load), policy, seed)
    world.run()
    m = world.metrics
    waits = sorted(m.waits)
    return {
        "title": world.scenario.title,
        "policy": policy,
        "errors": m.errors / m.asked,
        "broken": m.broken / m.asked,
        "p99": round(waits[int(0.99 * len(waits))], 3),
        "p999": round(waits[int(0.999 * len(waits))], 3),
        "longest": round(waits[-1], 3),
        "second": m.hedges / m.asked,
        "hits": m.cached / m.prompt,
        "paid": round(m.money + m.hedge_money, 2),
        "for_nothing": round(m.hedge_money, 2),
    }


def table() -> list[str]:
    """Return the kept figures as tables; nothing when there are none."""
    if not KEPT.exists():
        return []
    lines: list[str] = []
    title = ""
    for row in json.loads(KEPT.read_text()):
        if row["title"] != title:
            title = row["title"]
            lines += ["", f"{title}:", "", f"| {_HEAD} |", "|---" * (_HEAD.count("|") + 1) + "|"]
        lines.append(
            f"| {row['policy']} | {row['errors']:.3%} | {row['broken']:.3%} | {row['p99']:.2f} / {row['p999']:.2f} | {row['longest']:.1f} "
            f"| {row['second']:.2%} | {row['hits']:.1%} | {row['paid']:,.0f} $, {row['for_nothing']:.1f} $ |"
        )
    return lines[1:]


def main() -> None:
    """Run all of them."""
    tasks = [(kind, load, policy) for kind in KINDS for load in LOADS for policy in POLICIES]
    rows = []
    with get_context("spawn").Pool(os.cpu_count() or 1) as pool:
        for found in pool.imap(partial(one, seed=int(os.environ.get("SEED") or "1")), tasks):
            rows.append(found)
            print(found, file=sys.stderr, flush=True)
    KEPT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
