"""How much is lent and for how long: the pure policy behind every allowance. Both stores decide by it.

`counters_memory` calls these functions; `lua/allow.lua` says the same in Lua, and the contract tests hold the two
together. Amounts are vectors of five: requests, slots, input tokens, output tokens, micro-USD.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from penstock_auth.counters import Reason, Scope, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penstock_auth.counters import AllowCall, Amounts, Limit

Vector = tuple[int, int, int, int, int]
PROJECT: Final = "*"

NEAR_MS: Final = 500  # the longest life near a limit
FAR_MS: Final = 30_000  # the longest life of all
SHORTEST_MS: Final = 50  # a shorter life does not survive the way to the edge
POLL_SLOTS_MS: Final = 250  # when to ask again for a slot; nobody knows when one is free
POLL_TURN_MS: Final = 250  # when there is room, but it is another's turn
POLL_HELD_MS: Final = 1_000  # the same for what open requests hold of tokens and money
LONGEST_DENIAL_MS: Final = 1_000
RECOVERING_MS: Final = 250

_MASKS: Final[dict[Unit, Vector]] = {
    Unit.REQUESTS: (1, 0, 0, 0, 0),
    Unit.CONCURRENT: (0, 1, 0, 0, 0),
    Unit.INPUT_TOKENS: (0, 0, 1, 0, 0),
    Unit.OUTPUT_TOKENS: (0, 0, 0, 1, 0),
    Unit.TOTAL_TOKENS: (0, 0, 1, 1, 0),
    Unit.COST: (0, 0, 0, 0, 1),
}
_REASONS: Final[dict[Unit, Reason]] = {
    Unit.REQUESTS: Reason.REQUESTS,
    Unit.CONCURRENT: Reason.CONCURRENCY,
    Unit.INPUT_TOKENS: Reason.TOKENS,
    Unit.OUTPUT_TOKENS: Reason.TOKENS,
    Unit.TOTAL_TOKENS: Reason.TOKENS,
    Unit.COST: Reason.COST,
}


class Bound(NamedTuple):
    """One thing that a call must fit under. `window_ms` is 0 for slots, spend and credit, which have no window."""

    name: str
    unit: Unit
    amount: int
    window_ms: int
    scope: Scope
    owner: str  # the key, or PROJECT
    meter: str  # what its counter counts; with owner and window the counter's name
    mask: Vector
    reason: Reason

    @property
    def counter(self) -> str:
        """The name of its counter within the project."""
        return counter_name(self.owner, self.meter, self.window_ms)


def counter_name(owner: str, meter: str, window_ms: int) -> str:
    """Name a window's counter within its project."""
    return f"{owner}:{meter}:{window_ms}"


def budget_of(key: str) -> str:
    """Return whose limits a key's use counts for: what stands before a slash in its name, else itself."""
    return key.partition("/")[0]


def owner_of(limit: Limit, key: str) -> str:
    """Return whose use the limit adds up: the key's or the project's."""
    return PROJECT if limit.scope is Scope.PROJECT else budget_of(key)


def bounds(call: AllowCall) -> list[Bound]:
    """Return all that the call must fit under; the money bounds last, single meters before sums of several."""
    found = list(_window_bounds(call.limits, call.key, call.kind.value))
    budget = budget_of(call.key)
    if call.max_slots is not None:
        found.append(_standing("concurrent-requests", Unit.CONCURRENT, call.max_slots, budget, Reason.CONCURRENCY))
    if call.spend_limit is not None:
        found.append(_standing("spend-limit", Unit.COST, call.spend_limit.amount, budget, Reason.SPEND_LIMIT))
    if call.credit is not None:
        found.append(_standing("credit", Unit.COST, call.credit.micro_usd, PROJECT, Reason.CREDIT))
    return found


