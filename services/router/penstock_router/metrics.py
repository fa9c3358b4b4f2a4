"""The router's instruments. Labels are accounts, models' classes and names of stores: never keys or projects."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge


class Metrics:
    """All instruments on one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.outcomes = Counter(
            "penstock_router_outcomes_total",
            "Upstream attempts reported by edges",
            ["account", "class"],
            registry=registry,
        )
        self.cooldowns = Gauge(
            "penstock_router_cooldowns",
            "Conditions in force by what caused them",
            ["account", "class"],
            registry=registry,
        )
        self.cooldowns_begun = Counter(
            "penstock_router_cooldowns_begun_total", "Cooldowns that began", ["account", "class"], registry=registry
        )
        self.share_slots = Gauge(
            "penstock_router_share_slots",
            "Concurrency lent to edges (limited accounts)",
            ["account"],
            registry=registry,
        )
        self.share_requests = Gauge(
            "penstock_router_share_requests_per_minute",
            "Request rate lent to edges (limited accounts)",
            ["account"],
            registry=registry,
        )
        self.watchers = Gauge("penstock_router_watchers", "Edges that watch", registry=registry)
        self.resnapshots = Counter(
            "penstock_router_resnapshots_total",
            "Watchers that fell behind and were sent everything anew",
            registry=registry,
        )
        self.sessions = Gauge("penstock_router_edge_sessions", "Edge sessions known", registry=registry)
        self.reports = Counter(
            "penstock_router_reports_total", "Reports by what became of them", ["result"], registry=registry
        )
        self.probes = Counter(
            "penstock_router_probes_total", "Unbilled probes", ["account", "result"], registry=registry
        )
        self.catalog = Gauge(
            "penstock_router_catalog_info", "1 for the catalog version in force", ["version"], registry=registry
        )
        self.catalog_problems = Counter(
            "penstock_router_catalog_problems_total", "Catalog documents that could not be used", registry=registry
        )
        self.store_failures = Counter(
            "penstock_router_store_failures_total", "Calls to the store that failed", ["store"], registry=registry
        )
        self.store_up = Gauge(
            "penstock_router_store_up", "0 while the router goes on from memory", ["store"], registry=registry
        )
        self.store_conflicts = Counter(
            "penstock_router_store_conflicts_total",
            "Rows that another router changed first",
            ["kind"],
            registry=registry,
        )
