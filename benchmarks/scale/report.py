"""RESULTS.md of a run: its figures in tables, nothing else. What follows from them is said in docs/scaling.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = dict[str, Any]
Column = tuple[str, "str | Callable[[Row], object]"]


def page(results: dict[str, Any]) -> str:
    """Return the whole page."""
    size, machine = results["size"], results["machine"]
    load = [*results["load before"], *results["load after"]]
    stores = results.get("stores", ["?", "?"])
    parts = [
        "# How Penstock grows: what was measured",
        "",
        (
            f"Written by `make bench-scale`: {machine['date']}, commit {machine['commit']}, in {results['seconds']:.0f} s. "
            f"{machine['cores']} cores of {machine['cpu']}, Python {machine['python']}, PostgreSQL {stores[0]} "
            f"(fsync on), Redis {stores[1]}. Load of the machine in the last minute: {load[0]:.1f} before, {load[3]:.1f} after: "
            "others used it too, and CPU per unit is higher then than on a quiet one."
        ),
        "",
        (
            f"One real auth, one real router, Redis and PostgreSQL with {size['keys']:,} self-service keys and {size['declared']:,} "
            f"declared ones in {size['projects']:,} projects and {size['rows']:,} requests in the ledger, {size['accounts']} "
            f"accounts, all with limits, and up to {size['edges']} edge sessions: two processes that run the edge's own admission, "
            "settlement, reports and router's view, without HTTP, upstreams or a spool on disk. CPU is user and system time by "
            "/proc; where a cost is that of requests or changes, what an idle system costs has been taken off."
        ),
    ]
    parts += _section("Start", results.get("starts"), _STARTS)
    parts += _section("Edges that do nothing", results.get("idle"), _IDLE)
    parts += _section("Requests", results.get("traffic"), _TRAFFIC)
    parts += _section("Allow calls, one by one (Redis and PostgreSQL)", results.get("allows"), _ALLOWS)
    sqlite = results.get("sqlite") or ([], [])
    parts += _section("The same with counters in memory and SQLite", sqlite[1], _ALLOWS_MEMORY)
    parts += _section("Settlements", [*results.get("settlements", []), *sqlite[0]], _SETTLEMENTS)
    change, cooldowns = results.get("change"), results.get("cooldowns")
    parts += _section("One account changed", [change] if change else None, _CHANGE)
    parts += _section("One cooldown begun or ended", [cooldowns] if cooldowns else None, _COOLDOWNS)
    parts += _section("Restarts, while requests go on", results.get("restarts"), _RESTARTS)
    parts += _section("Statements of PostgreSQL with all of this in place", results.get("explained"), _EXPLAINED)
    if results.get("of"):
        parts += ["", "Stages by the commit and the load they were measured at, where not as above:", ""]
        parts += [f"- {name}: {what}" for name, what in sorted(results["of"].items())]
    if results.get("failed"):
        parts += ["", f"Stages that failed: {', '.join(results['failed'])}."]
    return "\n".join(parts) + "\n"


def _section(title: str, rows: Sequence[Row] | None, columns: Sequence[Column]) -> list[str]:
    if not rows:
        return []
    lines = ["", f"## {title}", "", _line([name for name, _ in columns]), _line(["---"] * len(columns))]
    lines += [_line([_shown(row[what] if isinstance(what, str) else what(row)) for _, what in columns]) for row in rows]
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if abs(value) >= 100:
            return f"{value:,.0f}"
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return str(value)


_STARTS: list[Column] = [
    ("process", "process"),
    ("with", "what"),
    ("CPU s until ready", "cpu_seconds"),
    ("seconds", "seconds"),
    ("MB", "mb"),
]
_IDLE: list[Column] = [
    ("edges", "edges"),
    ("accounts", "accounts"),
    ("router % of a core", "router %"),
    ("auth %", "auth %"),
    ("Redis %", "redis %"),
    ("PostgreSQL %", "postgres %"),
    ("an edge %", "edge % each"),
    ("Redis calls/s", "redis calls/s"),
    ("to Redis kB/s", lambda row: row["redis in B/s"] / 1000),
    ("from Redis kB/s", lambda row: row["redis out B/s"] / 1000),
    ("statements/s", "statements/s"),
    ("Reports/s", "report calls/s"),
    ("B a Report", "report B"),
    ("snapshot kB", lambda row: row["snapshot bytes"] / 1000),
    ("router CPU s while all joined", "joining router cpu"),
    ("router MB", "router mb"),
    ("auth MB", "auth mb"),
]
_TRAFFIC: list[Column] = [
    ("keys", "what"),
    ("pairs of key and edge", "pairs"),
    ("requests/s", "requests/s"),
    ("admitted", "admitted"),
    ("refused", "refused"),
    ("Allow calls a minute and pair", "allow calls per pair and minute"),
    ("Allow calls a request", "allow calls per request"),
    ("B an Allow, both ways", "allow bytes"),
    ("rows a Settle", "rows per settle call"),
    ("auth µs a request", "auth cpu per request us"),
    ("router µs", "router cpu per request us"),
    ("Redis µs", "redis cpu per request us"),
    ("PostgreSQL µs", "postgres cpu per request us"),
    ("Redis calls a request", "redis calls per request"),
    ("Redis commands, those in scripts too", "redis commands per request"),
    ("statements a request", "statements per request"),
]
_ALLOWS: list[Column] = [
    ("keys", "what"),
    ("calls", "keys"),
    ("auth µs", "auth us"),
    ("Redis µs", "redis us"),
    ("PostgreSQL µs", "postgres us"),
    ("statements", "statements"),
    ("Redis calls", "redis calls"),
    ("Redis commands", "redis commands"),
    ("auth B a key", "auth bytes per key"),
    ("Redis B a key", "redis bytes per key"),
    ("auth µs a heartbeat", "declare auth us"),
    ("Redis µs a heartbeat", "declare redis us"),
]
_ALLOWS_MEMORY: list[Column] = [
    ("keys", "what"),
    ("calls", "keys"),
    ("auth µs", "auth us"),
    ("auth B a key", "auth bytes per key"),
]
_SETTLEMENTS: list[Column] = [
    ("database", "database"),
    ("rows a call", "rows in a call"),
    ("calls under way", "calls under way"),
    ("auth µs a row", "auth us per row"),
    ("rows a CPU second of auth", "rows per auth CPU second"),
    ("PostgreSQL µs a row", "database us per row"),
    ("Redis µs a row", "redis us per row"),
    ("statements a row", "statements per row"),
    ("WAL B a row", "wal bytes per row"),
]
_CHANGE: list[Column] = [
    ("edges", "edges"),
    ("accounts", "accounts"),
    ("router CPU s", "router cpu"),
    ("CPU s of each edge", "edge cpu each"),
    ("MB sent", lambda row: row["bytes"] / 1e6),
    ("seconds until all have it", "seconds"),
]
_COOLDOWNS: list[Column] = [
    ("edges", "edges"),
    ("cooldowns", "cooldowns"),
    ("messages", "messages"),
    ("B each", "bytes each"),
    ("router µs a cooldown", lambda row: 1e6 * row["router cpu"] / row["cooldowns"]),
    ("router µs a message", lambda row: 1e6 * row["router cpu"] / max(row["messages"], 1)),
    ("edge µs a message", lambda row: 1e6 * row["fleet cpu"] / max(row["messages"], 1)),
]
_RESTARTS: list[Column] = [
    ("restarted", "what"),
    ("away s", "away seconds"),
    ("requests", "requests"),
    ("admitted", "admitted"),
    ("refused", "refused"),
    ("auth CPU s", "auth cpu"),
    ("router CPU s", "router cpu"),
    ("Redis CPU s", "redis cpu"),
    ("PostgreSQL CPU s", "postgres cpu"),
    ("edges' CPU s", "fleet cpu"),
    ("statements", "statements"),
    ("Redis calls", "redis calls"),
    ("Allow calls", "allow calls"),
    ("Declare calls", "declare calls"),
    ("kB declared", lambda row: row["declare bytes"] / 1000),
    ("snapshots", "watch snapshots"),
]
_EXPLAINED: list[Column] = [
    ("for", "what"),
    ("how often", "how often"),
    ("statements", "statements"),
    ("PostgreSQL ms", "ms"),
    ("rows", "rows"),
    ("Python ms", "python ms"),
    ("large tables read whole", "whole tables read"),
]
