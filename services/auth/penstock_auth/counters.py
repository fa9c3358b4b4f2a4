"""What auth's decisions count on: the seam between the servicer and the store of windows, leases and holdings.

Two stores stand behind `Counters`: `counters_memory.MemoryCounters` and `counters_redis.RedisCounters`. Both decide
each call in one atomic step, in the store's own time, and both pass the same contract tests.

Errors (all are `CountersError`)::

    CountersError
    ├── StoreDown        the store did not answer in time, or not at all; nothing is known about the call
    └── StoreRefused     the store cannot do its work (scripts refused, wrong version); refuse to start

Rules that an edge session must keep, for the promises to hold:

- `seq` grows by one per (session, key); a retry repeats the whole call with its seq. One call per key is in flight.
- A life counts from the moment of *sending* (of the first try or of the answered one, both are safe).
- An answer whose epoch is not the one that the session has last declared for is thrown away.
- A session hears `RECOVERING` until it has declared itself for the epoch, if it may have had anything before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from penstock_auth.bulletin import Bulletin


class CountersError(Exception):
    """Something is wrong with the store of counters."""


class StoreDown(CountersError):  # noqa: N818 - a state that callers match, named as in the outage policy
    """The store is unreachable, frozen or refusing for the moment; the call may or may not have had its effect."""


class StoreRefused(CountersError):  # noqa: N818 - named like StoreDown
    """The store will never do: it refuses scripts, or answers what no supported version answers."""


class Unit(StrEnum):
    """What a limit counts. TotalTokens is whole input (with cache reads and writes) and output."""

    REQUESTS = "Requests"
    INPUT_TOKENS = "InputTokens"
    OUTPUT_TOKENS = "OutputTokens"
    TOTAL_TOKENS = "TotalTokens"
    COST = "CostMicroUSD"
    CONCURRENT = "ConcurrentRequests"


class Scope(StrEnum):
    """Whose use a limit adds up."""

    KEY = "Key"
    PROJECT = "Project"


class Kind(StrEnum):
    """Which requests window a lease draws on; count_tokens has its own, with the same amounts."""

    REQUESTS = "requests"
    COUNT_TOKENS = "count_tokens"


class Reason(StrEnum):
    """Why a call was denied. All but STALE are names of the proto's DenialReason without its prefix."""

    REQUESTS = "REQUESTS"
    TOKENS = "TOKENS"
    COST = "COST"
    CONCURRENCY = "CONCURRENCY"
    SPEND_LIMIT = "SPEND_LIMIT"
    CREDIT = "CREDIT"
    TOO_LARGE = "TOO_LARGE"
    RECOVERING = "RECOVERING"
    STALE = "STALE"  # a seq older than the last one: nobody waits for this answer


@dataclass(frozen=True, slots=True)
class Limit:
    """One window of a plan. A counter is named by scope, unit and window, so an amount may change at any time."""

    name: str
    unit: Unit
    amount: int
    window_ms: int
    scope: Scope = Scope.KEY


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a session holds, or wants to: concurrent requests, tokens, and money in micro-USD."""

    slots: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    micro_usd: int = 0


NOTHING: Final = Amounts()


class Versioned(msgspec.Struct, frozen=True, gc=False):
    """A fact read from SQL, micro-USD, with the ledger sequence that it was read at; the newest one counts."""

    micro_usd: int
    version: int


@dataclass(frozen=True, slots=True)
class SpendLimit:
    """A key's own limit of spend in its current period, micro-USD, and what it has spent of it."""

    amount: int
    spent: Versioned


@dataclass(frozen=True, slots=True)
class LeaseReturn:
    """A lease that has ended on its edge: `spent` units stay counted, from now; the rest is free."""

    lease_id: str
    spent: int


@dataclass(frozen=True, slots=True)
class AllowCall:
    """One AllowRequest with the facts about its key. `credit` is the project's balance, None when none is required.

    A key that shares the limits of another is named `<the other>/<itself>`, here and everywhere below: leases, holdings
    and answers are its own, windows, slots and spend are the other's.
    """

    project: str
    key: str
    session: str
    seq: int
    kind: Kind = Kind.REQUESTS
    need_requests: int = 0
    want_requests: int = 0
    keeping: Amounts = NOTHING
    need: Amounts = NOTHING
    want: Amounts = NOTHING
    returned: tuple[LeaseReturn, ...] = ()
    epoch: str = ""
    limits: tuple[Limit, ...] = ()
    max_slots: int | None = None
    strict: bool = False
    credit: Versioned | None = None
    spend_limit: SpendLimit | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What was lent. `life_ms` counts from when the edge sent the call; `holding` is absolute."""

    lease_id: str
    requests: int
    life_ms: int
    holding: Amounts


@dataclass(frozen=True, slots=True)
class Denial:
    """Why nothing was lent, and until when (ms from now) that is worth remembering. reset 0: only a person helps."""

    reason: Reason
    limit: str = ""
    unit: str = ""
    amount: int = 0
    reset_ms: int = 0
    valid_ms: int = 0


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit after an answer: what is neither used nor lent, and when (ms from now) all of it is free again."""

    name: str
    unit: Unit
    amount: int
    remaining: int
    reset_ms: int
    window_ms: int
    scope: Scope


