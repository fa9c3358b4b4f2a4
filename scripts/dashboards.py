"""Write the chart's Grafana dashboards from the tables below; `--check` only compares.

The JSON files are what the chart ships. Panels are named here by what they show and by their queries; places, units and
legends follow.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "charts" / "penstock" / "files" / "dashboards"
WIDTH = 24
G = 'gateway=~"$gateway"'
R = "$__rate_interval"
EDGE_ERRORS = f'penstock_edge_requests_total{{{G}, status=~"5.."}}'
TAKING = f'penstock_router_model_accounts{{{G}, state="taking"}}'
FAILED_ATTEMPTS = f'penstock_edge_upstream_attempts_total{{{G}, class!~"Ok|ClientLeft|ClientFault"}}'
EDGE_REQUESTS = f"penstock_edge_requests_total{{{G}}}"


@dataclass(frozen=True)
class Panel:
    """What one panel shows; `queries` are (query, legend)."""

    title: str
    queries: tuple[tuple[str, str], ...]
    text: str = ""
    unit: str = "short"
    width: int = 8
    kind: str = "timeseries"
    stacked: bool = False


@dataclass(frozen=True)
class Row:
    """A heading with panels below it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    """One page."""

    name: str
    title: str
    text: str
    rows: tuple[Row, ...]


def rate(metric: str, by: str = "", more: str = "") -> str:
    """Per second, summed by some labels."""
    matchers = f"{G}, {more}" if more else G
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{matchers}}}[{R}]))"


def quantiles(histogram: str, more: str = "") -> tuple[tuple[str, str], ...]:
    """p50, p95 and p99 of a histogram."""
    return tuple(
        (f"histogram_quantile({q}, {rate(f'{histogram}_bucket', 'le', more)})", name)
        for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


def quantile(q: float, histogram: str, by: str) -> tuple[tuple[str, str], ...]:
    """One quantile of a histogram by some labels."""
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return ((f"histogram_quantile({q}, {rate(f'{histogram}_bucket', f'{by}, le')})", legend),)


def one(query: str, legend: str = "") -> tuple[tuple[str, str], ...]:
    """A single query."""
    return ((query, legend),)


def by(metric: str, labels: str, more: str = "") -> tuple[tuple[str, str], ...]:
    """A counter per second by labels, which make the legend."""
    return ((rate(metric, labels, more), " ".join(f"{{{{{label.strip()}}}}}" for label in labels.split(","))),)


def level(metric: str, labels: str, how: str = "sum", more: str = "") -> tuple[tuple[str, str], ...]:
    """A gauge by labels, which make the legend."""
    matchers = f"{G}, {more}" if more else G
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in labels.split(","))
    return ((f"{how} by ({labels}) ({metric}{{{matchers}}})", legend),)


