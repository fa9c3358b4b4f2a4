#!/usr/bin/env python3
"""Measure gateways side by side in one run and write RESULTS.md. Started by run.sh, which builds the harness."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import crossing
import relaying
from gateways import GATEWAYS, HERE, MOCK, PACED, TRANSLATING, started, wait_for
from memory import measure_memory
from results import circumstances, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from load import Row

RESULTS = HERE / "results"
PAGE = HERE / "RESULTS.md"


@contextmanager
def mocks() -> Iterator[None]:
    """Run the fast mock and the paced one."""
    mock = ["taskset", "-c", "1", str(HERE / "bin/mock")]
    with (
        started([*mock, "-addr", MOCK.removeprefix("http://")], log="mock") as fast,
        started([*mock, "-addr", PACED.removeprefix("http://"), "-ttfb", "100ms", "-gap", "10ms"], log="paced") as slow,
    ):
        wait_for(f"{MOCK}/stats", fast)
        wait_for(f"{PACED}/stats", slow)
        yield


class Run:
    """What is measured, and what came of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._names = [name for name in options.only.split(",") if not options.translation or name in TRANSLATING]
        self._relayed: list[Row] = []
        self._crossed: list[Row] = []
        self._versions: dict[str, str] = {}
        self._memory = ""

    @property
    def translates(self) -> bool:
        """Whether any of the gateways has translation to measure."""
        return any(name in TRANSLATING for name in self._names)

    def gateways(self) -> None:
        """Measure every gateway, one after another."""
        for name in self._names:
            print(f"{name}: starting", flush=True)
            try:
                self._one(name)
            except (RuntimeError, subprocess.SubprocessError) as error:
                self._versions[name] = "could not be run"
                print(f"{name}: {error}; see results/{name}.log", file=sys.stderr, flush=True)
        (RESULTS / "rows.json").write_text(json.dumps(self._relayed + self._crossed))

    def _one(self, name: str) -> None:
        options = self._options
        with GATEWAYS[name]() as gateway:
            self._versions[name] = gateway.version
            if not options.translation:
                self._relayed += relaying.measure(gateway, options.rounds, options.seconds)
            self._crossed += crossing.measure(gateway, options.rounds, options.seconds)
            if name == "penstock" and options.memory:
                self._memory = measure_memory(gateway)

    def sections(self, in_process: str) -> dict[str, str]:
        """Return what was measured as sections of the page."""
        how = circumstances(self._versions, self._options.rounds, self._options.seconds)
        found = {}
        if self._relayed:
            found["Relaying"] = f"{how}\n\n{relaying.section(self._relayed, self._names)}"
        if self._crossed:
            found["Translation"] = f"{how}\n\n{crossing.section(self._crossed, in_process)}"
        if self._memory:
            found["The edge's memory"] = self._memory
        return found


def main() -> None:
    """Measure and write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default=",".join(GATEWAYS), help="gateways to measure, comma separated")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=5)
    arguments.add_argument("--translation", action="store_true", help="only what translation costs")
    arguments.add_argument(
        "--memory",
        action="store_true",
        help="also the edge's memory over 200,000 requests and 20,000 abandoned streams",
    )
    options = arguments.parse_args()
    RESULTS.mkdir(exist_ok=True)
    run = Run(options)
    in_process = crossing.in_process(3 * options.rounds) if run.translates else ""
    with mocks():
        run.gateways()
    page = replaced(PAGE.read_text() if PAGE.exists() else "", run.sections(in_process))
    PAGE.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
