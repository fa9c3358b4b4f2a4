"""auth's instruments. No label holds a key, a project or a request: those belong in the ledger."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

ALLOW: Final = Counter("penstock_auth_allow_total", "Allow calls by result: lent, or a denial's reason.", ["result"])
ALLOW_SECONDS: Final = Histogram(
    "penstock_auth_allow_seconds",
    "Time to answer an Allow call.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
REQUESTS_LENT: Final = Counter("penstock_auth_requests_lent_total", "Requests lent in allowances.", ["kind"])
SETTLEMENTS: Final = Counter(
    "penstock_auth_settlements_total",
    "Settlements by result: committed, duplicate (committed before), quarantined, deferred (price not known yet).",
    ["result"],
)
QUARANTINED: Final = Counter(
    "penstock_auth_quarantined_total", "Settlements put into quarantine, by reason.", ["reason"]
)
CHARGED_MICRO_USD: Final = Counter("penstock_auth_charged_micro_usd_total", "Charges committed, in micro-USD.")
SETTLE_SECONDS: Final = Histogram(
    "penstock_auth_settle_seconds",
    "Time to commit a batch of settlements and apply it to the counters.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
SQL_ERRORS: Final = Counter(
    "penstock_auth_sql_errors_total", "Failures of SQL: down, deadline, full (too many waiting), retried.", ["kind"]
)
STORE_ERRORS: Final = Counter(
    "penstock_auth_store_errors_total", "Calls that the store of counters did not answer.", ["call"]
)
EDGE_SESSIONS: Final = Gauge(
    "penstock_auth_edge_sessions", "Edge sessions by state: live, or waited for after a loss.", ["state"]
)
SESSIONS_DROPPED: Final = Counter(
    "penstock_auth_sessions_dropped_total",
    "Edge sessions whose holdings ended by silence (dropped) or loss (lost).",
    ["how"],
)
EPOCHS: Final = Counter("penstock_auth_epochs_total", "Epochs of the counters seen, each after the first a loss.")
WATCHERS: Final = Gauge("penstock_auth_watchers", "Open streams of changes.")
CHANGES: Final = Counter("penstock_auth_changes_total", "Changes sent to edges, by kind.", ["kind"])
CATALOG_LOADED: Final = Counter("penstock_auth_catalog_loaded_total", "Catalog documents taken up.")
CATALOG_PROBLEMS: Final = Counter("penstock_auth_catalog_problems_total", "Reasons why a catalog was not taken up.")

# A counter whose first sample is 1 has not increased for Prometheus, so those that alerts look at begin with 0.
for _result in ("committed", "duplicate", "quarantined", "deferred"):
    SETTLEMENTS.labels(_result)
for _kind in ("down", "deadline", "full", "retried"):
    SQL_ERRORS.labels(_kind)
for _call in ("open", "epoch", "Allow", "post", "bulletin"):
    STORE_ERRORS.labels(_call)
for _how in ("dropped", "lost"):
    SESSIONS_DROPPED.labels(_how)
