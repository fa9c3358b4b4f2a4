"""Instruments of trace export."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

SENT: Final = Counter("penstock_trace_spans_sent", "Spans that a trace collector has taken.")
DROPPED: Final = Counter(
    "penstock_trace_spans_dropped",
    "Spans that no trace collector has taken, by why: the queue was full, the collector failed, the process ended.",
    ["reason"],
)