@lru_cache(maxsize=10_000)
def _window_bounds(limits: tuple[Limit, ...], key: str, kind: str) -> tuple[Bound, ...]:
    return tuple(
        Bound(
            limit.name,
            limit.unit,
            limit.amount,
            limit.window_ms,
            limit.scope,
            owner_of(limit, key),
            kind if limit.unit is Unit.REQUESTS else limit.unit.value,
            _MASKS[limit.unit],
            _REASONS[limit.unit],
        )
        for limit in sorted(limits, key=lambda limit: limit.unit is Unit.TOTAL_TOKENS)
    )


def _standing(name: str, unit: Unit, amount: int, owner: str, reason: Reason) -> Bound:
    scope = Scope.PROJECT if owner == PROJECT else Scope.KEY
    return Bound(name, unit, amount, 0, scope, owner, unit.value, _MASKS[unit], reason)


def lease_counters(limits: Sequence[Limit], key: str, kind: str) -> list[tuple[str, int]]:
    """Return the counters, with their windows, that a lease of this kind is booked in."""
    names = {
        counter_name(owner_of(limit, key), kind, limit.window_ms): limit.window_ms
        for limit in limits
        if limit.unit is Unit.REQUESTS
    }
    return list(names.items())


def usage_counters(limits: Sequence[Limit], key: str) -> list[tuple[str, int, Unit]]:
    """Return the counters of tokens and cost that a settlement goes to."""
    names = {
        counter_name(owner_of(limit, key), limit.unit.value, limit.window_ms): (limit.window_ms, limit.unit)
        for limit in limits
        if limit.unit not in (Unit.REQUESTS, Unit.CONCURRENT)
    }
    return [(name, window, unit) for name, (window, unit) in names.items()]


def mask_of(unit: Unit) -> Vector:
    """Return what a unit counts of a vector."""
    return _MASKS[unit]


def used_of(unit: Unit, input_tokens: int, output_tokens: int, micro_usd: int) -> int:
    """Return what a settlement is worth in a unit of tokens or cost."""
    return weigh(_MASKS[unit], (0, 0, input_tokens, output_tokens, micro_usd))


def vector(requests: int, amounts: Amounts) -> Vector:
    """Put requests and amounts into one vector."""
    return (requests, amounts.slots, amounts.input_tokens, amounts.output_tokens, amounts.micro_usd)


def weigh(mask: Vector, amounts: Vector) -> int:
    """Return what a vector costs under a mask."""
    (a, b, c, d, e), (v, w, x, y, z) = mask, amounts
    return a * v + b * w + c * x + d * y + e * z


@dataclass(slots=True)
class Fill:
    """How full a bound is: `settled` counts for good or in its window, `held` is held now, `ahead` is others' turn."""

    bound: Bound
    settled: int
    held: int
    ahead: int = 0

    @property
    def free(self) -> int:
        """What may be given to this caller."""
        return self.bound.amount - self.settled - self.held - self.ahead

    @property
    def unused(self) -> int:
        """What is neither used nor lent."""
        return self.bound.amount - self.settled - self.held


class Lent(NamedTuple):
    """A verdict: what is lent, and for how long."""

    granted: Vector
    life_ms: int


class Refused(NamedTuple):
    """A verdict: why nothing is lent. `place` is that of the bound to blame."""

    reason: Reason
    place: int
    reset_ms: int
    valid_ms: int


def decide(
    fills: Sequence[Fill],
    need: Vector,
    want: Vector,
    *,
    edges: int,
    recovering: bool,
    strict: bool,
    reset: Callable[[int, int], int | None],
) -> Lent | Refused:
    """Decide what of `need` and `want` (beyond what is kept) is lent.

    `reset(index, short)` says when `short` units will have left the window of that bound, ms; None: not by waiting.
    """
    refused = _worst([_refusal(fills, i, need, recovering, strict, reset) for i in range(len(fills))])
    if refused is not None:
        return refused
    extra = _extra(fills, need, want, edges, recovering)
    granted: Vector = tuple(n + e for n, e in zip(need, extra, strict=True))  # type: ignore[assignment]  # mypy forgets the length
    return Lent(granted, _life(fills, granted, extra))


