"""Metrics come out as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from penstock_edge.metrics import EdgeMetrics
from penstock_edge.records import Usage
from penstock_edge.tallies import Counts, Tallies, Times


def samples(registry):
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


def test_counts_and_times():
    registry = CollectorRegistry()
    plain, labelled = Counts("plain", "x"), Counts("labelled", "x", ["a", "b"])
    times = Times("times", "x", ["a"], (0.1, 1))
    Tallies(registry, [plain, labelled, times])
    plain.add()
    labelled.add(("1", "2"))
    labelled.add(("1", "2"), 4)
    for seconds in (0.05, 0.1, 0.5, 7.0):
        times.observe(("z",), seconds)
    got = samples(registry)
    assert got[("plain_total",)] == 1
    assert got[("labelled_total", "1", "2")] == 5
    assert got[("times_bucket", "0.1", "z")] == 2
    assert got[("times_bucket", "1.0", "z")] == 3
    assert got[("times_bucket", "+Inf", "z")] == 4
    assert got[("times_count", "z")] == 4
    assert round(got[("times_sum", "z")], 2) == 7.65


def test_a_counter_without_labels_shows_before_its_first_event():
    registry = CollectorRegistry()
    EdgeMetrics(registry)
    assert samples(registry)[("penstock_edge_spool_full_total",)] == 0


def test_everything_that_is_noted_shows():
    registry = CollectorRegistry()
    metrics = EdgeMetrics(registry)
    metrics.gauge("penstock_edge_test", "x", lambda: 7.0)
    metrics.answered("messages", 200, 0.1)
    metrics.first_output("messages", 0.1)
    metrics.attempt("a", "Ok")
    metrics.delivered("complete")
    metrics.used("m", Usage(1, 2, 3, 4, 5))
    metrics.used("n", Usage(1, 2))
    metrics.retry_budget_empty()
    metrics.admitted(degraded=False)
    metrics.admitted(degraded=True)
    metrics.refused("REQUESTS")
    metrics.allow_called("allowance", 0.001)
    metrics.settled(committed=3, quarantined=1)
    metrics.settle_failed()
    metrics.spool_full()
    metrics.spool_corrupt(10)
    metrics.replayed(settled=2, abandoned=1)
    metrics.outcomes_dropped(6)
    got = samples(registry)
    assert got[("penstock_edge_test",)] == 7
    assert got[("penstock_edge_requests_total", "200", "messages")] == 1
    assert got[("penstock_edge_request_seconds_count", "messages")] == 1
    assert got[("penstock_edge_first_output_seconds_count", "messages")] == 1
    assert got[("penstock_edge_upstream_attempts_total", "Ok", "a")] == 1
    assert got[("penstock_edge_deliveries_total", "complete")] == 1
    assert got[("penstock_edge_tokens_total", "input", "m")] == 1
    assert got[("penstock_edge_tokens_total", "cache_write", "m")] == 9
    assert ("penstock_edge_tokens_total", "cache_read", "n") not in got
    assert got[("penstock_edge_retry_budget_empty_total",)] == 1
    assert got[("penstock_edge_admitted_total", "true")] == 1
    assert got[("penstock_edge_refused_total", "REQUESTS")] == 1
    assert got[("penstock_edge_allow_seconds_count", "allowance")] == 1
    assert got[("penstock_edge_settlements_total", "committed")] == 3
    assert got[("penstock_edge_settle_failures_total",)] == 1
    assert got[("penstock_edge_spool_full_total",)] == 1
    assert got[("penstock_edge_spool_corrupt_bytes_total",)] == 10
    assert got[("penstock_edge_spool_replayed_total", "abandoned")] == 1
    assert got[("penstock_edge_outcomes_dropped_total",)] == 6
