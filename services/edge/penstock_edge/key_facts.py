"""What the edge knows of a key: compiled, since every request looks at it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What auth says of a key that exists. `models` are patterns; an `expires_at_ms` of 0 is never (unix ms)."""

    key_id: str
    project: str
    plan: str
    models: tuple[str, ...]
    over_budget: str
    on_store_outage: str
    credit_required: bool
    translation: str
    messages_translation: str
    error_profile: str
    price_multiplier_ppm: int
    max_concurrent_requests: int
    expires_at_ms: int
    key_prefix: str
    shows_route: bool = False
    """Answers say which accounts were looked at, and why each was taken or dropped."""