def _worst(refusals: Sequence[tuple[int, Refused] | None]) -> Refused | None:
    """Return the refusal that lasts longest; one that only a person can lift lasts for ever."""
    best: tuple[int, Refused] | None = None
    for refusal in refusals:
        if refusal is not None and (best is None or (refusal[0], refusal[1].reset_ms) > (best[0], best[1].reset_ms)):
            best = refusal
    return None if best is None else best[1]


def _refusal(
    fills: Sequence[Fill],
    index: int,
    need: Vector,
    recovering: bool,
    strict: bool,
    reset: Callable[[int, int], int | None],
) -> tuple[int, Refused] | None:
    fill = fills[index]
    bound = fill.bound
    needed = weigh(bound.mask, need)
    if needed == 0:
        return None
    if needed > fill.free:
        if bound.window_ms and bound.unit is not Unit.REQUESTS and needed > bound.amount > 0:
            if strict:
                return 4, Refused(Reason.TOO_LARGE, index, 0, LONGEST_DENIAL_MS)
            if fill.settled + fill.held == 0:
                return (1, _recovering(index)) if recovering else None
            needed = bound.amount
        return _shortage(fill, index, needed, reset)
    if recovering:  # Those who have not spoken may have any part of any limit.
        return 1, _recovering(index)
    return None


def _shortage(fill: Fill, index: int, needed: int, reset: Callable[[int, int], int | None]) -> tuple[int, Refused]:
    bound = fill.bound
    if needed > bound.amount - (0 if bound.window_ms else fill.settled):
        return 3, Refused(bound.reason, index, 0, LONGEST_DENIAL_MS)
    if bound.window_ms:
        if needed <= fill.unused:
            wait = POLL_TURN_MS
        else:
            wait = reset(index, needed - fill.free) or reset(index, needed - fill.unused) or POLL_HELD_MS
    else:
        wait = POLL_SLOTS_MS if bound.unit is Unit.CONCURRENT else POLL_HELD_MS
    return 2, Refused(bound.reason, index, wait, min(wait, LONGEST_DENIAL_MS))


def _recovering(index: int) -> Refused:
    return Refused(Reason.RECOVERING, index, RECOVERING_MS, RECOVERING_MS)


def _extra(fills: Sequence[Fill], need: Vector, want: Vector, edges: int, recovering: bool) -> list[int]:
    extra = [max(0, w - n) for w, n in zip(want, need, strict=True)]
    for fill in fills:
        mask = fill.bound.mask
        spare = 0 if recovering else max(0, fill.free // (2 * edges) - weigh(mask, need))
        if mask[2] and mask[3]:
            extra[2] = min(extra[2], spare // 2)
            extra[3] = min(extra[3], spare - extra[2])
        else:
            place = mask.index(1)
            extra[place] = min(extra[place], spare)
    return extra


def _life(fills: Sequence[Fill], granted: Vector, extra: Sequence[int]) -> int:
    life = FAR_MS
    for fill in fills:
        bound = fill.bound
        mask = bound.mask
        if mask[0]:
            if granted[0] == 0:
                continue
        elif not any(bit and more for bit, more in zip(mask, extra, strict=True)):
            continue
        life = min(life, life_ms(fill.unused - weigh(mask, granted), bound.amount, bound.window_ms))
    return life


def life_ms(free: int, amount: int, window_ms: int) -> int:
    """Return how long a lease may live when `free` of `amount` is left after it.

    Short while less than half is free, growing to half a minute (or half the window) when all is.
    """
    far = max(1, min(FAR_MS, window_ms // 2)) if window_ms else FAR_MS
    near = NEAR_MS if not window_ms else min(NEAR_MS, max(SHORTEST_MS, -(-window_ms // 120)))
    near = min(near, far)
    if 2 * free <= amount:
        return near
    return near + int((2 * free - amount) / amount * (far - near))
