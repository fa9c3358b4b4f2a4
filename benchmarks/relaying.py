"""Messages clients on an upstream that speaks Messages: what each gateway adds."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from gateways import DIRECT
from load import SMALL_BYTES, Row, cpu, load, told

if TYPE_CHECKING:
    from gateways import Running

CASES: dict[str, dict[str, Any]] = {
    "unary 1 KB, 1 connection": {"connections": 1, "pad": SMALL_BYTES},
    "unary 1 KB, 16 connections": {"connections": 16, "pad": SMALL_BYTES},
    "unary 1 KB, 64 connections": {"connections": 64, "pad": SMALL_BYTES},
    "unary 100 KB, 16 connections": {"connections": 16, "pad": 100_000},
    "paced streams, 64 at once": {"connections": 64, "paced": True, "stream": True},
}


def measure(gateway: Running, rounds: int, seconds: float) -> list[Row]:
    """Every case of one gateway, each beside the direct path in the same moment."""
    rows = []
    for number in range(rounds):
        for case, options in CASES.items():
            direct = load(None, DIRECT, **options, seconds=min(2, seconds))
            row = load(gateway, gateway.messages, **options, seconds=seconds)
            rows.append(
                row | {"gateway": gateway.name, "case": case, "direct_p50_ms": direct["p50_ms"], "direct": direct}
            )
            print(f"  round {number + 1}/{rounds} {gateway.name:9} {case:30} {told(row)}", flush=True)
    return rows


NOTE = (
    "Penstock runs with keys, limits, spool, ledger and metrics on; its figure is the edge's process. "
    "Nginx, Portkey and LiteLLM check no keys and keep no books here."
)


def section(rows: list[Row], names: list[str]) -> str:
    """Medians over rounds as Markdown, with the ratio to nginx of the same run."""
    return "\n\n".join([NOTE, *(_table(case, [row for row in rows if row["case"] == case], names) for case in CASES)])


def _table(case: str, rows: list[Row], names: list[str]) -> str:
    unit = "chunk" if "stream" in CASES[case] else "request"
    lines = [
        f"### {case}\n",
        f"| gateway | CPU µs per {unit} | × nginx | added p50 ms | requests/s | errors |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        mine = _served(rows, name)
        if not mine:
            lines.append(f"| {name} | it answered none of these with success | | | | |")
            continue
        spent, floor = _median_cpu(mine), _median_cpu(_served(rows, "nginx"))
        added = statistics.median(row["p50_ms"] - row["direct_p50_ms"] for row in mine)
        rate = statistics.median(row["rps"] for row in mine)
        times = f"{spent / floor:.1f}" if floor else "–"
        lines.append(
            f"| {name} | {spent:.0f} | {times} | {added:.2f} | {rate:.0f} | {sum(row['errs'] for row in mine)} |"
        )
    return "\n".join(lines)


def _served(rows: list[Row], name: str) -> list[Row]:
    return [row for row in rows if row["gateway"] == name and row["n"] > row["errs"]]


def _median_cpu(rows: list[Row]) -> float:
    return statistics.median(cpu(row) for row in rows) if rows else 0.0
