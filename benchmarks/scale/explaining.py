"""How PostgreSQL goes about each statement that matters, with all keys and rows in place: EXPLAIN ANALYZE of auth's own."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from world import digest_of, key_id, keys_with, project_of

from penstock_auth import credit, declared_keys, keys, postings, projects, spend, usage
from penstock_auth.change_log import ChangeLog
from penstock_auth.database import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from world import Size

Row = dict[str, Any]
LARGE = ("api_keys", "settlements", "attempts", "credit_entries", "key_spend")


def explain(url: str, size: Size) -> list[Row]:
    """Run each statement that auth's functions send, as they send it, with its plan."""
    now_ms = time.time_ns() // 1_000_000
    some = keys_with("roomy", 256)
    project = project_of(some[0], size.projects)
    ids = [f"req_old_{number:012d}" for number in range(0, size.rows, max(size.rows // 256, 1))]
    newest = {"since_ms": 0, "state": "", "limit": 1_000, "page_token": ""}
    log: Any = ChangeLog.__new__(ChangeLog)
    log._last = 0
    asked: list[tuple[str, str, Callable[[Connection], object]]] = [
        ("Allow of a key not in the cache", "each 30 s per active key", lambda c: keys.find_by_digest(c, digest_of(7))),
        ("Allow of a prepaid key: spend", "each", lambda c: spend.read_spend(c, [key_id(7)], now_ms)),
        ("Settle: what is committed already", "256 rows", lambda c: postings._committed(c, ids)),
        ("Settle: spend of its keys", "256 keys", lambda c: spend.read_spend(c, [key_id(n) for n in some], now_ms)),
        (
            "A project's last hour, after a loss",
            "each project",
            lambda c: usage.history(c, project, now_ms - 3_600_000, now_ms),
        ),
        (
            "A project's last day, after a loss",
            "each project",
            lambda c: usage.history(c, project, now_ms - 86_400_000, now_ms),
        ),
        ("Keys of a project", "a page", lambda c: keys.list_keys(c, project)),
        ("How many keys a project has", "each new key", lambda c: keys._in_use(c, project, now_ms)),
        ("Declared keys that are known", "each catalog", lambda c: declared_keys._Known(c, [])),
        ("Usage of a project, newest first", "a page", lambda c: usage.list_rows(c, project=project, **newest)),
        ("Usage of all projects, newest first", "a page", lambda c: usage.list_rows(c, project="", **newest)),
        ("Sums of a project", "a page", lambda c: usage.summarize(c, project=project, since_ms=0, until_ms=0)),
        (
            "Sums of all projects, last hour",
            "a page",
            lambda c: usage.summarize(c, project="", since_ms=now_ms - 3_600_000, until_ms=0),
        ),
        ("One request", "a page", lambda c: usage.show(c, ids[0])),
        ("Credit entries of a project", "a page", lambda c: credit.list_entries(c, project, 100)),
        ("All projects", "a page", projects.list_projects),
        ("All keys", "a page", lambda c: keys.list_keys(c, "")),
        ("Changes of other replicas", "3 a second", log._read),
    ]
    engine = create_engine(parse_url(url))
    found = []
    try:
        for what, how_often, ask in asked:
            found.append({"what": what, "how often": how_often, **_explained(engine, ask)})
    finally:
        engine.dispose()
    return found


def _explained(engine: Any, ask: Callable[[Connection], object]) -> Row:
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if not statement.startswith("EXPLAIN"):
            sent.append((statement, parameters))

    with engine.connect() as connection:
        event.listen(engine, "before_cursor_execute", note)
        began = time.process_time()
        try:
            ask(connection)
        finally:
            event.remove(engine, "before_cursor_execute", note)
        python = time.process_time() - began
        milliseconds, scans, rows = 0.0, set(), 0
        for statement, parameters in sent:
            answer = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
            plan = answer.scalar_one()
            plan = (json.loads(plan) if isinstance(plan, str) else plan)[0]
            milliseconds += plan["Execution Time"] + plan["Planning Time"]
            rows += plan["Plan"]["Actual Rows"]
            scans |= set(_scans(plan["Plan"]))
        connection.rollback()
    return {
        "statements": len(sent),
        "ms": milliseconds,
        "rows": rows,
        "python ms": python * 1000,
        "whole tables read": sorted(scans),
    }


def _scans(node: dict[str, Any]) -> list[str]:
    found = []
    if node["Node Type"] == "Seq Scan" and node.get("Relation Name") in LARGE:
        found.append(node["Relation Name"])
    for child in node.get("Plans", ()):
        found += _scans(child)
    return found
