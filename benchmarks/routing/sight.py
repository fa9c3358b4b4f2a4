"""What a gateway sees, and what it may do: the only thing that policies and the models of the world have in common.

A policy is given the names of the accounts and nothing else of them. A request comes to it as `Asked`, the end of an
attempt as `Seen`: what an HTTP gateway reads off the wire. It never gets hold of an account's or a client's model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class AccountSight:
    """An account as its operator has set it up. Limits per minute, -1: not stated, as in most set-ups."""

    name: str
    provider: str
    models: tuple[str, ...]
    requests_per_minute: int = -1
    tokens_per_minute: int = -1
    slots: int = -1


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrives."""

    number: int
    edge: int
    """Which of the gateway's replicas the load balancer led it to."""
    project: str
    session: str
    """The client's own name of its conversation; empty when it sends none."""
    model: str
    prompt_bytes: int
    max_tokens: int
    stream: bool
    prefix: str
    """A digest of tools, system prompt and first message; empty when that is too short to be cached."""
    arrived: float


@dataclass(frozen=True, slots=True)
class Headers:
    """The ratelimit headers of an answer: the limit, what is left, seconds until full again. -1: not sent."""

    requests_limit: int = -1
    requests_left: int = -1
    requests_reset: float = -1.0
    input_limit: int = -1
    input_left: int = -1
    input_reset: float = -1.0
    output_limit: int = -1
    output_left: int = -1
    output_reset: float = -1.0

    def tokens(self) -> tuple[int, int, float]:
        """Return (limit, left, reset) of the tighter of both kinds, as `anthropic-ratelimit-tokens-*` does."""
        if self.output_limit < 0 or (
            self.input_limit >= 0 and self.input_left * self.output_limit < self.output_left * self.input_limit
        ):
            return self.input_limit, self.input_left, self.input_reset
        return self.output_limit, self.output_left, self.output_reset


@dataclass(frozen=True, slots=True)
class Seen:
    """How one attempt ended. Status 0: no answer (connection lost, deadline). Tokens -1: not told."""

    account: str
    status: int
    sent_at: float
    ended_at: float
    began_at: float = -1.0
    """When output began; -1: it did not."""
    retry_after: float | None = None
    headers: Headers | None = None
    broken: bool = False
    """Failed after output had begun: it cannot be tried again."""
    repeatable: bool = True
    """False when it may have been carried out (the deadline of a unary request)."""
    input_tokens: int = -1
    """All of the prompt, what came from the cache included."""
    cached_tokens: int = -1
    output_tokens: int = -1

    @property
    def good(self) -> bool:
        """The client has its whole answer."""
        return self.status == 200 and not self.broken


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request to this account now."""

    account: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the request; `tick` will say what becomes of it."""


@dataclass(frozen=True, slots=True)
class Hedge:
    """Send the request to this account as well; the first whose output begins is used, the other one is dropped.

    The second attempt goes by the request's number with a minus.
    """

    account: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the client with an error."""

    status: int
    retry_after: float = 0.0


Decision = Send | Hold | Hedge | Refuse
HOLD = Hold()


class Policy(Protocol):
    """A gateway's routing. Numbers name requests; times are virtual seconds."""

    name: str

    def pick(self, asked: Asked, now: float) -> Decision:
        """Say where a new request goes."""

    def begun(self, number: int, headers: Headers | None, now: float) -> None:
        """Note that its output has begun, and what the head of the answer said."""

    def finished(self, number: int, seen: Seen, now: float) -> Decision | None:
        """Note an attempt's end; of a failed one say what comes next. None: the client has been answered."""

    def dropped(self, number: int, now: float) -> None:
        """Note that an attempt was given up since the request's other one has begun."""

    def tick(self, now: float) -> Iterable[tuple[int, Decision]]:
        """Do what is due; return what is to become of requests that were held."""

    def due(self) -> float:
        """Return when `tick` is next wanted (inf: never)."""

    def probes(self) -> list[str]:
        """Return accounts to be asked `GET /v1/models` now, which costs nothing."""

    def probed(self, account: str, status: int, now: float) -> None:
        """Take the answer of a probe."""