OVERVIEW = Dashboard(
    "overview",
    "Penstock / Overview",
    "What clients get, how fast, and what it costs.",
    (
        Row(
            "Now",
            (
                Panel("Requests", one(rate("penstock_edge_requests_total")), unit="reqps", width=4, kind="stat"),
                Panel(
                    "Errors",
                    one(f"(sum(rate({EDGE_ERRORS}[{R}])) or vector(0)) / sum(rate({EDGE_REQUESTS}[{R}]))"),
                    "Answers with 5xx among all answers.",
                    "percentunit",
                    4,
                    "stat",
                ),
                Panel(
                    "Latency p95",
                    one(quantiles("penstock_edge_request_seconds")[1][0]),
                    unit="s",
                    width=4,
                    kind="stat",
                ),
                Panel(
                    "Active requests",
                    one(f"sum(penstock_edge_active_requests{{{G}}})"),
                    "Between admission and the end of the answer.",
                    width=4,
                    kind="stat",
                ),
                Panel("Tokens per minute", one(f"60 * {rate('penstock_edge_tokens_total')}"), width=4, kind="stat"),
                Panel(
                    "Charges per hour",
                    one(f"3600 / 1e6 * {rate('penstock_auth_charged_micro_usd_total')}"),
                    unit="currencyUSD",
                    width=4,
                    kind="stat",
                ),
            ),
        ),
        Row(
            "Traffic",
            (
                Panel(
                    "Requests by endpoint", by("penstock_edge_requests_total", "endpoint"), unit="reqps", stacked=True
                ),
                Panel(
                    "Answers by status",
                    by("penstock_edge_requests_total", "status"),
                    "Status 0: the client left before an answer.",
                    "reqps",
                ),
                Panel(
                    "Errors by endpoint",
                    one(
                        f"sum by (endpoint) (rate({EDGE_ERRORS}[{R}]))"
                        f" / sum by (endpoint) (rate({EDGE_REQUESTS}[{R}]))",
                        "{{endpoint}}",
                    ),
                    "Answers with 5xx among all answers; nothing where there is none.",
                    "percentunit",
                ),
                Panel("Latency", quantiles("penstock_edge_request_seconds"), "From arrival to the end.", "s"),
                Panel(
                    "Time to first output",
                    quantiles("penstock_edge_first_output_seconds"),
                    "Of streams, from arrival until the output begins.",
                    "s",
                ),
                Panel("Active requests by edge", level("penstock_edge_active_requests", "pod"), stacked=True),
                Panel(
                    "Refused by reason",
                    by("penstock_edge_refused_total", "reason"),
                    "Requests turned away before they reached an account.",
                    "reqps",
                ),
                Panel(
                    "How requests ended",
                    by("penstock_edge_deliveries_total", "state"),
                    "Of requests that reached an account.",
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Upstream attempts by result", by("penstock_edge_upstream_attempts_total", "class"), unit="reqps"
                ),
            ),
        ),
        Row(
            "Tokens and money",
            (
                Panel("Tokens by kind", by("penstock_edge_tokens_total", "kind"), "Per second.", stacked=True),
                Panel("Tokens by model", by("penstock_edge_tokens_total", "model"), "Per second, all kinds."),
                Panel(
                    "Charges",
                    one(
                        f"3600 / 1e6 * sum by (gateway) (rate(penstock_auth_charged_micro_usd_total{{{G}}}[{R}]))",
                        "{{gateway}}",
                    ),
                    "Committed charges per hour.",
                    "currencyUSD",
                ),
            ),
        ),
    ),
)

ACCOUNTS = Dashboard(
    "accounts",
    "Penstock / Accounts",
    "Health of upstream accounts, and how their capacity is shared.",
    (
        Row(
            "Models",
            (
                Panel(
                    "Models without an account",
                    one(f"count(max by (model) ({TAKING}) == 0) or vector(0)"),
                    "Models of which no account takes requests.",
                    width=4,
                    kind="stat",
                ),
                Panel(
                    "Accounts out",
                    one(f"count(max by (account) (penstock_router_cooldowns{{{G}}}) > 0) or vector(0)"),
                    "Accounts with any condition in force.",
                    width=4,
                    kind="stat",
                ),
                Panel(
                    "Accounts that take requests, by model",
                    level("penstock_router_model_accounts", "model", "max", 'state="taking"'),
                    width=8,
                ),
                Panel(
                    "Accounts that are out, by model",
                    level("penstock_router_model_accounts", "model", "max", 'state="out"'),
                    "Cooling, or about to return.",
                    width=8,
                ),
            ),
        ),
        Row(
            "Health",
            (
                Panel(
                    "Conditions in force",
                    level("penstock_router_cooldowns", "account, class", "max"),
                    "By what caused them.",
                    width=12,
                    kind="state-timeline",
                ),
                Panel(
                    "Cooldowns begun",
                    by("penstock_router_cooldowns_begun_total", "account, class"),
                    unit="cps",
                    width=12,
                ),
                Panel(
                    "Attempts by account",
                    by("penstock_edge_upstream_attempts_total", "account"),
                    unit="reqps",
                    stacked=True,
                ),
                Panel(
                    "Failed attempts by account",
                    one(
                        f"sum by (account) (rate({FAILED_ATTEMPTS}[{R}]))"
                        f" / sum by (account) (rate(penstock_edge_upstream_attempts_total{{{G}}}[{R}]))",
                        "{{account}}",
                    ),
                    "Among all of the account's attempts, without what clients are to blame for.",
                    "percentunit",
                ),
                Panel(
                    "Attempts by class",
                    by("penstock_router_outcomes_total", "class"),
                    "As edges told the router.",
                    "reqps",
                ),
                Panel("Probes", by("penstock_router_probes_total", "account, result"), "Unbilled ones.", "cps"),
                Panel(
                    "Not retried",
                    one(rate("penstock_edge_retry_budget_empty_total"), "retry budget empty"),
                    "Requests that were not tried again because too many others were.",
                    "reqps",
                ),
                Panel("Connections to upstreams", level("penstock_edge_upstream_connections", "pod")),
            ),
        ),
        Row(
            "Shares",
            (
                Panel(
                    "Slots lent",
                    level("penstock_router_share_slots", "account", "max"),
                    "Of accounts with a limit of concurrent requests.",
                ),
                Panel(
                    "Requests per minute lent",
                    level("penstock_router_share_requests_per_minute", "account", "max"),
                    "Of accounts with a limit of requests.",
                ),
                Panel("Edge sessions", level("penstock_router_edge_sessions", "pod"), "That each router knows."),
            ),
        ),
    ),
)

