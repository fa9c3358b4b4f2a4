#!/usr/bin/env python3
"""Fail when Penstock's CPU per request, as a multiple of nginx's in this run, has grown by more than 15 %.

Started by `make bench-check`. Measures a few cases of nginx, the sources and the compiled modules in turn; what looks
dearer is repeated before it counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from figures import FLOOR, OURS, Measured, ratios
from judging import ADVICE, Spent, judge, suspicious, table
from plan import CHECKED, Turn
from relaying import Bench, say
from results import machine
from running import HERE, LOGS, OTHER_CORE, end_in_order, pin
from upstreams import upstreams

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROWS = HERE / "relaying.json"
BUDGET_SECONDS = 240.0
"""From when all have started; no measurement begins later."""
NOTHING_TO_COMPARE = 2


class Check:
    """The gateways, and what they spent so far."""

    def __init__(self, bench: Bench, ours: Sequence[str], seconds: float, deadline: float) -> None:
        self._bench = bench
        self._seconds = seconds
        self._deadline = deadline
        self._round = 0
        self.spent = {Measured(name, case): Spent() for name in ours for case in CHECKED}
        self.others: list[float] = []
        """The part of the gateways' core that others used, in each measurement."""

    def round(self, wanted: Iterable[Measured]) -> bool:
        """Measure once, case by case, nginx and ours right after each other; returns whether there was time."""
        self._round += 1
        asked = list(wanted)
        for case in dict.fromkeys(measured.case for measured in asked):
            if time.monotonic() > self._deadline:
                return False
            ours = [measured for measured in asked if measured.case == case]
            names = [FLOOR, *(measured.gateway for measured in ours)]
            for name in names if self._round % 2 else reversed(names):
                cpu_us = self._take(Turn(self._round, case, name))
                for measured in ours:
                    if cpu_us is not None and name == FLOOR:
                        self.spent[measured].floor.append(cpu_us)
                    elif cpu_us is not None and name == measured.gateway:
                        self.spent[measured].ours.append(cpu_us)
        return True

    def _take(self, turn: Turn) -> float | None:
        """Measure one gateway in one case; None where it failed."""
        row = self._bench.take(turn, self._seconds)
        words = f"{row.get('cpu_us', 0):7.1f} us" if row["n"] else row.get("err", "no answer")
        say(f"round {turn.round} {turn.gateway:17} {turn.case!s:42} {words}  errors {row['errs']}")
        if not row["n"] or row["errs"]:
            return None
        self.others.append(row.get("others", 0.0))
        return float(row["cpu_us"])


def run(rounds: int, repeats: int, seconds: float, committed: dict[Measured, float]) -> Check:
    """Measure, and repeat what looks dearer."""
    with upstreams() as base, ExitStack() as stack:
        bench = Bench(base, stack)
        bench.start((FLOOR, *OURS))
        ours = [name for name in OURS if name in bench]
        if FLOOR not in bench or not ours:
            sys.exit("Nothing was compared: nginx or Penstock could not be run.")
        check = Check(bench, ours, seconds, time.monotonic() + BUDGET_SECONDS)
        for _ in range(rounds):
            check.round(check.spent)
        for _ in range(repeats):
            again = suspicious(judge(committed, check.spent))
            if not again or not check.round(again):
                break
    return check


def main() -> int:
    """Measure, judge, tell."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--repeats", type=int, default=6, help="further rounds of what looks dearer")
    arguments.add_argument("--seconds", type=float, default=1.2, help="of each measurement")
    options = arguments.parse_args()
    if not ROWS.exists():
        say(f"{ROWS.name} is not there: there is nothing to compare with. `make bench` makes it.")
        return NOTHING_TO_COMPARE
    document = json.loads(ROWS.read_text())
    committed = ratios(document["rows"])
    if not any(measured.case in CHECKED for measured in committed):
        say(f"{ROWS.name} has none of the cases that are compared. `make bench` measures them.")
        return NOTHING_TO_COMPARE
    LOGS.mkdir(exist_ok=True)
    end_in_order()
    pin(os.getpid(), OTHER_CORE)
    check = run(options.rounds, options.repeats, options.seconds, committed)
    verdicts = judge(committed, check.spent)
    print(table(verdicts))
    print(f"\nCommitted: {document['made']['date']}, {document['made']['machine']}. Here: {machine()}.")
    for name in OURS:
        if not any(measured.gateway == name for measured in check.spent):
            print(f"Not compared, since it could not be run: {name}; see {LOGS.name}/{name}.log.")
    if check.others:
        print(f"Others used {statistics.median(check.others) * 100:.0f} % of the gateways' core meanwhile.")
    if suspicious(verdicts):
        print(f"\nPenstock costs more beside nginx than was committed.\n{ADVICE}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
