"""The plots of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.routing import svg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.routing.bench import Results


def write(folder: Path, results: Results, policies: Sequence[str]) -> None:
    """Write all plots."""
    folder.mkdir(exist_ok=True)

    def rows(scenario: str, figure: str, factor: float) -> list[tuple[str, float]]:
        return [(name, getattr(results[scenario, name], figure) * factor) for name in policies]

    def course(scenario: str, column: int) -> list[tuple[str, list[tuple[float, float]]]]:
        return [
            (name, [(row[0] / 60.0, row[column]) for row in results[scenario, name].course[24::3]]) for name in policies
        ]

    plots = {
        "errors": svg.bars(
            "Requests answered with an error, one of ten accounts failing (%; goal: below 0.01)",
            rows("one_failing", "error_rate", 100.0),
            "%",
        ),
        "cache": svg.bars(
            "Prompt-cache hits below perfect stickiness, steady 90 % load (points; goal: at most 3)",
            rows("steady", "cache_points_below", 1.0),
            "points",
            3.0,
        ),
        "capacity": svg.bars(
            "True capacity used at 150 % offered load (%; goal: at least 98)",
            rows("overload", "capacity_used", 100.0),
            "%",
            98.0,
        ),
        "fairness": svg.bars(
            "Largest deviation of a project from its fair share at 150 % load (%; goal: at most 5)",
            rows("overload", "max_fair_deviation", 100.0),
            "%",
            5.0,
        ),
    }
    if ("outage", policies[0]) in results:
        title = "Share of requests answered with an error; half the accounts are down in the grey span"
        plots["outage"] = svg.lines(title, course("outage", 2), x_label="minutes", y_most=1.0, shade=(10.0, 20.0))
    if ("rising", policies[0]) in results:
        title = "Part of true capacity used while load rises from 60 % to 130 % of it (minutes 10 to 35)"
        plots["rising"] = svg.lines(title, course("rising", 3), x_label="minutes", y_most=1.2)
    for name, text in plots.items():
        (folder / f"{name}.svg").write_text(text)
