"""What selection knows of an upstream account: desired facts, its share of capacity, the upstream's own hints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

UNLIMITED: Final = -1
"""Stands in a share or a limit for "not limited"."""

ACTIVE: Final = "Active"
DRAINING: Final = "Draining"
DISABLED: Final = "Disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Deadlines of one account's attempts, in seconds: `first_byte` and `idle` for streams, `response` for the rest."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 120.0
    response: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """One account as the catalog wants it. Its representation never shows the credential."""

    name: str
    provider: str = "Anthropic"
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    models: tuple[str, ...] = ()
    """Public model names that it serves (aliases are resolved before)."""
    tier: int = 0
    """Lower tiers are used first."""
    weight: int = 100
    """Its part of the traffic in its tier; 0 takes none."""
    mode: str = ACTIVE
    timeouts: Timeouts = field(default_factory=Timeouts)
    allow_private_address: bool = False
    generation: int = 0
    credential_hash: str = ""
    not_served: str = ""
    """Why it takes no requests at all, such as ProviderNotServed; empty when it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of an account's limits, lent to one edge session. -1 (UNLIMITED): not limited. Rates are per minute."""

    slots: int = UNLIMITED
    requests_per_minute: int = UNLIMITED
    request_burst: int = UNLIMITED
    tokens_per_minute: int = UNLIMITED
    token_burst: int = UNLIMITED


# Of every answer, so it is made by an `__init__` of its own: the one of a dataclass is slow in compiled modules.
@dataclass(slots=True, init=False)
class Hints:
    """What an upstream's answer said of its own limits. -1: nothing; resets are milliseconds from the answer.

    Nobody changes one.
    """

    requests_limit: int
    requests_remaining: int
    requests_reset_ms: int
    tokens_limit: int
    tokens_remaining: int
    tokens_reset_ms: int
    input_limit: int
    """Input that counts against the limit, where input and output are limited apart (Anthropic)."""
    input_remaining: int
    input_reset_ms: int
    output_limit: int
    output_remaining: int
    output_reset_ms: int

    def __init__(
        self,
        *,
        requests_limit: int = -1,
        requests_remaining: int = -1,
        requests_reset_ms: int = -1,
        tokens_limit: int = -1,
        tokens_remaining: int = -1,
        tokens_reset_ms: int = -1,
        input_limit: int = -1,
        input_remaining: int = -1,
        input_reset_ms: int = -1,
        output_limit: int = -1,
        output_remaining: int = -1,
        output_reset_ms: int = -1,
    ) -> None:
        self.requests_limit = requests_limit
        self.requests_remaining = requests_remaining
        self.requests_reset_ms = requests_reset_ms
        self.tokens_limit = tokens_limit
        self.tokens_remaining = tokens_remaining
        self.tokens_reset_ms = tokens_reset_ms
        self.input_limit = input_limit
        self.input_remaining = input_remaining
        self.input_reset_ms = input_reset_ms
        self.output_limit = output_limit
        self.output_remaining = output_remaining
        self.output_reset_ms = output_reset_ms

    def any_left(self) -> bool:
        """Tell whether of no limit that was told all is used."""
        told = (self.requests_remaining, self.tokens_remaining, self.input_remaining, self.output_remaining)
        return 0 not in told and max(told) > 0
