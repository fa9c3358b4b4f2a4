"""What the rows of a run come to: for each case and gateway the median and the least of its rounds."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

from plan import CONNECTIONS, KINDS, Case

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from load import Row

FLOOR = "nginx"
BLIND = "blind-relay"
"""What Python costs before it reads anything."""
OURS = ("penstock", "penstock-compiled")
"""Penstock from its sources, and as the image has it."""


class Measured(NamedTuple):
    """One of ours in one case."""

    gateway: str
    case: Case


class Figures:
    """The rows of one run, by case and gateway."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: dict[tuple[Case, str], list[Row]] = {}
        for row in rows:
            case = Case(row["form"], row["kind"], row["connections"])
            self._rows.setdefault((case, row["gateway"]), []).append(row)

    def cases(self, form: str, kind: str) -> list[Case]:
        """List what was measured of a kind."""
        return [case for number in CONNECTIONS if self.gateways(case := Case(form, kind, number))]

    def kinds(self, form: str) -> list[str]:
        """List the kinds that were measured in a format."""
        return [kind for kind in KINDS if self.cases(form, kind)]

    def gateways(self, case: Case) -> list[str]:
        """List who took part in a case."""
        return [name for found, name in self._rows if found == case]

    def rows(self, case: Case, gateway: str) -> list[Row]:
        """Return the rows of a case that have answers."""
        return [row for row in self._rows.get((case, gateway), []) if row["n"]]

    def why_none(self, case: Case, gateway: str) -> str | None:
        """Say why a gateway has no figures in a case; `None` when it has some, or took no part."""
        mine = self._rows.get((case, gateway), [])
        if not mine or any(row["n"] for row in mine):
            return None
        return "slow" if mine[0].get("slow") else str(mine[0].get("err", "no answer"))

    def errors(self, case: Case, gateway: str) -> int:
        """Return how many requests failed."""
        return sum(int(row["errs"]) for row in self._rows.get((case, gateway), []))

    def values(self, case: Case, gateway: str, what: str) -> list[float]:
        """Return one figure of every round."""
        return [float(row[what]) for row in self.rows(case, gateway) if what in row]

    def median(self, case: Case, gateway: str, what: str) -> float | None:
        """Return the median of the rounds."""
        found = self.values(case, gateway, what)
        return statistics.median(found) if found else None

    def least(self, case: Case, gateway: str, what: str) -> float | None:
        """Return the least of the rounds."""
        return min(self.values(case, gateway, what), default=None)

    def times(self, case: Case, gateway: str, beside: str = FLOOR) -> float | None:
        """Return the CPU of a gateway as a multiple of another's, least by least: what noise disturbs least."""
        mine, other = self.least(case, gateway, "cpu_us"), self.least(case, beside, "cpu_us")
        return mine / other if mine and other else None

    def added_values(self, case: Case, gateway: str, what: str) -> list[float]:
        """Return what a gateway adds to the way past it, in each round."""
        past = {row["round"]: float(row[what]) for row in self.rows(case, "direct") if what in row}
        return [
            float(row[what]) - past[row["round"]]
            for row in self.rows(case, gateway)
            if what in row and row["round"] in past
        ]

    def added(self, case: Case, gateway: str, what: str) -> float | None:
        """Return the median over the rounds of what a gateway adds to the way past it."""
        found = self.added_values(case, gateway, what)
        return statistics.median(found) if found else None

    def added_least(self, case: Case, gateway: str, what: str) -> float | None:
        """Return the least of it."""
        return min(self.added_values(case, gateway, what), default=None)

    def others(self) -> float | None:
        """Return the part of the gateways' core that others used meanwhile (median)."""
        found = [float(row["others"]) for rows in self._rows.values() for row in rows if "others" in row]
        return statistics.median(found) if found else None


def compared(case: Case, ours: Sequence[float], floor: Sequence[float]) -> float | None:
    """Return what our rounds spent as a multiple of what the floor's spent."""
    return typical(case, ours) / typical(case, floor) if ours and floor else None


def typical(case: Case, spent: Sequence[float]) -> float:
    """Return what a case costs by some rounds: the least, for noise only ever adds.

    Not where a load pauses: what a packet costs depends then on who sleeps when it comes, so rounds spread widely, and
    their least is the lower the more there are. There it is the median.
    """
    return statistics.median(spent) if case.pauses else min(spent)


def ratios(rows: Iterable[Row]) -> dict[Measured, float]:
    """Return the CPU of each of ours in each case as a multiple of the floor's."""
    rows = list(rows)
    figures = Figures(rows)
    found = {}
    for case in {Case(row["form"], row["kind"], row["connections"]) for row in rows}:
        floor = figures.values(case, FLOOR, "cpu_us")
        for gateway in OURS:
            times = compared(case, figures.values(case, gateway, "cpu_us"), floor)
            if times is not None:
                found[Measured(gateway, case)] = times
    return found


def shown(value: float | None, digits: int = 2) -> str:
    """Return a figure for a table; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


Document = dict[str, Any]
"""One run: `made` (when, where, how), `gateways`, `rows`, and `open_streams` when they were measured."""
