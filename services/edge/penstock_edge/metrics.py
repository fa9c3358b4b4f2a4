"""The edge's instruments. Label values come from small fixed sets."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, get_args

from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from penstock_edge.records import DeliveryState
from penstock_edge.tallies import Counts, Tallies, Times

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.records import Usage

Bounds = tuple[float, ...]
# Declared, since a tuple whose every member has a known type is made anew for each who is not compiled.
_SECONDS: Final[Bounds] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60, 120, 300, 600)
_CALL_SECONDS: Final[Bounds] = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class EdgeMetrics:
    """Everything the edge counts; it also hears what the books tell (`observer.Observer`)."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._requests = Counts(
            "penstock_edge_requests", "Requests answered, by endpoint and status.", ["endpoint", "status"]
        )
        self._seconds = Times(
            "penstock_edge_request_seconds", "From arrival to the end of the answer.", ["endpoint"], _SECONDS
        )
        self._first = Times(
            "penstock_edge_first_output_seconds",
            "From arrival until the output of a stream begins.",
            ["endpoint"],
            _SECONDS,
        )
        self._tokens = Counts("penstock_edge_tokens", "Tokens of delivered answers, by kind.", ["model", "kind"])
        self._attempts = Counts(
            "penstock_edge_upstream_attempts",
            "Attempts at upstream accounts, by how they ended.",
            ["account", "class"],
        )
        self._states = Counts(
            "penstock_edge_deliveries", "Requests that reached an upstream, by delivery state.", ["state"]
        )
        self._budget = Counts("penstock_edge_retry_budget_empty", "Requests not retried because too many others were.")
        self._admitted = Counts("penstock_edge_admitted", "Requests let in.", ["degraded"])
        self._refused = Counts("penstock_edge_refused", "Requests turned away, by reason.", ["reason"])
        self._allow = Times("penstock_edge_allow_seconds", "Calls of Auth.Allow, by result.", ["result"], _CALL_SECONDS)
        self._settlements = Counts("penstock_edge_settlements", "Settlements that are final, by result.", ["result"])
        self._settle_failures = Counts("penstock_edge_settle_failures", "Settle calls that failed and are repeated.")
        self._spool_full = Counts("penstock_edge_spool_full", "Requests refused because the spool is full.")
        self._spool_corrupt = Counts("penstock_edge_spool_corrupt_bytes", "Bytes of the spool that could not be read.")
        self._replayed = Counts(
            "penstock_edge_spool_replayed", "Requests of an earlier life settled from a spool.", ["result"]
        )
        self._dropped = Counts("penstock_edge_outcomes_dropped", "Outcomes that were never reported to the router.")
        # A counter whose first sample is 1 has not increased for Prometheus, so those that alerts look at begin with 0.
        for name in ("true", "false"):
            self._admitted.add((name,), 0)
        for name in ("committed", "quarantined"):
            self._settlements.add((name,), 0)
        for name in ("settled", "abandoned"):
            self._replayed.add((name,), 0)
        # Where every request is counted: no label is looked up for it.
        self._let_in = (self._admitted.cell(("false",)), self._admitted.cell(("true",)))
        self._ends = {state: self._states.cell((state,)) for state in get_args(DeliveryState)}
        self._answers: dict[tuple[str, int], tuple[list[int], list[int], list[float]]] = {}
        self._used: dict[str, tuple[list[int], list[int]]] = {}
        Tallies(
            registry,
            [
                *(self._requests, self._seconds, self._first, self._tokens, self._attempts, self._states),
                *(self._budget, self._admitted, self._refused, self._allow, self._settlements, self._settle_failures),
                *(self._spool_full, self._spool_corrupt, self._replayed, self._dropped),
            ],
        )

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a value that is read at each scrape."""
        Gauge(name, text, registry=self._registry).set_function(read)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Note the end of one request; status 0: the client left without an answer."""
        key = (endpoint, status)
        known = self._answers.get(key)
        if known is None:
            cell = self._requests.cell((endpoint, str(status)))
            known = self._answers[key] = (cell, *self._seconds.cells((endpoint,)))
        count, counts, total = known
        count[0] += 1
        counts[bisect_left(_SECONDS, seconds)] += 1
        total[0] += seconds

    def first_output(self, endpoint: str, seconds: float) -> None:
        """Note that the output of a stream begins."""
        self._first.observe((endpoint,), seconds)

    def attempt(self, account: str, cls: str) -> None:
        """Note the end of one attempt."""
        self._attempts.add((account, cls))

    def delivered(self, state: str) -> None:
        """Note how a request that reached an upstream ended."""
        self._ends[state][0] += 1

    def used(self, model: str, usage: Usage) -> None:
        """Note the tokens of a delivered answer."""
        add = self._tokens.add
        known = self._used.get(model)
        if known is None:
            known = self._used[model] = self._tokens.cell((model, "input")), self._tokens.cell((model, "output"))
        known[0][0] += usage.input_tokens
        known[1][0] += usage.output_tokens
        if usage.cache_read_input_tokens:
            add((model, "cache_read"), usage.cache_read_input_tokens)
        written = usage.cache_write_5m_input_tokens + usage.cache_write_1h_input_tokens
        if written:
            add((model, "cache_write"), written)

    def retry_budget_empty(self) -> None:
        """Note a retry that was not made."""
        self._budget.add()

    # What the books tell.

    def admitted(self, *, degraded: bool) -> None:
        """Note that one request was let in."""
        self._let_in[degraded][0] += 1

    def refused(self, reason: str) -> None:
        """Note that one request was turned away."""
        self._refused.add((reason,))

    def allow_called(self, result: str, seconds: float) -> None:
        """Note the end of one Allow call."""
        self._allow.observe((result,), seconds)

    def settled(self, *, committed: int, quarantined: int) -> None:
        """Note final results of settlements."""
        self._settlements.add(("committed",), committed)
        self._settlements.add(("quarantined",), quarantined)

    def settle_failed(self) -> None:
        """Note that one Settle call failed."""
        self._settle_failures.add()

    def spool_full(self) -> None:
        """Note a request refused because the spool is full."""
        self._spool_full.add()

    def spool_corrupt(self, amount_bytes: int) -> None:
        """Note bytes of a spool that could not be read."""
        self._spool_corrupt.add((), amount_bytes)

    def replayed(self, *, settled: int, abandoned: int) -> None:
        """Note requests of an earlier life that were settled."""
        self._replayed.add(("settled",), settled)
        self._replayed.add(("abandoned",), abandoned)

    def outcomes_dropped(self, amount: int) -> None:
        """Note outcomes that were never reported."""
        self._dropped.add((), amount)
