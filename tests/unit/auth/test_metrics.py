"""Counters that alerts look at are there, with 0, before anything happens: a first sample of 1 is no increase."""

import pytest
from prometheus_client import REGISTRY

from penstock_auth import metrics


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("penstock_auth_settlements_total", {"result": "quarantined"}),
        ("penstock_auth_sql_errors_total", {"kind": "down"}),
        ("penstock_auth_sql_errors_total", {"kind": "deadline"}),
        ("penstock_auth_sql_errors_total", {"kind": "full"}),
        ("penstock_auth_store_errors_total", {"call": "epoch"}),
        ("penstock_auth_sessions_dropped_total", {"how": "lost"}),
    ],
)
def test_they_begin_with_0(name, labels):
    assert metrics.SETTLEMENTS
    assert REGISTRY.get_sample_value(name, labels) is not None
