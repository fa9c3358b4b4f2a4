#!/usr/bin/env python3
"""Measure gateways side by side in one run and write RESULTS.md. Started by run.sh, which builds the harness."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import crossing
import open_streams
import plan
import plots
import relaying_tables
from gateways import SAMPLED
from memory import measure_memory
from relaying import GATEWAYS, Bench, say
from results import circumstances, machine, replaced
from running import GATEWAY_CORE, HERE, LOGS, OTHER_CORE, end_in_order, pin
from upstreams import Upstreams, counted, upstreams

if TYPE_CHECKING:
    from figures import Document
    from load import Row

PAGE = HERE / "RESULTS.md"
ROWS = HERE / "relaying.json"
PLOTS = HERE / "plots"
TRANSLATING = ("penstock", "litellm")
"""Those whose translation is measured too."""


def relay(base: Upstreams, options: argparse.Namespace) -> Document:
    """Measure what every gateway adds."""
    rounds, seconds = options.rounds or (2 if options.quick else 3), options.seconds or (0.5 if options.quick else 1.6)
    with ExitStack() as stack:
        bench = Bench(base, stack)
        bench.start(options.names)
        running = [name for name in options.names if name in bench]
        todo = plan.turns(rounds, wanted := plan.cases(quick=options.quick), running)
        more = [] if options.quick else plan.judged_turns(rounds, wanted, running)
        bench.measure(todo + more, seconds)
        held = open_streams.measure(bench, open_streams.MEASURED, 4 if options.quick else 8)
        made = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "gateway_core": GATEWAY_CORE,
            "other_core": OTHER_CORE,
            "rounds": rounds,
            "judged_rounds": rounds if options.quick else max(rounds, plan.JUDGED_ROUNDS),
            "seconds": seconds,
            "quick": options.quick,
            "sampled": f"{float(SAMPLED) * 100:g} %",
            "traces": counted(base.sink, "traces"),
        }
        document = {"made": made, "gateways": bench.gateways, "open_streams": held, "rows": bench.rows}
        # Before anything else can go wrong.
        ROWS.write_text(written(document))
        return document


def written(document: Document) -> str:
    """Return a run as it is kept: a row on each line."""
    parts = [f'"{name}": {json.dumps(document[name])}' for name in ("made", "open_streams")]
    for name in ("gateways", "rows"):
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in document[name])
        parts.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def draw(document: Document) -> None:
    """Write the plots of a run in place of those of the last one."""
    PLOTS.mkdir(exist_ok=True)
    drawn = plots.plots(document)
    for name in plots.PLOTS:
        if name in drawn:
            (PLOTS / f"{name}.svg").write_text(drawn[name])
        else:
            (PLOTS / f"{name}.svg").unlink(missing_ok=True)


def translate(base: Upstreams, options: argparse.Namespace) -> dict[str, str]:
    """Measure what translation costs, through gateways and in process."""
    rounds, seconds = options.rounds or 3, options.seconds or 5
    rows: list[Row] = []
    versions: dict[str, str] = {}
    in_process = crossing.in_process(3 * rounds)
    for name in options.names:
        if name not in TRANSLATING:
            continue
        say(f"{name}: starting")
        try:
            with GATEWAYS[name](base) as gateway:
                versions[name] = gateway.version
                rows += crossing.measure(base, gateway, rounds, seconds)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            versions[name] = "could not be run"
            say(f"{name}: {error}; see results/{name}.log")
    how = circumstances(versions, rounds, seconds)
    return {"Translation": f"{how}\n\n{crossing.section(rows, in_process)}"}


def keep(sections: dict[str, str]) -> str:
    """Put what was measured into the page, and return it."""
    page = replaced(PAGE.read_text() if PAGE.exists() else "", sections)
    PAGE.write_text(page)
    return page


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(GATEWAYS), help="gateways to measure, comma separated")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter cases: at most eight minutes, not 32")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0, help="of each measurement")
    parser.add_argument("--translation", action="store_true", help="only what translation costs")
    parser.add_argument(
        "--memory",
        action="store_true",
        help="only the edge's memory over 200,000 requests and 20,000 abandoned streams",
    )
    parser.add_argument(
        "--again", action="store_true", help="measure nothing: write the page from the rows of the last run"
    )
    options = parser.parse_args()
    asked = options.only.split(",")
    options.names = [name for name in GATEWAYS if name in asked]
    unknown = [name for name in asked if name not in GATEWAYS]
    if unknown:
        parser.error(f"--only: no such gateway: {', '.join(unknown)}; there are {', '.join(GATEWAYS)}")
    return options


def measured(options: argparse.Namespace) -> dict[str, str]:
    """Measure what was asked for, and return the sections of the page."""
    with upstreams() as base:
        if options.translation:
            return translate(base, options)
        if options.memory:
            with GATEWAYS["penstock"](base) as gateway:
                return {"The edge's memory": measure_memory(gateway)}
        document = relay(base, options)
    return {"Relaying": shown(document)}


def shown(document: dict[str, Any]) -> str:
    """Draw a run and return its section."""
    draw(document)
    return relaying_tables.section(document)


def main() -> None:
    """Measure and write."""
    options = arguments()
    LOGS.mkdir(exist_ok=True)
    end_in_order()
    began = time.monotonic()
    if options.again:
        sections = {"Relaying": shown(json.loads(ROWS.read_text()))}
    else:
        pin(os.getpid(), OTHER_CORE)
        sections = measured(options)
    print(keep(sections))
    print(f"{PAGE} is written, after {(time.monotonic() - began) / 60:.1f} min.", file=sys.stderr)


if __name__ == "__main__":
    main()
