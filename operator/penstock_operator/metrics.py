"""The operator's instruments. Labels are kinds, reasons of failures and results: never names, keys or projects."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

TURNS = Counter("penstock_operator_turns_total", "Turns of the loop by how they ended", ["result"])
TURN_SECONDS = Histogram(
    "penstock_operator_turn_seconds",
    "How long a turn takes, from gathering to publishing",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
RESYNC_SECONDS = Histogram(
    "penstock_operator_resync_seconds",
    "How long it takes to list everything anew",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
WRITES = Counter(
    "penstock_operator_writes_total",
    "Writes to the Kubernetes API by what was written and how it went",
    ["what", "result"],
)
API_FAILURES = Counter("penstock_operator_api_failures_total", "Calls of the Kubernetes API that failed", ["call"])
WATCH_RESTARTS = Counter("penstock_operator_watch_restarts_total", "How often watching had to begin anew")
OBJECTS = Gauge("penstock_operator_objects", "Objects by kind and by their Ready condition", ["kind", "ready"])
PROBES = Counter("penstock_operator_probes_total", "Credentials that routers tried for us, by result", ["result"])
EVENTS_DROPPED = Counter("penstock_operator_events_dropped_total", "Events that were too many to write")
CATALOG_VERSION_TIME = Gauge(
    "penstock_operator_catalog_version_timestamp_seconds",
    "When the version of a catalog that is in force was published",
    ["catalog"],
)
CATALOG_UNPUBLISHED = Gauge(
    "penstock_operator_catalog_unpublished", "1 while a catalog that was compiled could not be published", ["catalog"]
)
REPLICAS = Gauge("penstock_operator_replicas", "Routers and auths that are watched, by what they do", ["of", "state"])
