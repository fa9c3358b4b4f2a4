"""What the edge knows of a request, from admission to settlement: plain records without behaviour of their own.

Those that a request keeps until it is settled, when thousands may be waiting, are nothing that the cycle collector
looks at (`gc=False`): none of them can be part of a cycle, because what they point to knows nothing of requests.

Those of the spool lie on disk as rows without names (`array_like`): a new field goes to the end and has a default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from penstock_edge.key_facts import KeyFacts

if TYPE_CHECKING:
    from penstock_edge.limits import LimitState

Kind = Literal["requests", "count_tokens"]
DeliveryState = Literal["complete", "client_left", "error_before_output", "error_after_output", "abandoned"]
Reason = Literal[
    "UNKNOWN_KEY",
    "DISABLED",
    "EXPIRED",
    "REQUESTS",
    "TOKENS",
    "COST",
    "CONCURRENCY",
    "SPEND_LIMIT",
    "CREDIT",
    "TOO_LARGE",
    "RECOVERING",
    "PLAN_MISSING",
    "STORE_DOWN",
    "AUTH_UNAVAILABLE",
]


class Need(msgspec.Struct, gc=False):
    """What one request needs of its key's limits: tokens and money by estimate (micro-USD, with the plan's multiplier).

    A need of kind `requests` also takes one slot; `count_tokens` takes neither slot nor tokens nor money.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    micro_usd: int = 0
    kind: Kind = "requests"


class LimitSource(Protocol):
    """Who can tell the present state of a key's limits."""

    def limit_states(self) -> list[LimitState]:
        """Each limit's state, aged to the present moment."""
        ...


class Admitted(msgspec.Struct, eq=False, gc=False):
    """A request that may go on. It keeps a slot until `Admission.ended` and tokens and money until `Admission.settled`.

    `admitted_at_ms` is unix ms by the store's clock. `degraded` says that the store was out of reach and the plan's
    outage policy let the request in; a response header says so too. Fields that start with an underscore belong to
    admission.
    """

    key: KeyFacts
    admitted_at_ms: int
    need: Need
    degraded: bool = False
    _source: LimitSource | None = None
    _slot: bool = False
    _held: bool = False

    def limits(self) -> list[LimitState]:
        """Each limit of the key and its project, for the headers of the answer. Empty when nothing is known."""
        return self._source.limit_states() if self._source is not None else []


@dataclass(slots=True)
class Refused:
    """A request that may not go on, and why.

    `reset_ms` counts from now: when a repetition may succeed; 0 when only a person can help. `key` is absent for an
    unknown key and when auth could not be asked.
    """

    reason: Reason
    limit: str = ""
    amount: int = 0
    unit: str = ""
    reset_ms: int = 0
    key: KeyFacts | None = None
    _source: LimitSource | None = field(default=None, repr=False)

    def limits(self) -> list[LimitState]:
        """Each limit of the key and its project, for the headers of the answer. Empty when nothing is known."""
        return self._source.limit_states() if self._source is not None else []


class Usage(msgspec.Struct, array_like=True, gc=False):
    """Tokens by kind, cumulative and each counted once. `input_tokens` are the uncached ones."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_5m_input_tokens: int = 0
    cache_write_1h_input_tokens: int = 0

    @property
    def whole_input(self) -> int:
        """All input tokens, cached or not."""
        return (
            self.input_tokens
            + self.cache_read_input_tokens
            + self.cache_write_5m_input_tokens
            + self.cache_write_1h_input_tokens
        )


class AttemptRecord(msgspec.Struct, array_like=True, gc=False):
    """One try at one account.

    `cls` is Ok, ClientLeft or a class of the health table; `status` 0 means that there was no answer;
    `first_byte_ms` and `duration_ms` count from `started_at_ms` (unix ms), -1: there was no first byte.
    """

    index: int
    account: str
    cls: str = "Ok"
    status: int = 0
    usage: Usage = msgspec.field(default_factory=Usage)
    reported: bool = False
    estimated: bool = False
    upstream_request_id: str = ""
    started_at_ms: int = 0
    first_byte_ms: int = -1
    duration_ms: int = 0
    upstream_model: str = ""


class Opened(msgspec.Struct, array_like=True, gc=False):
    """The spool's record of a request that is about to reach an upstream. Times are unix ms."""

    request_id: str
    key_id: str
    key_sha256: bytes
    project: str
    model: str
    dialect: str
    price_digest: str
    price_multiplier_ppm: int
    admitted_at_ms: int
    started_at_ms: int
    streamed: bool = False
    hold_input_tokens: int = 0
    hold_output_tokens: int = 0
    hold_micro_usd: int = 0


class Closed(msgspec.Struct, array_like=True, gc=False):
    """The spool's record of a request that has ended.

    `delivered` is the index of the attempt whose output reached the client, -1 for none; `estimated` says that this
    attempt's usage holds an estimate; `client_status` is the HTTP status that the client saw (0: none).
    """

    request_id: str
    state: DeliveryState
    estimated: bool = False
    delivered: int = -1
    attempts: list[AttemptRecord] = msgspec.field(default_factory=list)
    ended_at_ms: int = 0
    client_status: int = 0
