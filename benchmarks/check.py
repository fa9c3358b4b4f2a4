#!/usr/bin/env python3
"""Fail when Penstock's CPU per request, as a multiple of nginx's in this run, has grown by more than 15 %.

Started by `make bench-check`. Measures a few cases of both in turn; what looks dearer is repeated before it counts.
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

from figures import ratios
from judging import ADVICE, Spent, judge, suspicious, table
from plan import CHECKED, Turn
from relaying import Bench, say
from results import machine
from running import HERE, LOGS, OTHER_CORE, end_in_order, pin
from upstreams import upstreams

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plan import Case

ROWS = HERE / "relaying.json"
PAIR = ("nginx", "penstock")
BUDGET_SECONDS = 165.0
"""From the first start; no measurement begins later."""
NOTHING_TO_COMPARE = 2


class Check:
    """Both gateways, and what they spent so far."""

    def __init__(self, bench: Bench, seconds: float, deadline: float) -> None:
        self._bench = bench
        self._seconds = seconds
        self._deadline = deadline
        self._round = 0
        self.spent = {case: Spent() for case in CHECKED}
        self.others: list[float] = []
        """The part of the gateways' core that others used, in each measurement."""

    def round(self, cases: Iterable[Case]) -> bool:
        """Measure cases once, in both gateways, one right after the other; returns whether there was time."""
        self._round += 1
        pair = PAIR if self._round % 2 else PAIR[::-1]
        for case in cases:
            if time.monotonic() > self._deadline:
                return False
            for name in pair:
                row = self._bench.take(Turn(self._round, case, name), self._seconds)
                mine = self.spent[case].floor if name == "nginx" else self.spent[case].ours
                if row["n"] and not row["errs"]:
                    mine.append(row["cpu_us"])
                    self.others.append(row.get("others", 0.0))
                words = f"{row.get('cpu_us', 0):7.1f} us" if row["n"] else row.get("err", "no answer")
                say(f"round {self._round} {name:9} {case!s:42} {words}  errors {row['errs']}")
        return True


def run(rounds: int, repeats: int, seconds: float, committed: dict[Case, float]) -> Check:
    """Measure, and repeat what looks dearer."""
    deadline = time.monotonic() + BUDGET_SECONDS
    with upstreams() as base, ExitStack() as stack:
        bench = Bench(base, stack)
        bench.start(PAIR)
        if not all(name in bench for name in PAIR):
            sys.exit("Nothing was compared: one of the two could not be run.")
        check = Check(bench, seconds, deadline)
        for _ in range(rounds):
            check.round(CHECKED)
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
    if not any(case in committed for case in CHECKED):
        say(f"{ROWS.name} has none of the cases that are compared. `make bench` measures them.")
        return NOTHING_TO_COMPARE
    LOGS.mkdir(exist_ok=True)
    end_in_order()
    pin(os.getpid(), OTHER_CORE)
    check = run(options.rounds, options.repeats, options.seconds, committed)
    verdicts = judge(committed, check.spent)
    print(table(verdicts))
    print(f"\nCommitted: {document['made']['date']}, {document['made']['machine']}. Here: {machine()}.")
    if check.others:
        print(f"Others used {statistics.median(check.others) * 100:.0f} % of the gateways' core meanwhile.")
    if suspicious(verdicts):
        print(f"\nPenstock costs more beside nginx than was committed.\n{ADVICE}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
