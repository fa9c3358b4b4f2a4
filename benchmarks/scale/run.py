#!/usr/bin/env python3
"""How Penstock grows: real auth, router, Redis and PostgreSQL with many keys, accounts and edge sessions.

    benchmarks/scale/run.py [--edges 50] [--keys 100000] [--accounts 500] ...

Writes RESULTS.md and results.json beside this file; `--small` only prints, in half a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import explaining  # noqa: E402 -- the tests' servers are found in the root
import stages  # noqa: E402 -- the same
from filling import fill_postgres  # noqa: E402 -- the same
from report import page  # noqa: E402 -- the same
from running import Fleets, Stack, stores  # noqa: E402 -- the same
from world import Size, built_in_models  # noqa: E402 -- the same


def main() -> int:
    options = _options()
    # Who ends the run ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    size = Size(options.edges, options.keys, options.declared, options.projects, options.accounts, options.rows)
    began = time.monotonic()
    results: dict[str, Any] = {"size": vars(options), "machine": _machine(), "load before": os.getloadavg()}
    with TemporaryDirectory(prefix="penstock-scale-") as folder:
        _measure(Path(folder), size, options, results)
    if options.only and (HERE / "results.json").exists():
        before = json.loads((HERE / "results.json").read_text())
        failed = {name: why for name, why in before.get("failed", {}).items() if name not in options.only.split(",")}
        news = {name: results[name] for name in options.only.split(",") if name in results}
        of = before.get("of", {}) | results.get("of", {})
        results = before | news | {"failed": failed | results.get("failed", {}), "of": of}
    results.setdefault("load after", os.getloadavg())
    if not options.only:
        results["seconds"] = time.monotonic() - began
    text = page(results)
    if options.print_only:
        print(text)
    else:
        (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "RESULTS.md").write_text(text)
    print(json.dumps({"seconds": round(results["seconds"]), "failed": sorted(results.get("failed", {}))}))
    return 1 if results.get("failed") else 0


def _measure(folder: Path, size: Size, options: argparse.Namespace, results: dict[str, Any]) -> None:
    price = next(model for model in built_in_models() if model.name == "claude-haiku-4-5").prices[-1].digest
    with stores(folder) as (postgres, redis_url, meter):
        results["stores"] = [str(postgres.query("SHOW server_version")[0][0]), _redis_version()]
        stack = Stack(folder, size, postgres, redis_url, meter)
        fleets: Fleets | None = None
        try:
            _say("fill")
            fill_postgres(postgres.url, size, price)
            postgres.query("SELECT pg_stat_statements_reset()")
            _stage(results, "starts", lambda: stages.starts(stack))
            rows: list[dict[str, Any]] = []
            steps = [(2, stages.REFERENCE_ACCOUNTS), (2, size.accounts), (max(size.edges // 5, 2), size.accounts)]
            if options.only and "idle" not in options.only.split(","):
                steps = []
            if options.only and "starts" not in options.only.split(","):
                stack.start("auth")
            for edges, accounts in [*steps, (size.edges, size.accounts)]:
                if fleets is not None:
                    fleets.end()
                    stack.stop("router")
                _say(f"idle: {edges} edges, {accounts} accounts")
                row, fleets = stages.idle(stack, edges, accounts, options.idle_seconds)
                rows.append(row)
            _stage(results, "idle", lambda: rows)
            some = fleets
            assert some is not None
            _stage(results, "change", lambda: stages.one_account_changes(stack, some))
            _stage(results, "traffic", lambda: stages.traffic(stack, some, options.story_seconds))
            _stage(results, "restarts", lambda: stages.restarts(stack, some, options.restart_seconds))
            _stage(results, "cooldowns", lambda: stages.cooldowns(stack, some))
            some.end()
            fleets = None
            _stage(results, "allows", lambda: stages.allows(stack, options.asked))
            _stage(results, "settlements", lambda: stages.settlements(stack, price, options.settled, "PostgreSQL"))
            _stage(results, "sqlite", lambda: stages.sqlite(stack, price, options.settled))
            _stage(results, "explained", lambda: explaining.explain(postgres.url, size))
            results["processes said"] = [
                line for kind in ("auth", "router") for line in stack.log(kind).splitlines() if "plaintext" not in line
            ][:20]
        except Exception:
            results.setdefault("failed", {})["run"] = type(sys.exc_info()[1]).__name__
            print(traceback.format_exc(), stack.log("auth")[-1500:], stack.log("router")[-1500:], file=sys.stderr)
        finally:
            if fleets is not None:
                fleets.end()
            stack.end()


def _stage(results: dict[str, Any], name: str, measure: Any) -> None:
    """Run one stage; a stage that fails is named, and the others go on."""
    only = results["size"]["only"]
    if only and name not in only.split(","):
        return
    _say(name)
    try:
        results[name] = measure()
        results.setdefault("failed", {}).pop(name, None)
        size, commit = results["size"], results["machine"]["commit"]
        sizes = f"{size['edges']} edges, {size['accounts']} accounts, {size['keys']:,} keys"
        results.setdefault("of", {})[name] = f"commit {commit}, {sizes}, load {os.getloadavg()[0]:.0f}"
    except Exception:
        results.setdefault("failed", {})[name] = type(sys.exc_info()[1]).__name__
        print(traceback.format_exc(), file=sys.stderr)


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _machine() -> dict[str, Any]:
    model = next((row for row in Path("/proc/cpuinfo").read_text().splitlines() if row.startswith("model name")), "")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=HERE
    )
    return {
        "cores": os.cpu_count(),
        "cpu": model.partition(":")[2].strip(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _redis_version() -> str:
    told = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    return told.split("v=")[1].split()[0]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    small = "--small" in sys.argv
    for name, full, little in (
        ("edges", 50, 4),
        ("keys", 100_000, 2_000),
        ("declared", 3_000, 50),
        ("projects", 1_000, 20),
        ("accounts", 500, 20),
        ("rows", 200_000, 2_000),
        ("asked", 2_000, 100),
        ("settled", 2_000, 100),
        ("idle-seconds", 10, 2),
        ("story-seconds", 15, 3),
        ("restart-seconds", 16, 6),
    ):
        parser.add_argument(f"--{name}", type=int, default=little if small else full)
    parser.add_argument("--only", default="", help="measure these stages alone, and leave the others' results")
    parser.add_argument("--small", action="store_true", help="tiny figures, to see that everything works")
    parser.add_argument("--print-only", action="store_true", default=small, help="write no results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
