"""What goes into a pick and what comes out: traits, picks, refusals, explanations, and the router's word."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock_routing.gauges import RESERVE
from penstock_routing.outcomes import COUNT_TOKENS, MESSAGES

if TYPE_CHECKING:
    from penstock_routing.accounts import Hints
    from penstock_routing.lanes import Gate, Lane


# Of every request, so it is made by an `__init__` of its own: the one of a dataclass is slow in compiled modules.
@dataclass(slots=True, init=False)
class Traits:
    """What selection needs to know of a request. Nobody changes one."""

    model: str
    """Public name, aliases resolved."""
    operation: str
    affinity: bytes | None
    """Project and client session, or a cacheable prefix; None: no stickiness."""
    project: str
    estimated_tokens: int
    """Input and output together; debited from the account's token share, corrected by the outcome."""
    estimated_output: int
    """The output's part of it."""
    session: str
    """The *edge* session that asks (half-open trials belong to one of them)."""
    providers: frozenset[str] | None
    """Only accounts of these providers may take it; None: any."""
    reserve: float
    """The part of an upstream's limits that it leaves in store."""

    def __init__(
        self,
        *,
        model: str,
        operation: str = MESSAGES,
        affinity: bytes | None = None,
        project: str = "",
        estimated_tokens: int = 0,
        estimated_output: int = 0,
        session: str = "",
        providers: frozenset[str] | None = None,
        reserve: float = RESERVE,
    ) -> None:
        self.model = model
        self.operation = operation
        self.affinity = affinity
        self.project = project
        self.estimated_tokens = estimated_tokens
        self.estimated_output = estimated_output
        self.session = session
        self.providers = providers
        self.reserve = reserve


class Pick:
    """One attempt's place on an account. Give it back once: `Pool.finished` or `Pool.unused` (more are ignored).

    `trial`: it is the half-open trial, say so in the Outcome. `watched`: the account is returning, call `Pool.begun`
    when output begins. `taken_at`: the pool's seconds.
    """

    __slots__ = (
        "account",
        "affinity",
        "cost",
        "despite",
        "done",
        "fresh",
        "gates",
        "heard",
        "lane",
        "limited",
        "model",
        "operation",
        "output",
        "taken_at",
        "tokens",
        "trial",
        "watched",
    )

    def __init__(self, lane: Lane, traits: Traits, fresh: int, taken_at: float) -> None:
        self.lane = lane
        self.account = lane.account.name
        self.model = lane.model
        self.operation = traits.operation
        self.affinity = traits.affinity
        self.tokens = traits.estimated_tokens
        self.fresh = fresh
        """Estimated input that this account has not seen lately."""
        self.output = traits.estimated_output
        self.cost = 1.0
        """What it adds to the account's load."""
        self.taken_at = taken_at
        self.limited = lane.account.limited and traits.operation != COUNT_TOKENS
        self.heard: Hints | None = None
        """What the head of its answer said of the upstream's limits."""
        self.despite = False
        """Taken though its account cools, since most do."""
        self.trial = False
        self.watched = False
        self.done = False
        self.gates: tuple[Gate, ...] = ()

    def __repr__(self) -> str:
        return f"Pick(account={self.account!r}, model={self.model!r}, trial={self.trial}, watched={self.watched})"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoneLeft:
    """No account can take the request now."""

    throttled: bool
    """Every candidate is out for throttling or its own limits (429, else 529). False when there is no candidate."""
    soonest_seconds: float
    """When the first candidate may be back; > 0."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Account -> why it was not taken. Accounts in `tried` are listed as `Tried`, but do not decide `throttled`."""
    home: str = ""
    """The account that has its cache and will have room so soon that waiting costs less than going elsewhere."""
    worth_seconds: float = 0.0
    """For how long that holds."""
    stands_seconds: float = 0.0
    """For so long the same will be said, unless `Pool.changes`."""


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
    seconds: float = 0.0
    """Until it may take requests; 0: now, or nobody knows."""


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
