"""An edge's picture of all accounts: picks one for each request, and takes it back when the attempt has ended.

The router explains with the same code. Nothing here does I/O, reads a clock or draws random numbers: `now` is the
caller's monotonic seconds, `rng` returns floats in [0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_routing.outcomes import MESSAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from penstock_routing.accounts import AccountFacts, Share
    from penstock_routing.outcomes import Outcome
    from penstock_routing.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What selection needs to know of a request."""

    model: str
    """Public name, aliases resolved."""
    operation: str = MESSAGES
    affinity: bytes | None = None
    """Project and client session, or a cacheable prefix; None: no stickiness."""
    project: str = ""
    estimated_tokens: int = 0
    """Input and output together; debited from the account's token share, corrected by the outcome."""
    session: str = ""
    """The *edge* session that asks (half-open trials belong to one of them)."""


@dataclass(slots=True, kw_only=True)
class Pick:
    """One attempt's place on an account. Give it back exactly once: `Pool.finished` or `Pool.unused` (more are ignored)."""

    account: str
    model: str
    operation: str
    trial: bool
    """It is the half-open trial: say so in the Outcome."""
    watched: bool
    """The account is returning: call `Pool.begun` when output begins."""
    tokens: int
    taken_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoneLeft:
    """No account can take the request now."""

    throttled: bool
    """Every candidate is out for throttling or its own limits (429, else 529). False when there is no candidate."""
    soonest_seconds: float
    """When the first candidate may be back; > 0."""
    reasons: dict[str, str]
    """Account -> why it was not taken. Accounts in `tried` are listed as `tried`, but do not decide `throttled`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One account in an explanation."""

    account: str
    eligible: bool
    reason: str
    score: float
    tier: int
    rank: int
    """1 is taken first; 0: dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooldown:
    """The router's word on one (account, model, operation). Empty model: the whole account; empty operation: all."""

    account: str
    model: str = ""
    operation: str = ""
    cls: str = ""
    remaining_seconds: float = 0.0
    half_open: bool = False
    trial_session: str = ""
    """The edge session whose one request may try it; empty: nobody yet."""
    ramp_percent: int = 0
    """1..99: returning, with this part of its weight."""
    reason: str = ""


class Pool:
    """All accounts with their health, shares and load, indexed by model. Not thread-safe: one event loop owns it.

    No method raises for unknown accounts or models: such a thing is ignored or answered by NoneLeft.
    """

    def __init__(self, policy: Policy | None = None) -> None: ...

    def load(self, accounts: Iterable[AccountFacts], now: float) -> None:
        """Replace the set of accounts. Load, health and buckets of those that stay are kept."""

    def account(self, name: str) -> AccountFacts | None:
        """Return an account's facts (with its credential); None when it is not (or no longer) in the catalog."""

    def router_seen(self, now: float) -> None:
        """Note that the router spoke (any update or heartbeat). While it does, it alone decides about returns."""

    def set_cooldown(self, cooldown: Cooldown, now: float) -> None:
        """Take the router's word. It wins, but never shortens a cooldown that this edge set itself in the last 2 s."""

    def clear_cooldown(self, account: str, model: str, operation: str, now: float) -> None:
        """Take the router's word that nothing is wrong there; the same exception as for `set_cooldown`."""

    def set_cooldowns(self, cooldowns: Iterable[Cooldown], now: float) -> None:
        """Take a full snapshot's cooldowns: whatever is not named is cleared."""

    def set_share(self, account: str, version: int, share: Share, now: float) -> None:
        """Obey a share from now on. An older version than the one in force is ignored."""

    def shares(self) -> dict[str, tuple[int, Share]]:
        """Return (version, share) by account: what a reconnecting edge declares, and the version for Demand."""

    def pick(self, traits: Traits, tried: frozenset[str], now: float, rng: Callable[[], float]) -> Pick | NoneLeft:
        """Choose an account and take a slot and bucket units of it. A few microseconds; never waits."""

    def begun(self, pick: Pick, now: float) -> bool:
        """Output of a watched pick has begun. True once: report an Outcome of class Begun (trial as in the pick) at once."""

    def finished(self, pick: Pick, outcome: Outcome, now: float) -> bool:
        """Give the place back and apply the health rules here at once, provisionally.

        Returns True when the outcome changed health: report it to the router at once rather than in the next batch.
        """

    def unused(self, pick: Pick, now: float) -> None:
        """Give back a pick for which nothing was sent, its request and tokens included; says nothing of health."""

    def in_flight(self, account: str) -> int:
        """Return how many picks of this account are out (Demand.slots_in_use)."""

    def explain(self, traits: Traits, now: float) -> list[Candidate]:
        """Return every account that serves the model, best first, dropped ones last, by the code that picks."""
