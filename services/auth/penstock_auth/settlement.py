"""A settlement as the ledger takes it: read from the wire, checked for poison, charged. Pure.

What is poison (`Poison`) can never be committed, however often it is sent; it goes to quarantine with its reason.
The billing contract stands in `charged_usage`: who pays for what, by delivery state.
"""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter, le
from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_auth.pricing import NO_USAGE, Usage, charge, upstream_cost
from penstock_catalog.prices import PPM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock_catalog.prices import PriceRow

MOST_ATTEMPTS: Final = 64
_MOST_TOKENS: Final = 1_000_000_000
_MOST_MULTIPLIER: Final = 1_000_000_000  # a thousand times the price
_MOST_TIME_MS: Final = 253_402_300_800_000  # the year 10000
_MOST_MICRO_USD: Final = 2**53


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


class Attempt(msgspec.Struct, frozen=True, gc=False):
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


class Settlement(msgspec.Struct, frozen=True, gc=False):
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
        for attempt in self.attempts:  # noqa: SIM110 -- a generator for each request costs more than its loop
            if not attempt.usage.empty:
                return True
        return False


class Bill(msgspec.Struct, frozen=True, gc=False):
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
    for attempt in settlement.attempts:
        if attempt.index == settlement.delivered:
            return attempt.usage
    return NO_USAGE


def bill(settlement: Settlement, price: PriceRow | None) -> Bill:
    """Charge a checked settlement. `price` may be None only when it needs none. Raises Poison for absurd sums."""
    usage, attempts = charged_usage(settlement), settlement.attempts
    if price is None:
        return Bill(usage, 0, (0,) * len(attempts))
    costs = tuple([upstream_cost(attempt.usage, price) for attempt in attempts])
    if len(attempts) == 1 and usage is attempts[0].usage and settlement.price_multiplier_ppm == PPM:
        cost = costs[0]  # The same tokens at the same price.
    else:
        cost = charge(usage, price, settlement.price_multiplier_ppm)
    if max(cost, *costs, 0) > _MOST_MICRO_USD:
        raise Poison("absurd", "its cost is beyond any request's")
    return Bill(usage, cost, costs)


class _Bounds:
    """What the fields of a record may be at most: texts in characters, numbers as they are. None may be negative.

    A sound record, as nearly all are, is passed without a step of Python for each field.
    """

    def __init__(self, texts: Mapping[str, int], numbers: Mapping[str, int]) -> None:
        self._texts: Any = attrgetter(*texts)
        self._numbers: Any = attrgetter(*numbers)
        self._lengths = tuple(texts.values())
        self._most = tuple(numbers.values())
        self._names = tuple(texts), tuple(numbers)

    def check(self, record: object) -> None:
        """Raise Poison for the first field that is beyond its bound."""
        texts, numbers = self._texts(record), self._numbers(record)
        if "\0" in "".join(texts) or not all(map(le, map(len, texts), self._lengths)):
            for name, text, length in zip(self._names[0], texts, self._lengths, strict=True):
                _check_text(name, text, length)
        if min(numbers) < 0 or not all(map(le, numbers, self._most)):
            for name, number, most in zip(self._names[1], numbers, self._most, strict=True):
                _check_number(name, number, most)


_SETTLEMENT: Final = _Bounds(
    {
        "request_id": 64,
        "key_id": 64,
        "project": 63,
        "model": 253,
        "dialect": 32,
        "price_digest": 16,
        "edge_session": 128,
    },
    {
        "price_multiplier_ppm": _MOST_MULTIPLIER,
        "admitted_at_ms": _MOST_TIME_MS,
        "started_at_ms": _MOST_TIME_MS,
        "ended_at_ms": _MOST_TIME_MS,
        "client_status": 999,
    },
)
_ATTEMPT: Final = _Bounds(
    {"account": 253, "cls": 32, "upstream_request_id": 128, "upstream_model": 253},
    {"index": 10_000, "status": 999, "started_at_ms": _MOST_TIME_MS, "duration_ms": _MOST_TIME_MS},
)


def check(settlement: Settlement) -> None:
    """Raise Poison when no ledger could hold this, whatever it knows. References are checked in SQL."""
    _SETTLEMENT.check(settlement)
    if not settlement.request_id:
        raise Poison("malformed", "it has no request id")
    attempts, delivered = settlement.attempts, settlement.delivered
    if len(attempts) > 1:
        _check_indexes(settlement)
    if delivered == -1:
        if settlement.state in _DELIVERED:
            raise Poison("delivered_range", f"it is {settlement.state} but names no delivered attempt")
    elif not any([attempt.index == delivered for attempt in attempts]):  # noqa: C419 -- a list of one or two is cheaper
        raise Poison("delivered_range", f"its delivered attempt {delivered} is not among its attempts")
    for attempt in attempts:
        _check_attempt(attempt)


def _check_indexes(settlement: Settlement) -> None:
    count = len(settlement.attempts)
    if count > MOST_ATTEMPTS:
        raise Poison("absurd", f"it has {count} attempts; at most {MOST_ATTEMPTS} are possible")
    if len({attempt.index for attempt in settlement.attempts}) != count:
        raise Poison("duplicate_attempt", "two of its attempts have one index")


def _check_attempt(attempt: Attempt) -> None:
    _ATTEMPT.check(attempt)
    if attempt.first_byte_ms > _MOST_TIME_MS:
        raise Poison("absurd", f"first_byte_ms is beyond {_MOST_TIME_MS}")
    tokens = msgspec.structs.astuple(attempt.usage)
    if min(tokens) < 0 or max(tokens) > _MOST_TOKENS:
        for name, count in zip(Usage.__struct_fields__, tokens, strict=True):
            _check_number(name, count, _MOST_TOKENS)


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
