"""Counters that alerts look at are there, with 0, before anything happens: a first sample of 1 is no increase."""

import pytest
from prometheus_client import CollectorRegistry

from penstock_edge.metrics import EdgeMetrics


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("penstock_edge_admitted_total", {"degraded": "true"}),
        ("penstock_edge_settlements_total", {"result": "quarantined"}),
        ("penstock_edge_spool_replayed_total", {"result": "abandoned"}),
        ("penstock_edge_spool_full_total", {}),
        ("penstock_edge_settle_failures_total", {}),
    ],
)
def test_they_begin_with_0(name, labels):
    registry = CollectorRegistry()
    EdgeMetrics(registry)
    assert registry.get_sample_value(name, labels) == 0
