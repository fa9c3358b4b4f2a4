"""What is measured, stage by stage. Each returns rows of plain figures; `report` puts them into words."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import direct
from filling import fill_sqlite
from measures import Used, memory_mb
from running import Fleets, Stack
from world import OPEN, PREPAID, ROOMY, TIGHT, Size, auth_catalog, keys_with, router_catalog

from penstock_catalog import documents

if TYPE_CHECKING:
    from measures import Sample

Row = dict[str, Any]

REFERENCE_ACCOUNTS = 5


def _cpu(used: Used, *names: str) -> float:
    return sum(used.cpu.get(name, 0.0) for name in names)


def _fleet(used: Used) -> float:
    return sum(cpu for name, cpu in used.cpu.items() if name.startswith("fleet"))


def starts(stack: Stack) -> list[Row]:
    """Start auth and router with little and with much in their catalogs, and again with what is recorded already."""
    rows = []
    full, none = stack.folder / "auth.json", auth_catalog(0, stack.size.projects)
    kept = full.read_bytes()
    for what in ("no declared keys", "declared keys, for the first time", "declared keys, again"):
        if what.startswith("no"):
            documents.write(full, none)
        else:
            full.write_bytes(kept)
        rows.append({"process": "auth", "what": what, **stack.start("auth"), "mb": memory_mb(stack.meter.pids["auth"])})
        if not what.endswith("again"):
            stack.stop("auth")
    for accounts in (REFERENCE_ACCOUNTS, stack.size.accounts):
        documents.write(stack.folder / "router.json", router_catalog(accounts))
        row = {"process": "router", "what": f"{accounts} accounts", **stack.start("router")}
        rows.append({**row, "mb": memory_mb(stack.meter.pids["router"])})
        stack.stop("router")
    return rows


def idle(stack: Stack, edges: int, accounts: int, seconds: float) -> tuple[Row, Fleets]:
    """Let edges be there without a request; returns what that costs, and the edges."""
    meter = stack.meter
    documents.write(stack.folder / "router.json", router_catalog(accounts))
    stack.start("router")
    before = meter.sample()
    fleets = Fleets(stack, edges)
    joined = meter.since(before)
    time.sleep(6)
    counts = fleets.ask(do="counted")
    before = meter.sample()
    time.sleep(seconds)
    used = meter.since(before)
    quiet = fleets.ask(do="counted")
    row = {
        "edges": edges,
        "accounts": accounts,
        "joining router cpu": _cpu(joined, "router"),
        "joining auth cpu": _cpu(joined, "auth"),
        "joining seconds": joined.seconds,
        "snapshot bytes": counts.get("Watch snapshot bytes", 0) / max(counts.get("Watch snapshot", 1), 1),
        "snapshots": counts.get("Watch snapshot", 0),
        "seconds": used.seconds,
        "auth %": used.share("auth"),
        "router %": used.share("router"),
        "redis %": used.share("redis"),
        "postgres %": used.share("postgres"),
        "edge % each": 100 * _fleet(used) / used.seconds / edges,
        "redis calls/s": used.redis_calls()[0] / used.seconds,
        "redis in B/s": used.redis_bytes[0] / used.seconds,
        "redis out B/s": used.redis_bytes[1] / used.seconds,
        "statements/s": used.statements / used.seconds,
        "report calls/s": quiet.get("Report calls", 0) / used.seconds,
        "report B": quiet.get("Report bytes out", 0) / max(quiet.get("Report calls", 1), 1),
        "router mb": memory_mb(meter.pids["router"]),
        "auth mb": memory_mb(meter.pids["auth"]),
    }
    return row, fleets


def one_account_changes(stack: Stack, fleets: Fleets, rounds: int = 3) -> Row:
    """Change the weight of one account: until every edge has the new catalog."""
    meter, size = stack.meter, stack.size
    quiet = _quiet(stack, 3.0)
    fleets.ask(do="counted")
    router = fleet = seconds = 0.0
    for number in range(rounds):
        catalog = router_catalog(size.accounts, weight=100 + number % 2 + 1)
        before_version = documents.read(stack.folder / "router.json", documents.RouterCatalog).version
        before = meter.sample()
        documents.write(stack.folder / "router.json", catalog)
        fleets.ask(do="loaded", not_version=before_version)
        time.sleep(1.5)
        used = meter.since(before)
        router += _cpu(used, "router") - quiet["router"] * used.seconds
        fleet += _fleet(used) - quiet["fleet"] * used.seconds
        seconds += used.seconds - 1.5
    counts = fleets.ask(do="counted")
    return {
        "edges": fleets.edges,
        "accounts": size.accounts,
        "router cpu": router / rounds,
        "edge cpu each": fleet / rounds / fleets.edges,
        "seconds": seconds / rounds,
        "bytes": counts.get("Watch snapshot bytes", 0) / rounds,
        "snapshots": counts.get("Watch snapshot", 0) / rounds,
    }


def cooldowns(stack: Stack, fleets: Fleets, count: int = 100, pause: float = 0.05) -> Row:
    """Throttle accounts one by one: each is told to every edge."""
    meter = stack.meter
    quiet = _quiet(stack, 3.0)
    fleets.ask(do="counted")
    before = meter.sample()
    names = [f"account-{number:05d}" for number in range(min(count, stack.size.accounts))]
    asyncio.run(direct.cool(stack.addresses["router"], names, pause))
    time.sleep(0.5)
    used = meter.since(before)
    counts = fleets.ask(do="counted")
    told = counts.get("Watch cooldowns", 0)
    return {
        "edges": fleets.edges,
        "cooldowns": len(names),
        "messages": told,
        "bytes each": counts.get("Watch cooldowns bytes", 0) / max(told, 1),
        "router cpu": _cpu(used, "router") - quiet["router"] * used.seconds,
        "fleet cpu": _fleet(used) - quiet["fleet"] * used.seconds,
    }


def traffic(stack: Stack, fleets: Fleets, seconds: float, scale: float = 1.0) -> list[Row]:
    """Play requests of keys far from their limits at several rates, near them, prepaid, and without any window."""
    stories = [
        ("far from its limits, 1 request in 10 s", ROOMY, 5, 0.1, 5_000),
        ("far from its limits, 1 request in 2 s", ROOMY, 3, 0.5, 5_000),
        ("far from its limits, 4 requests a second", ROOMY, 1, 4.0, 500),
        ("prepaid, 1 request in 2 s", PREPAID, 2, 0.5, 5_000),
        ("no window, 1 request in 2 s", OPEN, 2, 0.5, 5_000),
        ("at its limit of 60 a minute, asked for 90 on five edges", TIGHT, 1, 0.3, max(fleets.edges // 5, 1)),
    ]
    return [_story(stack, fleets, *story, seconds=seconds, scale=scale) for story in stories]


def _story(
    stack: Stack,
    fleets: Fleets,
    what: str,
    plan: str,
    keys_each: int,
    per_second: float,
    keys: int,
    *,
    seconds: float,
    scale: float,
) -> Row:
    meter = stack.meter
    keys = min(keys, max(int(keys * scale), 1)) if plan != TIGHT else keys
    quiet = _quiet(stack, 2.0)
    fleets.ask(do="counted")
    before = meter.sample()
    words = {"do": "serve", "keys": keys_with(plan, keys), "keys_each": keys_each, "per_second": per_second}
    told = fleets.ask(**words, seconds=seconds)
    time.sleep(0.5)
    used = meter.since(before)
    counts = fleets.ask(do="counted")
    allows, requests = counts.get("Allow calls", 0), told["sent"]
    settles = counts.get("Settle calls", 0)
    return {
        "what": what,
        "edges": fleets.edges,
        "pairs": told["pairs"],
        "seconds": used.seconds,
        "requests": requests,
        "requests/s": requests / used.seconds,
        "admitted": counts.get("admitted", 0),
        "refused": counts.get("refused", 0),
        "committed": counts.get("committed", 0),
        "allow calls": allows,
        "allow calls per pair and minute": allows / told["pairs"] / used.seconds * 60,
        "allow calls per request": allows / requests,
        "rows per settle call": counts.get("committed", 0) / max(settles, 1),
        "allow bytes": (counts.get("Allow bytes out", 0) + counts.get("Allow bytes in", 0)) / max(allows, 1),
        "report calls/s": counts.get("Report calls", 0) / used.seconds,
        "auth cpu per request us": 1e6 * (_cpu(used, "auth") - quiet["auth"] * used.seconds) / requests,
        "router cpu per request us": 1e6 * (_cpu(used, "router") - quiet["router"] * used.seconds) / requests,
        "redis cpu per request us": 1e6 * (_cpu(used, "redis") - quiet["redis"] * used.seconds) / requests,
        "postgres cpu per request us": 1e6 * (_cpu(used, "postgres") - quiet["postgres"] * used.seconds) / requests,
        "redis calls per request": (used.redis_calls()[0] - quiet["redis calls"] * used.seconds) / requests,
        "redis commands per request": (used.redis_calls()[1] - quiet["redis commands"] * used.seconds) / requests,
        "statements per request": (used.statements - quiet["statements"] * used.seconds) / requests,
    }


def allows(stack: Stack, count: int) -> list[Row]:
    """Ask for many keys directly: new ones, known ones, prepaid ones, and with many edge sessions about."""
    stories = [
        ("a key that auth has not seen for 30 s, its project new to the store", keys_with(ROOMY, count, 200), 5),
        ("the same keys again", keys_with(ROOMY, count, 200), 5),
        ("prepaid keys, known", keys_with(PREPAID, count // 4, 200), 5),
        ("prepaid keys, known", keys_with(PREPAID, count // 4, 200), 5),
        ("known keys, 200 more edge sessions", keys_with(ROOMY, count // 2, 200), 200),
    ]
    rows = []
    for what, keys, sessions in stories:
        meter = stack.meter
        memory, before = memory_mb(meter.pids["auth"]), meter.sample()
        lent = asyncio.run(direct.allow(stack.addresses["auth"], keys, sessions=sessions))
        used = meter.since(before)
        # Every session says three more things, which are not of interest here: their cost is taken from a run without keys.
        again = meter.sample()
        asyncio.run(direct.allow(stack.addresses["auth"], [], sessions=sessions))
        aside = meter.since(again)
        rows.append(
            {
                "what": what,
                "keys": len(keys),
                "lent": lent,
                "auth us": 1e6 * (_cpu(used, "auth") - _cpu(aside, "auth")) / len(keys),
                "redis us": 1e6 * (_cpu(used, "redis") - _cpu(aside, "redis")) / len(keys),
                "postgres us": 1e6 * (_cpu(used, "postgres") - _cpu(aside, "postgres")) / len(keys),
                "statements": (used.statements - aside.statements) / len(keys),
                "redis calls": (used.redis_calls()[0] - aside.redis_calls()[0]) / len(keys),
                "redis commands": (used.redis_calls()[1] - aside.redis_calls()[1]) / len(keys),
                "auth bytes per key": (memory_mb(meter.pids["auth"]) - memory) * 2**20 / len(keys),
                "redis bytes per key": used.redis_memory / len(keys),
                "declare auth us": 1e6 * _cpu(aside, "auth") / (3 * sessions),
                "declare redis us": 1e6 * _cpu(aside, "redis") / (3 * sessions),
            }
        )
    return [row for number, row in enumerate(rows) if number != 2]


def settlements(stack: Stack, price_digest: str, rows: int, what: str) -> list[Row]:
    """Settle batches of several sizes from several edges at once."""
    found = []
    meter, size = stack.meter, stack.size
    for in_batch, edges, amount in ((1, 1, rows // 4), (1, 50, rows), (16, 8, rows), (256, 2, rows)):
        count = max(amount // in_batch, 4)
        batches = [
            [
                direct.settlement((n * in_batch + m) * 7 % size.keys, size.projects, price_digest)
                for m in range(in_batch)
            ]
            for n in range(count)
        ]
        before = meter.sample()
        committed, seconds = asyncio.run(direct.settle(stack.addresses["auth"], batches, edges=edges))
        used = meter.since(before)
        found.append(
            {
                "database": what,
                "rows in a call": in_batch,
                "calls under way": edges,
                "rows": committed,
                "seconds": seconds,
                "auth us per row": 1e6 * _cpu(used, "auth") / committed,
                "rows per auth CPU second": committed / max(_cpu(used, "auth"), 0.01),
                "database us per row": 1e6 * _cpu(used, "postgres") / committed if what == "PostgreSQL" else 0.0,
                "redis us per row": 1e6 * _cpu(used, "redis") / committed if what == "PostgreSQL" else 0.0,
                "statements per row": used.statements / committed if what == "PostgreSQL" else 0.0,
                "wal bytes per row": used.wal / committed if what == "PostgreSQL" else 0.0,
            }
        )
    return found


def sqlite(stack: Stack, price_digest: str, rows: int) -> tuple[list[Row], list[Row]]:
    """Start an auth on SQLite and counters in memory; returns its settlement rate and what it takes to allow."""
    stack.stop("auth")
    size = stack.size
    url = f"sqlite:///{stack.folder}/ledger.db"
    fill_sqlite(url, Size(size.edges, size.keys // 5, 0, size.projects, size.accounts, size.rows // 20), price_digest)
    stack.start("auth", DATABASE_URL=url, REDIS_URL="")
    found = settlements(_smaller(stack), price_digest, rows, "SQLite")
    asked = []
    for what in ("a key that auth has not seen for 30 s, its project new to the store", "the same keys again"):
        keys = keys_with(ROOMY, min(1_000, size.keys // 20), 200)
        memory, before = memory_mb(stack.meter.pids["auth"]), stack.meter.sample()
        asyncio.run(direct.allow(stack.addresses["auth"], keys, sessions=5))
        used = stack.meter.since(before)
        asked.append(
            {
                "what": what,
                "keys": len(keys),
                "auth us": 1e6 * _cpu(used, "auth") / len(keys),
                "auth bytes per key": (memory_mb(stack.meter.pids["auth"]) - memory) * 2**20 / len(keys),
            }
        )
    return found, asked


def _smaller(stack: Stack) -> Stack:
    size = stack.size
    made = object.__new__(Stack)
    made.__dict__ = dict(stack.__dict__)
    made.size = Size(size.edges, size.keys // 5, 0, size.projects, size.accounts, size.rows)
    return made


def restarts(stack: Stack, fleets: Fleets, seconds: float) -> list[Row]:
    """End and start the router, then auth, and empty Redis, each while requests go on; what the next seconds cost."""
    rows = []
    keys = keys_with(ROOMY, 5_000)
    words = {"do": "serve", "keys": keys, "keys_each": 4, "per_second": 0.25}
    for what in ("nothing", "router", "auth", "redis emptied"):
        meter = stack.meter
        fleets.ask(do="counted")
        for fleet in fleets.fleets:
            fleet.say(**words, seconds=seconds)
        time.sleep(3)
        before = meter.sample()
        began = time.monotonic()
        if what in {"router", "auth"}:
            stack.stop(what)
            stack.start(what)
            before.cpu[what] = 0.0  # A new process begins at nothing.
        elif what == "redis emptied":
            assert meter.redis is not None
            before = _forget_redis(before)
            meter.redis.command("FLUSHALL")
        away = time.monotonic() - began
        told: Row = {}
        for fleet in fleets.fleets:
            for name, value in fleet.hear().items():
                told[name] = told.get(name, 0) + value
        fleets.ask(do="ready")
        used = meter.since(before)
        counts = fleets.ask(do="counted")
        rows.append(
            {
                "what": what,
                "edges": fleets.edges,
                "pairs": told["pairs"],
                "away seconds": away,
                "seconds": used.seconds,
                "requests": told["sent"],
                "admitted": counts.get("admitted", 0),
                "refused": counts.get("refused", 0),
                "no account": counts.get("no account", 0),
                "auth cpu": _cpu(used, "auth"),
                "router cpu": _cpu(used, "router"),
                "redis cpu": _cpu(used, "redis"),
                "postgres cpu": _cpu(used, "postgres"),
                "fleet cpu": _fleet(used),
                "statements": used.statements,
                "redis calls": used.redis_calls()[0],
                "allow calls": counts.get("Allow calls", 0),
                "declare calls": counts.get("Declare calls", 0),
                "declare bytes": counts.get("Declare bytes out", 0),
                "watch snapshots": counts.get("Watch snapshot", 0),
            }
        )
    return rows


def _forget_redis(sample: Sample) -> Sample:
    sample.redis_memory = 0
    return sample


def _quiet(stack: Stack, seconds: float) -> dict[str, float]:
    """Return what everything costs per second when nothing is asked for."""
    before = stack.meter.sample()
    time.sleep(seconds)
    used = stack.meter.since(before)
    found = {name: cpu / used.seconds for name, cpu in used.cpu.items()}
    found["fleet"] = _fleet(used) / used.seconds
    found["redis calls"] = used.redis_calls()[0] / used.seconds
    found["redis commands"] = used.redis_calls()[1] / used.seconds
    found["statements"] = used.statements / used.seconds
    return found
