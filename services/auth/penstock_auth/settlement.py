"""A settlement as the ledger takes it: read from the wire, checked for poison, charged. Pure.

What is poison (`Poison`) can never be committed, however often it is sent; it goes to quarantine with its reason.
The billing contract stands in `charged_usage`: who pays for what, by delivery state.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_auth.columns import Sheet
from penstock_auth.pricing import NO_USAGE, Usage, charge, upstream_cost
from penstock_catalog.charges import PPM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from penstock_auth.columns import Columns
    from penstock_catalog.prices import PriceRow

MOST_ATTEMPTS: Final = 64
_MOST_TOKENS: Final = 1_000_000_000
_MOST_MULTIPLIER: Final = 1_000_000_000  # a thousand times the price
_MOST_TIME_MS: Final = 253_402_300_799_999  # the end of the year 9999, the last that has a name
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

    usage: Usage
    index: int
    account: str
    cls: str
    status: int
    reported: bool
    estimated: bool
    upstream_request_id: str
    upstream_model: str
    started_at_ms: int
    first_byte_ms: int
    duration_ms: int


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """One request's end. `delivered` is the index of the attempt whose output the client got, -1 none."""

    state: State
    attempts: tuple[Attempt, ...]
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
    estimated: bool
    delivered: int
    streamed: bool
    client_status: int

    @property
    def needs_price(self) -> bool:
        """Whether anything was used that a price is needed for."""
        for attempt in self.attempts:  # noqa: SIM110 -- a generator for each request costs more than its loop
            if not attempt.usage.empty:
                return True
        return False


SETTLEMENTS: Final = Sheet(Settlement)
ATTEMPTS: Final = Sheet(Attempt)
USAGES: Final = Sheet(Usage)


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
    if len(costs) == 1 and usage is attempts[0].usage and settlement.price_multiplier_ppm == PPM:
        cost = dearest = costs[0]  # The same tokens at the same price.
    else:
        cost = charge(usage, price, settlement.price_multiplier_ppm)
        dearest = max(cost, *costs, 0)
    if dearest > _MOST_MICRO_USD:
        raise Poison("absurd", "its cost is beyond any request's")
    return Bill(usage, cost, costs)


class _Bounds:
    """What the fields of a record may be at most: texts in characters, numbers as they are. None may be negative."""

    def __init__(self, texts: Mapping[str, int], numbers: Mapping[str, int]) -> None:
        self._texts = texts
        self._numbers = numbers

    def check(self, record: object) -> None:
        """Raise Poison for the first field that is beyond its bound."""
        for name, length in self._texts.items():
            _check_text(name, getattr(record, name), length)
        for name, most in self._numbers.items():
            _check_number(name, getattr(record, name), most)

    def hold(self, columns: Columns) -> bool:
        """Say whether `check` would pass all records of these columns."""
        for name, length in self._texts.items():
            texts = columns[name]
            if max(map(len, texts), default=0) > length or "\0" in "".join(texts):
                return False
        for name, most in self._numbers.items():
            numbers = columns[name]
            if numbers and not 0 <= min(numbers) <= max(numbers) <= most:
                return False
        return True


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
_USAGE: Final = _Bounds({}, dict.fromkeys(Usage.__struct_fields__, _MOST_TOKENS))


def sound(settlements: Sequence[Settlement]) -> bool:
    """Say whether `check` passes all of them, for a fraction of what it costs."""
    attempts = [attempt for settlement in settlements for attempt in settlement.attempts]
    tried = ATTEMPTS.columns(attempts)
    if not (
        _SETTLEMENT.hold(SETTLEMENTS.columns(settlements))
        and _ATTEMPT.hold(tried)
        and max(tried["first_byte_ms"], default=0) <= _MOST_TIME_MS
        and _USAGE.hold(USAGES.columns(tried["usage"]))
    ):
        return False
    try:
        for settlement in settlements:
            # Nearly all have one attempt, which was delivered.
            its = settlement.attempts
            if len(its) != 1 or its[0].index != settlement.delivered or not settlement.request_id:
                _check_parts(settlement)
    except Poison:
        return False
    return True


def check(settlement: Settlement) -> None:
    """Raise Poison when no ledger could hold this, whatever it knows. References are checked in SQL."""
    _SETTLEMENT.check(settlement)
    _check_parts(settlement)
    for attempt in settlement.attempts:
        _ATTEMPT.check(attempt)
        if attempt.first_byte_ms > _MOST_TIME_MS:
            raise Poison("absurd", f"first_byte_ms is beyond {_MOST_TIME_MS}")
        _USAGE.check(attempt.usage)


def _check_parts(settlement: Settlement) -> None:
    """Raise Poison when it has no id, or attempts that do not fit together."""
    if not settlement.request_id:
        raise Poison("malformed", "it has no request id")
    attempts, delivered = settlement.attempts, settlement.delivered
    count, indexes = len(attempts), {attempt.index for attempt in attempts}
    if count > MOST_ATTEMPTS:
        raise Poison("absurd", f"it has {count} attempts; at most {MOST_ATTEMPTS} are possible")
    if len(indexes) != count:
        raise Poison("duplicate_attempt", "two of its attempts have one index")
    if delivered == -1:
        if settlement.state in _DELIVERED:
            raise Poison("delivered_range", f"it is {settlement.state} but names no delivered attempt")
    elif delivered not in indexes:
        raise Poison("delivered_range", f"its delivered attempt {delivered} is not among its attempts")


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
