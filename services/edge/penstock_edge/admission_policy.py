"""How patient admission is, and with how many."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionPolicy:
    """Bounds and waits of admission. Seconds unless the name says otherwise."""

    max_keys: int = 25_000
    """Beyond it those that hold nothing are forgotten; twice as many may hold something, which a declaration takes."""
    max_unknown_keys: int = 50_000
    max_waiters_per_key: int = 1_000
    max_calls: int = 256
    max_calls_to_return: int = 32
    call_seconds: float = 2.5
    """Deadline of one Allow call; what was not answered is repeated."""
    first_pause_seconds: float = 0.05
    last_pause_seconds: float = 0.4
    degraded_after_seconds: float = 3.0
    """After so long without an answer, keys whose plan says Degraded no longer wait for one ..."""
    closed_after_seconds: float = 10.0
    """... and after so long all others hear at once that auth is out of reach."""
    probe_seconds: float = 0.5
    """During an outage one question goes out so often, to see whether it is over."""
