"""A settlement as the ledger takes it: read from the wire, checked for poison, charged. Pure.

What is poison (`Poison`) can never be committed, however often it is sent; it goes to quarantine with its reason.
The billing contract stands in `charged_usage`: who pays for what, by delivery state.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from penstock_auth.pricing import NO_USAGE, Usage, charge, upstream_cost

if TYPE_CHECKING:
    from penstock_catalog.prices import PriceRow

MOST_ATTEMPTS: Final = 64
_MOST_TOKENS: Final = 1_000_000_000
_MOST_MULTIPLIER: Final = 1_000_000_000  # a thousand times the price
_MOST_TIME_MS: Final = 253_402_300_800_000  # the year 10000
_MOST_MICRO_USD: Final = 2**53
_LENGTHS: Final = {
    "request_id": 64,
    "key_id": 64,
    "project": 63,
    "model": 253,
    "dialect": 32,
    "price_digest": 16,
    "edge_session": 128,
}
_ATTEMPT_LENGTHS: Final = {"account": 253, "cls": 32, "upstream_request_id": 128, "upstream_model": 253}


class State(StrEnum):
    """How a request ended."""

    COMPLETE = "complete"
    CLIENT_LEFT = "client_left"
    ERROR_BEFORE_OUTPUT = "error_before_output"
    ERROR_AFTER_OUTPUT = "error_after_output"
    ABANDONED = "abandoned"


_CHARGED: Final = frozenset({State.COMPLETE, State.CLIENT_LEFT, State.ERROR_AFTER_OUTPUT})
_DELIVERED: Final = frozenset({State.COMPLETE, State.ERROR_AFTER_OUTPUT})


class Poison(Exception):  # noqa: N818 - what it is about, not a fault of ours
    """A settlement that can never be committed. `kind` is constant (for metrics), the message says more."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Attempt:
    """One upstream attempt. Times in Unix ms and ms; `first_byte_ms` -1: there was none."""

    index: int
    account: str
    cls: str
    status: int
    usage: Usage
    reported: bool
    estimated: bool
    upstream_request_id: str
    upstream_model: str
    started_at_ms: int
    first_byte_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """One request's end. `delivered` is the index of the attempt whose output the client got, -1 none."""

    request_id: str
    edge_session: str
    key_id: str
    project: str
    model: str
    dialect: str
    price_digest: str
    price_multiplier_ppm: int
    admitted_at_ms: int
    started_at_ms: int
    ended_at_ms: int
    state: State
    estimated: bool
    delivered: int
    attempts: tuple[Attempt, ...]
    streamed: bool
    client_status: int

    @property
    def needs_price(self) -> bool:
        """Whether anything was used that a price is needed for."""
        return any(not attempt.usage.empty for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class Bill:
    """What a settlement comes to, micro-USD: the project's charge for `usage`, and each attempt's own cost."""

    usage: Usage
    cost_micro: int
    attempt_costs: tuple[int, ...]


def charged_usage(settlement: Settlement) -> Usage:
    """Return the tokens that the project pays for.

    The delivered attempt's when something was delivered or the client left; nothing for an error before output or an
    abandoned request.
    """
    if settlement.state not in _CHARGED:
        return NO_USAGE
    return next((each.usage for each in settlement.attempts if each.index == settlement.delivered), NO_USAGE)


def bill(settlement: Settlement, price: PriceRow | None) -> Bill:
    """Charge a checked settlement. `price` may be None only when it needs none. Raises Poison for absurd sums."""
    usage = charged_usage(settlement)
    if price is None:
        return Bill(usage, 0, (0,) * len(settlement.attempts))
    result = Bill(
        usage,
        charge(usage, price, settlement.price_multiplier_ppm),
        tuple(upstream_cost(attempt.usage, price) for attempt in settlement.attempts),
    )
    if max(result.cost_micro, *result.attempt_costs, 0) > _MOST_MICRO_USD:
        raise Poison("absurd", "its cost is beyond any request's")
    return result


def check(settlement: Settlement) -> None:
    """Raise Poison when no ledger could hold this, whatever it knows. References are checked in SQL."""
    for name, length in _LENGTHS.items():
        _check_text(name, getattr(settlement, name), length)
    if not settlement.request_id:
        raise Poison("malformed", "it has no request id")
    _check_number("price_multiplier_ppm", settlement.price_multiplier_ppm, _MOST_MULTIPLIER)
    for name in ("admitted_at_ms", "started_at_ms", "ended_at_ms"):
        _check_number(name, getattr(settlement, name), _MOST_TIME_MS)
    _check_number("client_status", settlement.client_status, 999)
    _check_attempts(settlement)


def _check_attempts(settlement: Settlement) -> None:
    if len(settlement.attempts) > MOST_ATTEMPTS:
        raise Poison("absurd", f"it has {len(settlement.attempts)} attempts; at most {MOST_ATTEMPTS} are possible")
    indexes = {attempt.index for attempt in settlement.attempts}
    if len(indexes) != len(settlement.attempts):
        raise Poison("duplicate_attempt", "two of its attempts have one index")
    if settlement.delivered != -1 and settlement.delivered not in indexes:
        raise Poison("delivered_range", f"its delivered attempt {settlement.delivered} is not among its attempts")
    if settlement.delivered == -1 and settlement.state in _DELIVERED:
        raise Poison("delivered_range", f"it is {settlement.state} but names no delivered attempt")
    for attempt in settlement.attempts:
        _check_attempt(attempt)


def _check_attempt(attempt: Attempt) -> None:
    for name, length in _ATTEMPT_LENGTHS.items():
        _check_text(name, getattr(attempt, name), length)
    _check_number("attempt index", attempt.index, 10_000)
    _check_number("status", attempt.status, 999)
    _check_number("started_at_ms", attempt.started_at_ms, _MOST_TIME_MS)
    _check_number("duration_ms", attempt.duration_ms, _MOST_TIME_MS)
    _check_number("first_byte_ms", max(attempt.first_byte_ms, 0), _MOST_TIME_MS)
    usage = attempt.usage
    for name in Usage.__slots__:
        _check_number(name, getattr(usage, name), _MOST_TOKENS)


def _check_number(name: str, value: int, most: int) -> None:
    if value < 0:
        raise Poison("negative", f"{name} is negative")
    if value > most:
        raise Poison("absurd", f"{name} is beyond {most}")


def _check_text(name: str, value: str, length: int) -> None:
    if len(value) > length:
        raise Poison("absurd", f"{name} is longer than {length} characters")
    if "\0" in value:
        raise Poison("malformed", f"{name} holds a NUL character")
