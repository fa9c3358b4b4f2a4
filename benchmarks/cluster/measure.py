"""How the operator bears 500 accounts and 2,000 keys: real operator, router and auth around a stand-in of the API server.

    .venv/bin/python benchmarks/cluster/measure.py [--accounts 500] [--keys 2000]

What is measured: the first sync, a restart, a list of everything, one change until the router has it, memory, and how
many writes each of these takes. The API server runs in this process; it is Python, and a good part of the work.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.kube import KubeServer
from tests.operator.world import World, account, api_key, plan, secret

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 600.0


def main() -> int:
    options = _options()
    running = KubeServer().in_thread()
    with running as kube, tempfile.TemporaryDirectory(prefix="penstock-cluster-") as folder:
        world = World(Path(folder), kube, running, ("a",))
        try:
            results = _measure(world, options.accounts, options.keys)
        finally:
            world.end()
    print(json.dumps(results, indent=2))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--keys", type=int, default=2000)
    return parser.parse_args()


def _measure(world: World, accounts: int, keys: int) -> dict[str, object]:
    kube = world.kube
    world.start("router", "auth")
    kube.apply(plan("open"))
    for number in range(accounts):
        kube.apply(secret(f"account-{number}", **{"api-key": "sim-key-a"}))
        kube.apply(_account(world, number))
    for number in range(keys):
        kube.apply(api_key(f"key-{number}", project=f"project-{number % 50}"))
    results: dict[str, object] = {"accounts": accounts, "keys": keys}
    print("applied", file=sys.stderr)
    results["first sync"] = _sync(world, accounts, keys)
    print(results, file=sys.stderr)
    time.sleep(5)
    results["restart"] = _restart(world, accounts, keys)
    print(results, file=sys.stderr)
    results["a quiet minute"] = _quiet(world)
    results["list of everything, seconds"] = _mean(world, "penstock_operator_resync_seconds")
    results["one account changed"] = _changes(world, accounts)
    results["one key revoked"] = _revocations(world)
    results["turn, mean seconds"] = _mean(world, "penstock_operator_turn_seconds")
    results["memory, MB"] = _memory(world)
    results["load of the machine"] = [round(load, 1) for load in os.getloadavg()]
    results["cores"] = os.cpu_count()
    return results


def _account(world: World, number: int, **spec: object) -> dict[str, object]:
    return account(
        f"account-{number}",
        world.simulator.url,
        allowPrivateAddress="Allow",
        auth={"apiKey": {"secretRef": {"name": f"account-{number}", "key": "api-key"}}},
        **spec,
    )


def _sync(world: World, accounts: int, keys: int) -> dict[str, object]:
    """Start the operator and wait until every status says Ready."""
    before, begun = len(world.kube.asked), time.monotonic()
    world.start("operator")
    written = _until(lambda: _ready(world) == accounts + keys + 1, "all ready", pause=0.5)
    return {
        "seconds": round(written - begun, 1),
        "of the operator's CPU": round(_cpu(world), 1),
        "writes": dict(world.kube.writes(before)),
    }


def _restart(world: World, accounts: int, keys: int) -> dict[str, object]:
    """Stop and start it: everything is listed, recovered and compiled, and nothing has to be written."""
    world.stop("operator")
    before, begun = len(world.kube.asked), time.monotonic()
    world.start("operator")
    _until(lambda: world.readiness("operator")[0], "ready")
    turned = _until(lambda: world.metric("operator", "penstock_operator_turns_total") >= 1, "turned")
    cpu = _cpu(world)
    time.sleep(15)
    assert _ready(world) == accounts + keys + 1
    return {
        "seconds": round(turned - begun, 1),
        "of the operator's CPU": round(cpu, 1),
        "writes": dict(world.kube.writes(before)),
    }


def _quiet(world: World) -> dict[str, object]:
    before, cpu = len(world.kube.asked), _cpu(world)
    time.sleep(60)
    return {"writes": dict(world.kube.writes(before)), "CPU seconds": round(_cpu(world) - cpu, 2)}


def _changes(world: World, accounts: int, rounds: int = 20) -> dict[str, object]:
    """Change one account's weight again and again; the router says which version it has."""
    before, cpu, seconds = len(world.kube.asked), _cpu(world), []
    for number in range(rounds):
        loaded = _version(world)
        begun = time.monotonic()
        world.kube.apply(_account(world, number * 7 % accounts, weight=101 + number))
        seconds.append(_until(lambda loaded=loaded: _version(world) != loaded, "loaded", pause=0.01) - begun)
        time.sleep(2.0)
    return _distribution(seconds, _cpu(world) - cpu, world.kube.writes(before))


def _revocations(world: World, rounds: int = 10) -> dict[str, object]:
    """Revoke one key again and again, until its status says that auth has loaded it."""
    before, cpu, seconds = len(world.kube.asked), _cpu(world), []
    for number in range(rounds):
        begun = time.monotonic()
        world.kube.apply(api_key(f"key-{number}", project=f"project-{number % 50}", mode="Revoked"))
        name = f"key-{number}"
        seconds.append(_until(lambda name=name: _revoked(world, name), "revoked", pause=0.01) - begun)
        time.sleep(1.0)
    return _distribution(seconds, _cpu(world) - cpu, world.kube.writes(before))


def _revoked(world: World, name: str) -> bool:
    revoked = world.kube.condition("APIKey", name) == ("False", "Revoked")
    return revoked and world.kube.condition("APIKey", name, "Programmed")[0] == "True"


def _distribution(seconds: list[float], cpu: float, writes: dict[str, int]) -> dict[str, object]:
    return {
        "least seconds": round(min(seconds), 2),
        "median seconds": round(statistics.median(seconds), 2),
        "most seconds": round(max(seconds), 2),
        "of the operator's CPU, each": round(cpu / len(seconds), 2),
        "writes, each": {what: round(count / len(seconds), 1) for what, count in writes.items()},
    }


def _ready(world: World) -> int:
    kinds = (("UpstreamAccount", ""), ("APIKey", ""), ("Plan", ""))
    count = 0
    with world.kube._lock:
        for kind, _ in kinds:
            plural = {"UpstreamAccount": "upstreamaccounts", "APIKey": "apikeys", "Plan": "plans"}[kind]
            for item in world.kube._objects[plural].values():
                rows = (item.get("status") or {}).get("conditions", [])
                count += any(row["type"] == "Ready" and row["status"] == "True" for row in rows)
    return count


def _version(world: World) -> str:
    port = json.loads((world.folder / "run" / "router-0.json").read_text())["metrics_port"]
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return next((line for line in text.splitlines() if line.startswith("penstock_router_catalog_info{")), "")


def _mean(world: World, histogram: str) -> float:
    return round(
        world.metric("operator", f"{histogram}_sum") / max(world.metric("operator", f"{histogram}_count"), 1), 2
    )


def _memory(world: World) -> dict[str, float]:
    rows = Path(f"/proc/{world.processes['operator'].pid}/status").read_text().splitlines()
    found = {row.split(":")[0]: int(row.split()[1]) / 1024 for row in rows if row.startswith(("VmRSS", "VmHWM"))}
    return {"now": round(found["VmRSS"]), "most": round(found["VmHWM"])}


def _cpu(world: World) -> float:
    fields = Path(f"/proc/{world.processes['operator'].pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _until(holds: Callable[[], object], what: str, pause: float = 0.05) -> float:
    deadline = time.monotonic() + LONG
    while True:
        if holds():
            return time.monotonic()
        assert time.monotonic() < deadline, f"not in {LONG} s: {what}"
        time.sleep(pause)


if __name__ == "__main__":
    sys.exit(main())
