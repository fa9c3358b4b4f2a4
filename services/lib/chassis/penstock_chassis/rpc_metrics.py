"""Instruments of gRPC between processes. Label values come from small fixed sets."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REFUSED = Counter(
    "penstock_rpc_refused",
    "Calls refused because of who called, by method and the component that the caller's certificate names.",
    ["method", "caller"],
)
CALLS = Counter(
    "penstock_rpc_calls", "Calls of this server's methods that have ended, by gRPC status code.", ["method", "code"]
)
CALL_SECONDS = Histogram(
    "penstock_rpc_call_seconds",
    "Time to answer a call; streams, which last, are left out.",
    ["method"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
DAYS_LEFT = Gauge(
    "penstock_tls_days_until_expiry",
    "Days until this process's certificate, and the last of the authorities it believes, expire.",
    ["of"],
)
READINGS = Counter(
    "penstock_tls_readings", "Certificate files that changed, by whether they were taken into use.", ["result"]
)
FILES_REFUSED = Gauge(
    "penstock_tls_files_refused", "1 while the certificate files cannot be used and older ones are in force."
)