@dataclass(frozen=True, slots=True)
class AllowResult:
    """The answer: exactly one of `grant` and `denial`. `dropped` names silent sessions whose holdings ended here."""

    grant: Grant | None
    denial: Denial | None
    epoch: str
    store_time_ms: int
    edges: int
    limits: tuple[LimitState, ...] = ()
    dropped: tuple[str, ...] = ()


class SettleEffect(msgspec.Struct, frozen=True, gc=False):
    """What a committed ledger row does to the counters. Applied once per request id.

    `input_tokens` is whole input; `micro_usd` is the charge. `balance` (of the project) and `spent` (of the key, in
    its current period) are read in the transaction of the row.
    """

    project: str
    key: str
    session: str
    request_id: str
    admitted_at_ms: int
    input_tokens: int
    output_tokens: int
    micro_usd: int
    limits: tuple[Limit, ...] = ()
    balance: Versioned | None = None
    spent: Versioned | None = None


@dataclass(frozen=True, slots=True)
class LeaseHeld:
    """A lease that a session still has: what it has not spent of it, and its remaining life."""

    lease_id: str
    unspent: int
    expires_in_ms: int
    kind: Kind = Kind.REQUESTS


@dataclass(frozen=True, slots=True)
class Admission:
    """Requests admitted at one time (the store's clock) that have no ledger row, or had none when it was declared."""

    admitted_at_ms: int
    requests: int = 1
    kind: Kind = Kind.REQUESTS


@dataclass(frozen=True, slots=True)
class KeyDeclaration:
    """All that a session has of one key."""

    project: str
    key: str
    limits: tuple[Limit, ...] = ()
    holding: Amounts = NOTHING
    leases: tuple[LeaseHeld, ...] = ()
    admissions: tuple[Admission, ...] = ()


@dataclass(frozen=True, slots=True)
class Declaration:
    """All that a session has, for one epoch. One that is not complete is a heartbeat; its keys are ignored."""

    session: str
    epoch: str
    complete: bool
    keys: tuple[KeyDeclaration, ...] = ()


@dataclass(frozen=True, slots=True)
class Heard:
    """The answer to a heartbeat or declaration. `declare_again`: this epoch has no complete declaration of it."""

    epoch: str
    store_time_ms: int
    declare_again: bool


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """Requests of one key in the ledger: one (with its id), or many admitted near each other (no id, latest time).

    `session` is the edge's that admitted the one. Ids matter for rows committed in the last minutes: a settlement that
    is repeated then is not counted twice.
    """

    key: str
    admitted_at_ms: int
    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    micro_usd: int = 0
    request_id: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True)
class ProjectHistory:
    """What the ledger knows of a project's windows: rows as old as the longest window, and each key's limits."""

    rows: Sequence[LedgerRow] = ()
    limits: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpochState:
    """The store's epoch and how far its recovery is.

    `waiting` are recorded sessions that have not declared yet (nothing that is limited is lent meanwhile);
    `lost` are those that never did within 30 s: the caller marks them so in SQL. `dropped` have been silent for 30 s.
    """

    id: str
    since_ms: int
    store_time_ms: int
    waiting: frozenset[str]
    lost: frozenset[str]
    live: frozenset[str]
    dropped: frozenset[str]


class Truth(Protocol):
    """What SQL knows, asked by a store after a loss (and for a project it has never seen, or not for long)."""

    async def unclean_sessions(self) -> Collection[str]:
        """Return the recorded edge sessions that neither ended cleanly nor are marked lost."""
        ...

    async def history(self, project: str) -> ProjectHistory:
        """Return committed rows of the project's windows, read now."""
        ...


class Counters(Protocol):
    """A store of windows, leases and holdings. Every method but `time_ms` may raise `StoreDown`."""

    @property
    def bulletin(self) -> Bulletin:
        """Where replicas post changes for those that SQL cannot tell."""
        ...

    def time_ms(self) -> int:
        """Return the store's time, about, without asking it. Clocks of machines may be put back; this one is not."""
        ...

    async def open(self) -> None:
        """Connect and check that the store can do its work. Raises StoreRefused, StoreDown."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...

    async def allow(self, call: AllowCall) -> AllowResult:
        """Decide one call, in one step. Repeating a (session, key, seq) gives the first answer with its life left."""
        ...

    async def settle(self, effects: Sequence[SettleEffect]) -> None:
        """Apply what committed rows did. Returns when all are applied; repeating is harmless."""
        ...

    async def declare(self, declaration: Declaration) -> Heard:
        """Take in all that a session holds, if this epoch has not heard it yet; otherwise as a heartbeat."""
        ...

    async def touch_session(self, session: str) -> Heard:
        """Take a heartbeat."""
        ...

    async def end_session(self, session: str) -> Heard:
        """End a session cleanly: its holdings go, nobody waits for it. Leases stay counted."""
        ...

    async def epoch(self) -> EpochState:
        """Return the epoch and the state of recovery; makes an epoch when there is none (which is a loss)."""
        ...
