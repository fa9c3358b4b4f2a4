#!/usr/bin/env python3
"""Measure gateways side by side in one run and write RESULTS.md. Started by run.sh, which builds the harness."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gateways import GATEWAYS, HERE, MOCK, PACED, Running, started, wait_for
from memory import measure_memory

RESULTS = HERE / "results"
Row = dict[str, Any]


def load(
    gateway: Running | None,
    *,
    paced: bool = False,
    connections: int = 16,
    seconds: float = 5,
    pad: int = 0,
    stream: bool = False,
) -> Row:
    """One measurement with the load generator; `None` measures the mock itself."""
    url = (
        (f"{PACED if paced else MOCK}/v1/messages")
        if gateway is None
        else (gateway.paced_url if paced else gateway.url)
    )
    model = "mock-model" if gateway is None else (gateway.paced_model if paced else gateway.model)
    command = [
        "taskset",
        "-c",
        "1",
        str(HERE / "bin/loadgen"),
        "-json",
        "-url",
        url,
        "-model",
        model,
        "-c",
        str(connections),
    ]
    command += ["-d", f"{seconds}s", "-warm", "1s", "-pad", str(pad), "-name", gateway.name if gateway else "direct"]
    if stream:
        command.append("-stream")
    if gateway is not None:
        command += ["-pid", str(gateway.pid)]
        for header in gateway.headers:
            value = header.replace(MOCK, PACED) if paced else header
            command += ["-H", value]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=False)
    if done.returncode:
        sys.exit(f"loadgen: {done.stderr}")
    return dict(json.loads(done.stdout))


CASES: dict[str, dict[str, Any]] = {
    "unary 1 KB, 1 connection": {"connections": 1, "pad": 1000},
    "unary 1 KB, 16 connections": {"connections": 16, "pad": 1000},
    "unary 1 KB, 64 connections": {"connections": 64, "pad": 1000},
    "unary 100 KB, 16 connections": {"connections": 16, "pad": 100_000},
    "paced streams, 64 at once": {"connections": 64, "paced": True, "stream": True},
}


def measure(gateway: Running, rounds: int, seconds: float) -> list[Row]:
    """Every case of one gateway, each beside the direct path in the same moment."""
    rows = []
    for number in range(rounds):
        for case, options in CASES.items():
            direct = load(None, **options, seconds=2)
            row = load(gateway, **options, seconds=seconds)
            rows.append(
                row | {"gateway": gateway.name, "case": case, "direct_p50_ms": direct["p50_ms"], "direct": direct}
            )
            print(
                f"  round {number + 1}/{rounds} {gateway.name:9} {case:30} {row['rps']:9.0f}/s  p50 {row['p50_ms']:7.2f} ms"
                f"  cpu {row.get('cpu_ms_per_req', 0) * 1000:8.0f} us  errors {row['errs']} {row.get('err', '')}",
                flush=True,
            )
    return rows


def chunk_cpu(row: Row) -> float:
    """CPU microseconds per chunk of a stream of 50."""
    return float(row["cpu_ms_per_req"]) * 1000 / 50


def table(rows: list[Row], names: list[str]) -> str:
    """Medians over rounds as Markdown, with the ratio to nginx of the same run."""
    lines = []
    for case in CASES:
        streams = "streams" in case
        unit = "CPU µs per chunk" if streams else "CPU µs per request"
        lines += [
            f"### {case}\n",
            f"| gateway | {unit} | × nginx | added p50 ms | requests/s | errors |",
            "|---|---|---|---|---|---|",
        ]

        def served(name: str, case: str = case) -> list[Row]:
            return [row for row in rows if row["gateway"] == name and row["case"] == case and row["n"] > row["errs"]]

        def cpu(name: str, served: Any = served, streams: bool = streams) -> float:
            return statistics.median(
                chunk_cpu(row) if streams else row["cpu_ms_per_req"] * 1000 for row in served(name)
            )

        floor = cpu("nginx") if served("nginx") else 0.0
        for name in names:
            mine = served(name)
            if not mine:
                lines.append(f"| {name} | it answered none of these with success | | | | |")
                continue
            added = statistics.median(row["p50_ms"] - row["direct_p50_ms"] for row in mine)
            rate = statistics.median(row["rps"] for row in mine)
            times = f"{cpu(name) / floor:.1f}" if floor else "–"
            lines.append(
                f"| {name} | {cpu(name):.0f} | {times} | {added:.2f} | {rate:.0f} | {sum(row['errs'] for row in mine)} |"
            )
        lines.append("")
    return "\n".join(lines)


def machine() -> str:
    """What this ran on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown CPU",
    )
    return f"{model}, Linux {platform.release()}, CPython {platform.python_version()}"


def main() -> None:
    """Measure and write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default=",".join(GATEWAYS), help="gateways to measure, comma separated")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=5)
    arguments.add_argument(
        "--memory",
        action="store_true",
        help="also the edge's memory over 200,000 requests and 20,000 abandoned streams",
    )
    options = arguments.parse_args()
    names = options.only.split(",")
    RESULTS.mkdir(exist_ok=True)
    rows: list[Row] = []
    versions: dict[str, str] = {}
    memory = ""
    mock = ["taskset", "-c", "1", str(HERE / "bin/mock")]
    with (
        started([*mock, "-addr", "127.0.0.1:9100"], log="mock") as fast,
        started([*mock, "-addr", "127.0.0.1:9101", "-ttfb", "100ms", "-gap", "10ms"], log="paced") as slow,
    ):
        wait_for(f"{MOCK}/stats", fast)
        wait_for(f"{PACED}/stats", slow)
        for name in names:
            print(f"{name}: starting", flush=True)
            try:
                with GATEWAYS[name]() as gateway:
                    versions[name] = gateway.version
                    rows += measure(gateway, options.rounds, options.seconds)
                    if name == "penstock" and options.memory:
                        memory = measure_memory(gateway)
            except (RuntimeError, subprocess.SubprocessError) as error:
                versions[name] = "could not be run"
                print(f"{name}: {error}; see results/{name}.log", file=sys.stderr, flush=True)
    (RESULTS / "rows.json").write_text(json.dumps(rows))
    text = (
        "# Results\n\nMade by `make bench`; figures compare within this page only.\n\n"
        f"{time.strftime('%Y-%m-%d')}, {machine()}. Gateway on core 0, mock and load generator on core 1. "
        f"Medians of {options.rounds} rounds of {options.seconds:.0f} s. "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".\n\nPenstock runs with keys, limits, spool, ledger and metrics on; its figure is the edge's process. Nginx, Portkey and LiteLLM check no keys and keep no books here.\n\n"
        + table(rows, names)
        + memory
    )
    (HERE / "RESULTS.md").write_text(text.rstrip() + "\n")
    print(text)


if __name__ == "__main__":
    main()
