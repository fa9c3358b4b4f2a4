"""The report: `benchmarks/ROUTING.md`, written anew by every run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.routing import hedging, plots
from benchmarks.routing.figures import recovery
from benchmarks.routing.scenarios import SCENARIOS
from benchmarks.routing.seeds import table
from benchmarks.routing.words import DEFINITIONS, FINDINGS, HEAD, HEDGING, POLICIES_SAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.routing.bench import Results
    from benchmarks.routing.figures import Figures

HERE = Path(__file__).parent
PAGE = HERE.parent / "ROUTING.md"


def write(results: Results, policies: Sequence[str], seed: int) -> None:
    """Write the page and its plots."""
    plots.write(HERE / "plots", results, policies)
    PAGE.write_text("\n".join(_page(results, policies, seed)) + "\n")


def _page(results: Results, policies: Sequence[str], seed: int) -> list[str]:
    lines = [HEAD.format(seed=seed), "## Goals", "", *_goals(results, policies), ""]
    lines += [f"![{name}](routing/plots/{name}.svg)" for name in ("errors", "cache", "capacity", "fairness")]
    lines += ["", *table(), "", FINDINGS, "## All scenarios", ""]
    for key, make in SCENARIOS.items():
        if (key, policies[0]) not in results:
            continue
        lines += [f"### {make().title}", "", *_scenario(key, results, policies), ""]
        if key in {"outage", "rising"}:
            lines += [f"![{key}](routing/plots/{key}.svg)", ""]
    return [*lines, HEDGING, *hedging.table(), "", DEFINITIONS, POLICIES_SAY.rstrip()]


def _goals(results: Results, policies: Sequence[str]) -> list[str]:
    rows = [
        "| policy | errors, one of ten failing | cache: points below perfect | capacity used at 150 % | unfairness | work served after the outage |",
        "|---|---|---|---|---|---|",
        "| *goal* | *< 0.01 %* | *≤ 3* | *≥ 98 %* | *≤ 5 %* | *no second collapse* |",
    ]
    for name in policies:
        steady, over = results["steady", name], results["overload", name]
        rows.append(
            f"| {name} | {_percent(results['one_failing', name].error_rate)} | {steady.cache_points_below:.2f} "
            f"| {_percent(over.capacity_used)} | {_percent(over.max_fair_deviation)} | {_recovered('outage', results.get(('outage', name)))} |"
        )
    return rows


def _scenario(key: str, results: Results, policies: Sequence[str]) -> list[str]:
    columns = ["errors", "of first tries", "broken off", "wait p50 / p99 s", "attempts", "cache hits", "below perfect"]
    columns += ["saved by the cache", *_special(key)]
    rows = ["| policy | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in policies:
        found = results[key, name]
        cells = [
            _percent(found.error_rate),
            _percent(found.first_try_error_rate),
            _percent(found.broken_rate),
            f"{found.wait_p50:.2f} / {found.wait_p99:.2f}",
            f"{found.attempts_per_request:.2f}",
            f"{found.cache_hit:.1%}",
            f"{found.cache_points_below:.2f}",
            f"{found.money_saved:,.0f} of {found.money + found.money_saved:,.0f} $",
            *_special_cells(key, found),
        ]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows


def _special(key: str) -> list[str]:
    if key.startswith("overload"):
        return ["capacity used", "unfairness"]
    if key == "rising":
        return ["in use at the first refusal"]
    if key in {"outage", "storm"}:
        return ["herd", "worst 30 s after", "work served after"]
    return []


def _special_cells(key: str, found: Figures) -> list[str]:
    if key.startswith("overload"):
        return [f"{found.capacity_used:.1%}", _percent(found.max_fair_deviation)]
    if key == "rising":
        return [f"{found.first_refusal_at_load:.1%}" if found.first_refusal_at_load else "none refused"]
    if key in {"outage", "storm"}:
        return [f"{found.herd:.1f} ×", _percent(found.worst_after), _recovered(key, found)]
    return []


def _recovered(key: str, found: Figures | None) -> str:
    """Say how the work that is served came back after an outage."""
    if found is None:
        return "–"
    scenario = SCENARIOS[key]()
    least, back = recovery(found.course, scenario.mix.load, scenario.course_from)
    return f"least {least:.0%}, " + (f"all again after {back:.0f} s" if back < math.inf else "never all again")


def _percent(part: float) -> str:
    return f"{part:.1%}" if part >= 0.1 else f"{part:.2%}" if part >= 0.001 else f"{part:.4%}" if part else "0"
