"""Instruments of gRPC between processes. Label values come from small fixed sets."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

REFUSED = Counter(
    "penstock_rpc_refused",
    "Calls refused because of who called, by method and the component that the caller's certificate names.",
    ["method", "caller"],
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
