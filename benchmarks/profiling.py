#!/usr/bin/env python3
"""Say where the edge's CPU time goes: a real local gateway under load, sampled by py-spy. Started by profile.sh.

Each case is driven twice: once undisturbed, for the CPU time of each thread as the kernel counts it, and once with
py-spy looking, for how the main thread's part of it is spread over the stages of a request.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateways import ACCOUNT, RESOURCES
from running import started, wait_for
from stages import STAGES, by_stage

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

HERE = Path(__file__).parent
PY_SPY = HERE / ".tools/py-spy/bin/py-spy"
_TICKS = os.sysconf("SC_CLK_TCK")
_DELTAS = 50
"""In each of the mock's streams."""
_RATE = 400
"""Samples per second."""

CASES: dict[str, dict[str, Any]] = {
    "unary 1 KB, 1 connection": {"connections": 1, "pad": 1_000},
    "unary 1 KB, 32 connections": {"connections": 32, "pad": 1_000},
    "unary 100 KB, 16 connections": {"connections": 16, "pad": 100_000},
    "paced streams, 64 at once": {"connections": 64, "paced": True},
}


@dataclass(frozen=True)
class Local:
    """A gateway with its mocks, on ports of its own."""

    edge: int
    url: str
    key: str


@contextmanager
def local() -> Iterator[Local]:
    """Start two mocks (fast and paced) and `penstock up` with keys, limits, spool, ledger and metrics on."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fast, paced, port, admin = (_free_port() for _ in range(4))
        mock = [*_on(1), str(HERE / "bin/mock"), "-addr"]
        for number, pace in ((fast, []), (paced, ["-ttfb", "100ms", "-gap", "10ms"])):
            running = stack.enter_context(started([*mock, f"127.0.0.1:{number}", *pace], log=f"profile-mock-{number}"))
            wait_for(f"http://127.0.0.1:{number}/stats", running)
        (folder / "resources.yaml").write_text(
            RESOURCES
            + "".join(
                ACCOUNT.format(provider="Anthropic", owner="anthropic", url=f"http://127.0.0.1:{number}", model=model)
                for number, model in ((fast, "claude-mock"), (paced, "claude-paced"))
            )
        )
        command = [*_on(1), str(Path(sys.executable).parent / "penstock"), "up"]
        command += ["--resources", str(folder / "resources.yaml"), "--data-dir", str(folder / "data")]
        command += ["--port", str(port), "--admin-port", str(admin)]
        running = stack.enter_context(started(command, log="profile-penstock"))
        wait_for(f"http://127.0.0.1:{port}/readyz", running)
        edge = int((folder / "data/run/edge-0.pid").read_text())
        if (os.cpu_count() or 1) > 1:
            subprocess.run(["taskset", "-a", "-p", "-c", "0", str(edge)], check=True, capture_output=True)
        key = (folder / "data/secrets/bench/api-key").read_text().strip()
        yield Local(edge, f"http://127.0.0.1:{port}/v1/messages", key)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _on(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > core else []


def _load(gateway: Local, seconds: float, *, connections: int, pad: int = 0, paced: bool = False) -> list[str]:
    command = [*_on(1), str(HERE / "bin/loadgen"), "-json", "-url", gateway.url, "-pid", str(gateway.edge)]
    command += ["-model", "claude-paced" if paced else "claude-mock", "-c", str(connections), "-pad", str(pad)]
    command += ["-d", f"{seconds}s", "-warm", "1s", "-H", f"x-api-key: {gateway.key}"]
    return [*command, "-stream"] if paced else command


def _driven(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    if row["errs"]:
        sys.exit(f"{row['errs']} errors: {row.get('err', '')}")
    return row


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
    leaves: dict[str, Counter[str]]
    samples: int


def profile(gateway: Local, case: str, seconds: float) -> Profile:
    """Drive one case twice, and put what came of both together."""
    options = CASES[case]
    before = _threads(gateway.edge)
    row = _driven(_load(gateway, seconds, **options))
    after = _threads(gateway.edge)
    units = _DELTAS if options.get("paced") else 1
    total = float(row["cpu_ms_per_req"]) * 1000 / units
    spent = {thread: ticks - before.get(thread, 0) for thread, ticks in after.items()}
    main = total * spent[gateway.edge] / max(1, sum(spent.values()))
    lines = _sampled(gateway, seconds, options)
    counts, leaves = by_stage(lines)
    samples = sum(counts.values())
    stages = {name: main * counts[name] / max(1, samples) for name in STAGES}
    return Profile(case, "chunk" if options.get("paced") else "request", total, stages, total - main, leaves, samples)


def _sampled(gateway: Local, seconds: float, options: dict[str, Any]) -> list[str]:
    with subprocess.Popen(_load(gateway, seconds, **options), stdout=subprocess.DEVNULL) as load:
        time.sleep(1.2)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "stacks"
            command = [*_on(1), str(PY_SPY), "record", "--pid", str(gateway.edge), "--format", "raw"]
            command += ["--rate", str(_RATE), "--duration", str(max(1, int(seconds - 1))), "--output", str(out)]
            command += ["--nonblocking", "--full-filenames", "--threads"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            load.wait()
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
    with local() as gateway:
        found = [profile(gateway, case, options.seconds) for case in CASES if options.only in case]
    print(table(found))
    if options.details:
        print("\n" + "\n\n".join(map(details, found)))


if __name__ == "__main__":
    main()
