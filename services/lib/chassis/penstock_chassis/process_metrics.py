"""Instruments of any process's life."""

from __future__ import annotations

from typing import Final

from prometheus_client import Gauge, Histogram

READY: Final = Gauge("penstock_process_ready", "1 while /readyz says that this process can serve.")
COMPILED: Final = Gauge(
    "penstock_process_compiled_modules", "How many modules run compiled; 0 where the process runs the sources alone."
)
LAG_SECONDS: Final = Histogram(
    "penstock_loop_lag_seconds",
    "How late the event loop came back to what was due, looked at four times a second.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