BOOKS = Dashboard(
    "books",
    "Penstock / Limits and books",
    "What is lent and denied, and how requests come into the ledger.",
    (
        Row(
            "Admission",
            (
                Panel(
                    "Admitted",
                    by("penstock_edge_admitted_total", "degraded"),
                    "degraded: auth could not be asked, and the plan allows that.",
                    "reqps",
                ),
                Panel("Denials of auth", by("penstock_auth_allow_total", "result", 'result!="lent"'), unit="cps"),
                Panel("Refused by edges", by("penstock_edge_refused_total", "reason"), unit="reqps"),
                Panel("Calls of Allow by result", by("penstock_edge_allow_seconds_count", "result"), unit="cps"),
                Panel("Allow, as edges see it", quantiles("penstock_edge_allow_seconds"), unit="s"),
                Panel("Allow, in auth", quantiles("penstock_auth_allow_seconds"), unit="s"),
                Panel(
                    "Requests lent",
                    by("penstock_auth_requests_lent_total", "kind"),
                    "In allowances, ahead of requests.",
                    "reqps",
                ),
                Panel("Lent and not spent", level("penstock_edge_lent_requests", "pod"), "Requests in hand at edges."),
                Panel("Keys with an allowance", level("penstock_edge_keys", "pod")),
            ),
        ),
        Row(
            "Holds",
            (
                Panel("Slots held", level("penstock_edge_held_slots", "pod"), "By open requests.", width=6),
                Panel(
                    "Tokens held",
                    (
                        (f"sum(penstock_edge_held_input_tokens{{{G}}})", "input"),
                        (f"sum(penstock_edge_held_output_tokens{{{G}}})", "output"),
                    ),
                    "By open requests, as estimated.",
                    width=6,
                ),
                Panel(
                    "Money held",
                    one(f"sum(penstock_edge_held_micro_usd{{{G}}}) / 1e6"),
                    "Credit that open requests keep.",
                    "currencyUSD",
                    6,
                ),
                Panel(
                    "Edge sessions",
                    level("penstock_auth_edge_sessions", "state", "max"),
                    "As auth knows them.",
                    width=6,
                ),
            ),
        ),
        Row(
            "Settlements",
            (
                Panel("Settlements by result", by("penstock_auth_settlements_total", "result"), unit="cps"),
                Panel("Time to settle", quantiles("penstock_auth_settle_seconds"), "Of a batch.", "s"),
                Panel(
                    "Failed calls of Settle",
                    by("penstock_edge_settle_failures_total", "pod"),
                    "They are repeated.",
                    "cps",
                ),
                Panel("Waiting settlements", level("penstock_edge_settlements_pending", "pod"), stacked=True),
                Panel(
                    "Oldest waiting settlement",
                    level("penstock_edge_settlement_oldest_seconds", "pod", "max"),
                    unit="s",
                ),
                Panel(
                    "Quarantine",
                    by("penstock_auth_quarantined_total", "reason"),
                    "Settlements that can never be committed as they are.",
                    "cps",
                ),
                Panel(
                    "Spool",
                    one(
                        f"max by (pod) (penstock_edge_spool_bytes{{{G}}} / penstock_edge_spool_max_bytes{{{G}}})",
                        "{{pod}}",
                    ),
                    "How full each edge's spool is; a full one refuses requests.",
                    "percentunit",
                ),
                Panel("Requests in the spool", level("penstock_edge_spool_records", "pod")),
                Panel(
                    "Replay",
                    (
                        (f"sum by (pod) (penstock_edge_replay_outstanding{{{G}}})", "{{pod}} outstanding"),
                        (rate("penstock_edge_spool_replayed_total", "result"), "{{result}} per second"),
                    ),
                    "Requests of earlier lives.",
                ),
            ),
        ),
        Row(
            "Stores",
            (
                Panel("Failures of SQL", by("penstock_auth_sql_errors_total", "kind"), unit="cps", width=6),
                Panel("Failures of the counters", by("penstock_auth_store_errors_total", "call"), unit="cps", width=6),
                Panel(
                    "Failures of the routers' store",
                    by("penstock_router_store_failures_total", "store"),
                    unit="cps",
                    width=6,
                ),
                Panel(
                    "Losses",
                    (
                        (rate("penstock_auth_epochs_total"), "epochs"),
                        (rate("penstock_auth_sessions_dropped_total", "how"), "edge sessions {{how}}"),
                    ),
                    "A new epoch begins when the counters were lost.",
                    "cps",
                    6,
                ),
            ),
        ),
    ),
)

