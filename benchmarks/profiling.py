#!/usr/bin/env python3
"""Say where the edge's CPU time goes: a real local gateway under load, sampled by py-spy. Started by profile.sh.

Each case is driven twice: once undisturbed, for the CPU time of each thread as the kernel counts it, and once with
py-spy looking, for how the main thread's part of it is spread over the stages of a request.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateways import nginx, penstock
from load import SMALL_BYTES, cpu, load
from running import HERE, OTHER_CORE, end_in_order, on_core
from stages import STAGES, by_stage
from upstreams import upstreams

if TYPE_CHECKING:
    from collections import Counter

    from gateways import Running

PY_SPY = HERE / ".tools/py-spy/bin/py-spy"
_RATE = 400
"""Samples per second."""

CASES: dict[str, dict[str, Any]] = {
    "unary 1 KB, 1 connection": {"connections": 1, "pad": SMALL_BYTES},
    "unary 1 KB, 32 connections": {"connections": 32, "pad": SMALL_BYTES},
    "unary 100 KB, 16 connections": {"connections": 16, "pad": 100_000},
    "paced streams, 64 at once": {"connections": 64, "paced": True, "stream": True},
}


def _driven(gateway: Running, case: str, seconds: float) -> float:
    """Return the CPU microseconds of one case for a request, or for a chunk of a stream."""
    row = load(gateway, gateway.messages, **CASES[case], seconds=seconds)
    if row["errs"]:
        sys.exit(f"{gateway.name}: {row['errs']} errors: {row.get('err', '')}")
    return cpu(row)


def _threads(pid: int) -> dict[int, int]:
    """Return the CPU time of each thread of a process, in ticks."""
    ticks = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        ticks[int(task.name)] = int(fields[11]) + int(fields[12])
    return ticks


@dataclass(frozen=True)
class Profile:
    """Where one case's CPU time went: microseconds per request (or chunk) by stage."""

    case: str
    unit: str
    total: float
    stages: dict[str, float]
    others: float
    """Of all threads but the main one."""
    floor: float
    """Of nginx in the same moment; 0 without it."""
    leaves: dict[str, Counter[str]]
    samples: int


def profile(gateway: Running, floor: Running | None, case: str, seconds: float) -> Profile:
    """Drive one case twice, and put what came of both together."""
    before = _threads(gateway.pid)
    total = _driven(gateway, case, seconds)
    after = _threads(gateway.pid)
    spent = {thread: ticks - before.get(thread, 0) for thread, ticks in after.items()}
    main = total * spent[gateway.pid] / max(1, sum(spent.values()))
    least = 0.0 if floor is None else _driven(floor, case, seconds / 2)
    counts, leaves = by_stage(_sampled(gateway, case, seconds))
    samples = sum(counts.values())
    stages = {name: main * counts[name] / max(1, samples) for name in STAGES}
    unit = "chunk" if "stream" in CASES[case] else "request"
    return Profile(case, unit, total, stages, total - main, least, leaves, samples)


def _sampled(gateway: Running, case: str, seconds: float) -> list[str]:
    """Drive one case and return the stacks of the edge's main thread."""
    driving = threading.Thread(target=_driven, args=(gateway, case, seconds))
    driving.start()
    time.sleep(0.7)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "stacks"
        command = [*on_core(OTHER_CORE), str(PY_SPY), "record", "--pid", str(gateway.pid), "--format", "raw"]
        command += ["--rate", str(_RATE), "--duration", str(max(1, int(seconds - 1))), "--output", str(out)]
        command += ["--nonblocking", "--full-filenames", "--threads"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        driving.join()
        if done.returncode or not out.exists():
            sys.exit(f"py-spy: {done.stderr[-500:]}")
        return [line for line in out.read_text().splitlines() if "MainThread" in line.partition(";")[0]]


def table(profiles: list[Profile]) -> str:
    """Return the stages of all cases side by side, as Markdown."""
    lines = [
        "| µs of edge CPU | " + " | ".join(f"{p.case}, per {p.unit}" for p in profiles) + " |",
        "|---|" + "---|" * len(profiles),
    ]
    lines += [
        f"| {name} | " + " | ".join(f"{p.stages[name]:.1f}" for p in profiles) + " |"
        for name in STAGES
        if any(p.stages[name] >= 0.05 for p in profiles)
    ]
    lines.append("| other threads | " + " | ".join(f"{p.others:.1f}" for p in profiles) + " |")
    lines.append("| **all** | " + " | ".join(f"**{p.total:.0f}**" for p in profiles) + " |")
    if any(p.floor for p in profiles):
        lines.append("| nginx, all | " + " | ".join(f"{p.floor:.0f}" for p in profiles) + " |")
    return "\n".join(lines)


def details(found: Profile, most: int = 6) -> str:
    """Return what ran most in each stage of one case."""
    lines = [f"{found.case} ({found.samples} samples)"]
    for name, counts in found.leaves.items():
        share = found.stages[name] / max(1, sum(counts.values()))
        what = ", ".join(f"{leaf} {count * share:.1f}" for leaf, count in counts.most_common(most))
        lines.append(f"  {name}: {what}")
    return "\n".join(lines)


def main() -> None:
    """Profile and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=8, help="of load, twice for each case")
    arguments.add_argument("--only", default="", help="a part of a case's name")
    arguments.add_argument("--details", action="store_true", help="also the functions within each stage")
    options = arguments.parse_args()
    end_in_order()
    cases = [case for case in CASES if options.only in case]
    with ExitStack() as stack:
        base = stack.enter_context(upstreams())
        gateway = stack.enter_context(penstock(base))
        floor = stack.enter_context(nginx(base)) if shutil.which("nginx") else None
        found = [profile(gateway, floor, case, options.seconds) for case in cases]
    print(table(found))
    if options.details:
        print("\n" + "\n\n".join(map(details, found)))


if __name__ == "__main__":
    main()
