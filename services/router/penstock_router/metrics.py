"""The router's instruments. Labels are accounts, models' classes and names of stores: never keys or projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


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
        self.model_accounts = ModelAccounts(registry)
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


class ModelAccounts(Collector):
    """How many accounts a model has, by what they can do: counted at each scrape, because it takes milliseconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.read: Callable[[], Mapping[str, Mapping[str, int]]] = dict
        registry.register(self)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the figures of this moment."""
        family = GaugeMetricFamily(
            "penstock_router_model_accounts",
            "Accounts that serve a model: taking requests, out (cooling or about to return), or closed (draining).",
            labels=["model", "state"],
        )
        for model, states in self.read().items():
            for state, amount in states.items():
                family.add_metric([model, state], amount)
        return [family]
