"""chat.completions clients on an upstream that speaks Messages, beside what passes untouched through the same gateway."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from load import SMALL_BYTES, Row, cpu, load, told
from running import GATEWAY_CORE, HERE, on_core
from upstreams import counted

if TYPE_CHECKING:
    from gateways import Running
    from upstreams import Upstreams

GOAL = 2.0
"""What a request of 1 KB that is translated may cost, as a multiple of one that passes."""
PASSES = "Messages to Messages"
CROSSES = "chat to Messages"
SMALL = "unary 1 KB, 16 connections"
CASES: dict[str, dict[str, Any]] = {
    SMALL: {"connections": 16, "pad": SMALL_BYTES},
    "paced streams, 64 at once": {"connections": 64, "paced": True, "stream": True},
}
THROUGH = (
    "Clients of chat.completions on an upstream that speaks Messages, beside what passes untouched. Penstock runs with "
    "keys, limits, spool, ledger and metrics on; LiteLLM checks no keys and keeps no books here."
)
WITHIN = (
    "In process, by the code that the edge runs, with neither network nor books. `× passing` compares with bytes that "
    "pass in the account's format. Steps are measured in loops of their own, which keeps caches warm, so they add up to "
    "less than all."
)
# Which of the mocks' paths a way ends at.
ENDS = {PASSES: "messages", "chat to chat": "chat", CROSSES: "messages"}


def measure(base: Upstreams, gateway: Running, rounds: int, seconds: float) -> list[Row]:
    """Every way through one gateway, in turn; nothing for a gateway that does not translate."""
    ways = {PASSES: gateway.messages, "chat to chat": gateway.chat, CROSSES: gateway.crossing}
    rows: list[Row] = []
    if gateway.crossing is None:
        return rows
    for number in range(rounds):
        for case, options in CASES.items():
            for name, way in ways.items():
                if way is None:
                    continue
                upstream = base.paced if options.get("paced") else base.fast
                before = counted(upstream, ENDS[name])
                row = load(gateway, way, **options, seconds=seconds)
                if counted(upstream, ENDS[name]) - before < row["n"]:
                    raise RuntimeError(f"{gateway.name}, {name}: requests did not arrive as {ENDS[name]}")
                rows.append(row | {"gateway": gateway.name, "case": case, "way": name})
                print(f"  round {number + 1}/{rounds} {gateway.name:9} {name:22} {case:28} {told(row)}", flush=True)
    return rows


def section(rows: list[Row], in_process: str) -> str:
    """Medians over rounds as Markdown, with what translation adds; `in_process` as `translation.py` prints it."""
    tables = (_table(case, [row for row in rows if row["case"] == case]) for case in CASES)
    verdict = _verdict([row for row in rows if row["case"] == SMALL])
    return "\n\n".join(part for part in (THROUGH, *tables, verdict, WITHIN, in_process) if part)


def _verdict(rows: list[Row]) -> str:
    crossing, passing = _median_cpu(rows, "penstock", CROSSES), _median_cpu(rows, "penstock", PASSES)
    if crossing is None or passing is None:
        return ""
    return f"Through Penstock a translated request of 1 KB costs {crossing / passing:.2f} × one that passes (goal: {GOAL:g})."


def _table(case: str, rows: list[Row]) -> str:
    unit = "chunk" if "stream" in CASES[case] else "request"
    lines = [
        f"### {case}\n",
        f"| gateway | way | CPU µs per {unit} | × {PASSES} | × penstock | p50 ms | requests/s | errors |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for gateway, way in dict.fromkeys((row["gateway"], row["way"]) for row in rows):
        mine = [row for row in rows if (row["gateway"], row["way"]) == (gateway, way)]
        spent = _median_cpu(rows, gateway, way)
        if spent is None:
            lines.append(f"| {gateway} | {way} | none of these succeeded: {mine[-1].get('err', '')[:120]} | | | | | |")
            continue
        passing, ours = _median_cpu(rows, gateway, PASSES), _median_cpu(rows, "penstock", way)
        p50 = statistics.median(row["p50_ms"] for row in mine)
        rate = statistics.median(row["rps"] for row in mine)
        errors = sum(row["errs"] for row in mine)
        lines.append(
            f"| {gateway} | {way} | {spent:.0f} | {_ratio(spent, passing)} | {_ratio(spent, ours)}"
            f" | {p50:.2f} | {rate:.0f} | {errors} |"
        )
    return "\n".join(lines)


def _median_cpu(rows: list[Row], gateway: str, way: str) -> float | None:
    spent = [cpu(row) for row in rows if (row["gateway"], row["way"]) == (gateway, way) and row["n"] > row["errs"]]
    return statistics.median(spent) if spent else None


def _ratio(spent: float, beside: float | None) -> str:
    return f"{spent / beside:.2f}" if beside else "–"


def in_process(rounds: int) -> str:
    """Return the tables of what translation costs within a process of its own, on the gateways' core."""
    print("translation in process", flush=True)
    command = [*on_core(GATEWAY_CORE), sys.executable, str(HERE / "translation.py"), "--rounds", str(rounds)]
    command += ["--json", str(HERE / "results/translation.json")]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
