"""What each gateway adds to requests in a format that its upstream speaks: the rows of one run."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from gateways import blind_relay, direct, nginx, penstock, penstock_compiled
from load import cpu, load
from peers import litellm, portkey, sglang_router, tensorzero
from plan import KINDS, TAKING_PART, Clock, Turn, hopeless
from running import GATEWAY_CORE, resident_mb, sleep, wake

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from gateways import Running
    from load import Row
    from plan import Case
    from upstreams import Upstreams

GATEWAYS = {
    "nginx": nginx,
    "blind-relay": blind_relay,
    "penstock": penstock,
    "penstock-compiled": penstock_compiled,
    "portkey": portkey,
    "litellm": litellm,
    "tensorzero": tensorzero,
    "sglang-router": sglang_router,
}
SETTLE_SECONDS = 2.0
CATCH_UP_SECONDS = 0.3
"""What a gateway that has slept is given for what its own clocks ask of it."""
WARM_SECONDS = 1.0
WARMED = ("unary 1 KB", "unpaced streams")
"""What each gateway is given to do before anything is measured."""
DIRECT_SECONDS = 0.6
"""Of a case with many connections, where the way past the gateways is no more than a reference."""


class Bench:
    """All gateways of a comparison, asleep but for the one that is being measured."""

    def __init__(self, base: Upstreams, stack: ExitStack) -> None:
        self._base = base
        self._stack = stack
        self._running: dict[str, Running] = {"direct": stack.enter_context(direct(base))}
        self._spent: dict[tuple[str, str, str], float | None] = {}
        self._given_up: set[tuple[str, Case]] = set()
        self.gateways: list[dict[str, Any]] = []
        self.rows: list[Row] = []

    def __getitem__(self, name: str) -> Running:
        return self._running[name]

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def start(self, names: Sequence[str]) -> None:
        """Start all of them; one that cannot be run is noted."""
        for name in names:
            began = time.monotonic()
            say(f"{name}: starting")
            try:
                running = self._stack.enter_context(GATEWAYS[name](self._base))
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                say(f"{name}: {error}; see results/{name}.log")
                self.gateways.append({"name": name, "failed": " ".join(str(error).split())[:200]})
                continue
            say(f"{name} {running.version}: up after {time.monotonic() - began:.1f} s")
            self._running[name] = running
            time.sleep(SETTLE_SECONDS)
            known = {"name": name, "version": running.version, "on": running.on, "equivalent": running.equivalent}
            self.gateways.append(known | {"idle_mb": round(resident_mb(running.pid), 1)})
            self._warm(running)
            self.rest(name)

    def _warm(self, running: Running) -> None:
        """Let a gateway load and compile what it needs; what does not work is found out later."""
        for form, names in TAKING_PART.items():
            way = running.way(form)
            if way is None or running.name not in names:
                continue
            for kind in WARMED:
                with contextlib.suppress(RuntimeError, OSError, ValueError, subprocess.SubprocessError):
                    load(running, way, **KINDS[kind], seconds=WARM_SECONDS)

    def rest(self, name: str) -> None:
        """Let a gateway sleep."""
        for root in self._running[name].roots:
            sleep(root)

    def rouse(self, name: str) -> None:
        """Wake a gateway."""
        for root in self._running[name].roots:
            wake(root)
        if name in {"penstock", "penstock-compiled"}:
            time.sleep(CATCH_UP_SECONDS)

    def measure(self, todo: Sequence[Turn], seconds: float) -> None:
        """Take all turns, telling how far it is."""
        clock, rounds = Clock(seconds + 1.2), max(turn.round for turn in todo) + 1
        for number, turn in enumerate(todo):
            began = time.monotonic()
            row = self.take(turn, seconds)
            clock.note(turn, time.monotonic() - began)
            left = clock.left(todo[number + 1 :])
            place = f"[{number + 1}/{len(todo)}, {left / 60:.1f} min left]"
            say(f"{place} round {turn.round + 1}/{rounds} {turn.gateway:13} {turn.case!s:42} {_told(row)}")
        for known in self.gateways:
            self._weigh(known)

    def _weigh(self, known: dict[str, Any]) -> None:
        running = self._running.get(known["name"])
        if running is None:
            return
        known["after_mb"] = round(resident_mb(running.pid), 1)
        known["requests"] = sum(row["n"] for row in self.rows if row["gateway"] == known["name"])

    def take(self, turn: Turn, seconds: float) -> Row:
        """Measure once; a case in which a gateway failed altogether, or would take too long, is not tried."""
        case, name = turn.case, turn.gateway
        row: Row = {**case._asdict(), "gateway": name, "round": turn.round, "n": 0, "errs": 0}
        if (name, case) in self._given_up:
            return row | {"err": "gave up"}
        if hopeless(case, self._spent.get((name, case.form, case.known_by))):
            self._given_up.add((name, case))
            row["slow"] = True
        else:
            row |= self._measured(case, name, seconds)
            if row["n"]:
                self._spent[name, case.form, case.kind] = row.get("cpu_us")
            else:
                self._given_up.add((name, case))
        self.rows.append(row)
        return row

    def _measured(self, case: Case, name: str, seconds: float) -> Row:
        running = self._running[name]
        way = running.way(case.form)
        if way is None:
            return {"err": f"it does not speak {case.form}"}
        if name == "direct" and case.connections > 1:
            seconds = min(seconds, DIRECT_SECONDS)
        self.rouse(name)
        try:
            report = load(running, way, **KINDS[case.kind], connections=case.connections, seconds=seconds)
            return kept(report, quantiles=case.connections == 1 and not case.streams)
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
            return {"err": str(error)[:200]}
        finally:
            self.rest(name)


KEPT = {
    "rps": "rps",
    "p50_ms": "p50_ms",
    "p99_ms": "p99_ms",
    "ttft50_ms": "first_ms",
    "ttft99_ms": "first99_ms",
    "chunk50_ms": "transit_ms",
    "chunk99_ms": "transit99_ms",
}


def kept(report: Row, *, quantiles: bool = True) -> Row:
    """Return what of the load generator's report is kept: rounded, CPU in microseconds for a request or a chunk."""
    row: Row = {"n": report["n"], "errs": report["errs"]}
    if report["errs"]:
        row["err"] = report.get("err", "")[:160]
    if not report["n"]:
        return row
    row |= {mine: brief(report[theirs]) for theirs, mine in KEPT.items() if theirs in report}
    if quantiles:
        row["quantiles_ms"] = [brief(value) for value in report["quantiles_ms"]]
    if "cpu_ms_per_req" in report:
        row["cpu_us"] = brief(cpu(report))
        busy = report.get("core_busy") or []
        if len(busy) > GATEWAY_CORE:
            row["others"] = brief(max(0.0, busy[GATEWAY_CORE] - report.get("cpu_cores", 0.0)))
    if "beside_ms_per_req" in report:
        row["beside_us"] = brief(cpu(report | {"cpu_ms_per_req": report["beside_ms_per_req"]}))
    return row


def brief(value: float) -> float:
    """Round to four significant digits."""
    return float(f"{value:.4g}")


def _told(row: Row) -> str:
    if not row["n"]:
        return "too slow for this" if row.get("slow") else str(row.get("err", "no answer"))[:120]
    spent = f"  cpu {row['cpu_us']:7.1f} us" if "cpu_us" in row else ""
    return f"{row['rps']:8.0f}/s  p50 {row['p50_ms']:8.3f} ms{spent}" + (f"  {row['errs']} errors" * bool(row["errs"]))


def say(words: str) -> None:
    """Tell how the run goes."""
    print(words, file=sys.stderr, flush=True)
