"""Instruments of the simulator."""

from __future__ import annotations

import functools

from prometheus_client import Counter, Gauge, Histogram

_REQUESTS = Counter(
    "penstock_simulator_requests",
    "Requests ended, by account, operation, status (0: none was sent) and fault.",
    ["account", "operation", "status", "fault"],
)
_TOKENS = Counter("penstock_simulator_tokens", "Tokens told to clients, by account and direction.", ["account", "kind"])
_SECONDS = Histogram(
    "penstock_simulator_request_seconds",
    "Time from the whole request to the end of its answer.",
    ["operation"],
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0),
)
OPEN = Gauge("penstock_simulator_open_requests", "Requests being served.")
LEFT = Counter("penstock_simulator_clients_left", "Clients that left before the end of their answer.")


@functools.lru_cache(maxsize=4096)
def _requests(account: str, operation: str, status: int, fault: str) -> Counter:
    return _REQUESTS.labels(account, operation, str(status), fault)


@functools.lru_cache(maxsize=4096)
def _tokens(account: str, kind: str) -> Counter:
    return _TOKENS.labels(account, kind)


@functools.lru_cache(maxsize=64)
def _seconds(operation: str) -> Histogram:
    return _SECONDS.labels(operation)


def ended(account: str, operation: str, status: int, fault: str, seconds: float) -> None:
    """Count one request that has ended."""
    _requests(account or "none", operation, status, fault).inc()
    _seconds(operation).observe(seconds)


def told(account: str, whole_input: int, output: int) -> None:
    """Count the usage that one request's answer told."""
    _tokens(account, "input").inc(whole_input)
    _tokens(account, "output").inc(output)