PROCESSES = Dashboard(
    "processes",
    "Penstock / Processes",
    "Processor, memory, event loops, calls between processes, catalogs and certificates.",
    (
        Row(
            "Processes",
            (
                Panel("Ready", level("penstock_process_ready", "component"), "Processes that can serve."),
                Panel("Processor", by("process_cpu_seconds_total", "component, pod"), "Cores in use."),
                Panel("Memory", level("process_resident_memory_bytes", "component, pod"), unit="bytes"),
                Panel(
                    "Event loop lag p99",
                    quantile(0.99, "penstock_loop_lag_seconds", "component, pod"),
                    "How late a process comes back to what is due.",
                    "s",
                ),
                Panel(
                    "Starts",
                    one(
                        f"sum by (component, pod) (changes(process_start_time_seconds{{{G}}}[1h]))",
                        "{{component}} {{pod}}",
                    ),
                    "Restarts within the last hour.",
                ),
                Panel(
                    "File descriptors",
                    one(f"process_open_fds{{{G}}} / process_max_fds{{{G}}}", "{{component}} {{pod}}"),
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            "Calls between processes",
            (
                Panel("gRPC calls", by("penstock_rpc_calls_total", "method"), unit="reqps"),
                Panel(
                    "gRPC calls that failed",
                    by("penstock_rpc_calls_total", "method, code", 'code!~"OK|CANCELLED"'),
                    unit="reqps",
                ),
                Panel("gRPC time p95", quantile(0.95, "penstock_rpc_call_seconds", "method"), unit="s"),
                Panel("Refused callers", by("penstock_rpc_refused_total", "method, caller"), unit="cps"),
                Panel(
                    "Watchers",
                    (
                        (f"sum(penstock_router_watchers{{{G}}})", "of routers"),
                        (f"sum(penstock_auth_watchers{{{G}}})", "of auths"),
                    ),
                    "Edges that hear of changes.",
                ),
                Panel(
                    "Days until certificates expire",
                    level("penstock_tls_days_until_expiry", "component, of", "min"),
                    unit="d",
                ),
            ),
        ),
        Row(
            "Catalogs and operator",
            (
                Panel(
                    "Catalog versions of routers",
                    level("penstock_router_catalog_info", "version", "count"),
                    "Routers by the version that they have loaded.",
                ),
                Panel(
                    "Catalogs that could not be used",
                    (
                        (rate("penstock_router_catalog_problems_total"), "router"),
                        (rate("penstock_auth_catalog_problems_total"), "auth"),
                    ),
                    unit="cps",
                ),
                Panel("Resources", level("penstock_operator_objects", "kind, ready"), "By kind and Ready condition."),
                Panel("Turns of the operator", by("penstock_operator_turns_total", "result"), unit="cps"),
                Panel("Time of a turn", quantiles("penstock_operator_turn_seconds"), unit="s"),
                Panel("Writes of the operator", by("penstock_operator_writes_total", "what, result"), unit="cps"),
            ),
        ),
        Row(
            "Admin API",
            (
                Panel(
                    "Requests to the admin API",
                    by("penstock_status_requests_total", "route, status"),
                    unit="reqps",
                    width=12,
                ),
                Panel(
                    "Time of the admin API p95",
                    quantile(0.95, "penstock_status_request_seconds", "route"),
                    unit="s",
                    width=12,
                ),
            ),
        ),
    ),
)

ALL = (OVERVIEW, ACCOUNTS, BOOKS, PROCESSES)


def written(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana's JSON."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        panels.append(_row(row, len(panels) + 1, top))
        top += 1
        left, height = 0, 0
        for panel in row.panels:
            if left + panel.width > WIDTH:
                top, left = top + height, 0
            height = 5 if panel.kind == "stat" and all(p.kind == "stat" for p in row.panels) else 8
            panels.append(_panel(panel, len(panels) + 1, {"h": height, "w": panel.width, "x": left, "y": top}))
            left += panel.width
        top += height
    return {
        "uid": f"penstock-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.text,
        "tags": ["penstock"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "links": [
            {"title": "Penstock", "type": "dashboards", "tags": ["penstock"], "asDropdown": True, "keepTime": True,
             "includeVars": True}
        ],
        "templating": {"list": _variables()},
        "panels": panels,
    }  # fmt: skip


def _variables() -> list[dict[str, Any]]:
    query = "label_values(penstock_process_ready, gateway)"
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}},
        {
            "name": "gateway",
            "label": "Gateway",
            "type": "query",
            "datasource": _source(),
            "definition": query,
            "query": {"query": query, "refId": "gateways"},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _source() -> dict[str, str]:
    return {"type": "prometheus", "uid": "${datasource}"}


def _row(row: Row, number: int, top: int) -> dict[str, Any]:
    place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
    return {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    custom: dict[str, Any] = {}
    if panel.kind == "timeseries":
        custom = {
            "lineWidth": 1,
            "fillOpacity": 20 if panel.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "gridPos": place,
        "datasource": _source(),
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _source(),
                "expr": query,
                "legendFormat": legend or "__auto",
                "range": panel.kind != "stat",
                "instant": panel.kind == "stat",
            }
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    if panel.kind == "state-timeline":
        return {"legend": legend, "showValue": "never", "mergeValues": True}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def main() -> int:
    """Write the files, or with `--check` compare them."""
    wanted = {FOLDER / f"{each.name}.json": json.dumps(written(each), indent=1) + "\n" for each in ALL}
    if "--check" not in sys.argv[1:]:
        for path, text in wanted.items():
            path.write_text(text)
        return 0
    found = {path: path.read_text() for path in FOLDER.glob("*.json")}
    if found == wanted:
        return 0
    print("charts/penstock/files/dashboards differs from its tables: run .venv/bin/python scripts/dashboards.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
