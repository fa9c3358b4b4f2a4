"""Whether Penstock has become dearer: its CPU beside nginx's now, and when the results were committed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from figures import compared, typical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from figures import Measured
    from plan import Case

LIMIT = 1.15
"""What the ratio may be, as a multiple of the committed one."""

ADVICE = """What to do: `make profile` says where the edge's time goes; compare with a checkout of the commit that made benchmarks/relaying.json.
Where the growth is meant, or this is another machine than the one named above: `make bench` on a quiet machine, and commit RESULTS.md, relaying.json and plots/."""


@dataclass
class Spent:
    """CPU microseconds of both, a figure for each round."""

    ours: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """One case."""

    measured: Measured
    committed: float | None
    spent: Spent

    @property
    def ratio(self) -> float | None:
        """Return ours as a multiple of the floor's."""
        return compared(self.measured.case, self.spent.ours, self.spent.floor)

    @property
    def growth(self) -> float | None:
        """Return the ratio now as a multiple of the committed one."""
        ratio = self.ratio
        return ratio / self.committed if ratio is not None and self.committed else None

    @property
    def beyond(self) -> bool:
        """Whether it is more than may be; a case that was not measured is, one that was never committed is not."""
        if self.committed is None:
            return False
        return self.growth is None or self.growth > LIMIT


def judge(committed: Mapping[Measured, float], spent: Mapping[Measured, Spent]) -> list[Verdict]:
    """Judge all that was measured."""
    return [Verdict(measured, committed.get(measured), found) for measured, found in spent.items()]


def suspicious(verdicts: Iterable[Verdict]) -> list[Measured]:
    """List what to repeat before anybody is blamed."""
    return [verdict.measured for verdict in verdicts if verdict.beyond]


def table(verdicts: Iterable[Verdict]) -> str:
    """Return the verdicts for a terminal."""
    heads = ("gateway", "case", "µs", "nginx µs", "ratio", "committed", "change", "")
    rows = [heads, *(_row(verdict) for verdict in verdicts)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(verdict: Verdict) -> tuple[str, ...]:
    spent, growth = verdict.spent, verdict.growth
    change = "–" if growth is None else f"{(growth - 1) * 100:+.0f} %"
    word = "never committed" if verdict.committed is None else "not measured" if growth is None else "ok"
    if growth is not None and verdict.beyond:
        word = f"DEARER: at most {(LIMIT - 1) * 100:+.0f} %"
    return (
        verdict.measured.gateway,
        str(verdict.measured.case),
        _typical(verdict.measured.case, spent.ours),
        _typical(verdict.measured.case, spent.floor),
        _number(verdict.ratio),
        _number(verdict.committed),
        change,
        word,
    )


def _typical(case: Case, spent: list[float]) -> str:
    return f"{typical(case, spent):.1f}" if spent else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
