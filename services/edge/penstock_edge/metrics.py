"""The edge's instruments. Label values come from small fixed sets; children are looked up once and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.records import Usage

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class EdgeMetrics:
    """Everything the edge counts; it also hears what the books tell (`observer.Observer`)."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._requests = Counter(
            "penstock_edge_requests",
            "Requests answered, by endpoint and status.",
            ["endpoint", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "penstock_edge_request_seconds",
            "From arrival to the end of the answer.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._first = Histogram(
            "penstock_edge_first_output_seconds",
            "From arrival until the output of a stream begins.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "penstock_edge_tokens", "Tokens of delivered answers, by kind.", ["model", "kind"], registry=registry
        )
        self._attempts = Counter(
            "penstock_edge_upstream_attempts",
            "Attempts at upstream accounts, by how they ended.",
            ["account", "class"],
            registry=registry,
        )
        self._states = Counter(
            "penstock_edge_deliveries",
            "Requests that reached an upstream, by delivery state.",
            ["state"],
            registry=registry,
        )
        self._budget = Counter(
            "penstock_edge_retry_budget_empty", "Requests not retried because too many others were.", registry=registry
        )
        self._admitted = Counter("penstock_edge_admitted", "Requests let in.", ["degraded"], registry=registry)
        self._refused = Counter(
            "penstock_edge_refused", "Requests turned away, by reason.", ["reason"], registry=registry
        )
        self._allow = Histogram(
            "penstock_edge_allow_seconds", "Calls of Auth.Allow, by result.", ["result"], registry=registry
        )
        self._settlements = Counter(
            "penstock_edge_settlements", "Settlements that are final, by result.", ["result"], registry=registry
        )
        self._settle_failures = Counter(
            "penstock_edge_settle_failures", "Settle calls that failed and are repeated.", registry=registry
        )
        self._spool_full = Counter(
            "penstock_edge_spool_full", "Requests refused because the spool is full.", registry=registry
        )
        self._spool_corrupt = Counter(
            "penstock_edge_spool_corrupt_bytes", "Bytes of the spool that could not be read.", registry=registry
        )
        self._replayed = Counter(
            "penstock_edge_spool_replayed",
            "Requests of an earlier life settled from a spool.",
            ["result"],
            registry=registry,
        )
        self._dropped = Counter(
            "penstock_edge_outcomes_dropped", "Outcomes that were never reported to the router.", registry=registry
        )
        self._registry = registry
        self._kept: dict[tuple[object, ...], Counter] = {}
        self._kept_seconds: dict[str, Histogram] = {}
        self._kept_first: dict[str, Histogram] = {}

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a value that is read at each scrape."""
        Gauge(name, text, registry=self._registry).set_function(read)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Note the end of one request."""
        key = (endpoint, status)
        child = self._kept.get(key)
        if child is None:
            child = self._kept[key] = self._requests.labels(endpoint, str(status))
        child.inc()
        observer = self._kept_seconds.get(endpoint)
        if observer is None:
            observer = self._kept_seconds[endpoint] = self._seconds.labels(endpoint)
        observer.observe(seconds)

    def first_output(self, endpoint: str, seconds: float) -> None:
        """Note that the output of a stream begins."""
        observer = self._kept_first.get(endpoint)
        if observer is None:
            observer = self._kept_first[endpoint] = self._first.labels(endpoint)
        observer.observe(seconds)

    def attempt(self, account: str, cls: str) -> None:
        """Note the end of one attempt."""
        key = (account, cls)
        child = self._kept.get(key)
        if child is None:
            child = self._kept[key] = self._attempts.labels(account, cls)
        child.inc()

    def delivered(self, state: str) -> None:
        """Note how a request that reached an upstream ended."""
        child = self._kept.get((state,))
        if child is None:
            child = self._kept[(state,)] = self._states.labels(state)
        child.inc()

    def used(self, model: str, usage: Usage) -> None:
        """Note the tokens of a delivered answer."""
        self._used(model, "input", usage.input_tokens)
        self._used(model, "output", usage.output_tokens)
        self._used(model, "cache_read", usage.cache_read_input_tokens)
        self._used(model, "cache_write", usage.cache_write_5m_input_tokens + usage.cache_write_1h_input_tokens)

    def _used(self, model: str, kind: str, amount: int) -> None:
        if not amount:
            return
        key = (model, kind, "tokens")
        child = self._kept.get(key)
        if child is None:
            child = self._kept[key] = self._tokens.labels(model, kind)
        child.inc(amount)

    def retry_budget_empty(self) -> None:
        """Note a retry that was not made."""
        self._budget.inc()

    # What the books tell.

    def admitted(self, *, degraded: bool) -> None:
        """Note that one request was let in."""
        key = ("admitted", degraded)
        child = self._kept.get(key)
        if child is None:
            child = self._kept[key] = self._admitted.labels(str(degraded).lower())
        child.inc()

    def refused(self, reason: str) -> None:
        """Note that one request was turned away."""
        self._refused.labels(reason).inc()

    def allow_called(self, result: str, seconds: float) -> None:
        """Note the end of one Allow call."""
        self._allow.labels(result).observe(seconds)

    def settled(self, *, committed: int, quarantined: int) -> None:
        """Note final results of settlements."""
        self._settlements.labels("committed").inc(committed)
        self._settlements.labels("quarantined").inc(quarantined)

    def settle_failed(self) -> None:
        """Note that one Settle call failed."""
        self._settle_failures.inc()

    def spool_full(self) -> None:
        """Note a request refused because the spool is full."""
        self._spool_full.inc()

    def spool_corrupt(self, amount_bytes: int) -> None:
        """Note bytes of a spool that could not be read."""
        self._spool_corrupt.inc(amount_bytes)

    def replayed(self, *, settled: int, abandoned: int) -> None:
        """Note requests of an earlier life that were settled."""
        self._replayed.labels("settled").inc(settled)
        self._replayed.labels("abandoned").inc(abandoned)

    def outcomes_dropped(self, amount: int) -> None:
        """Note outcomes that were never reported."""
        self._dropped.inc(amount)
