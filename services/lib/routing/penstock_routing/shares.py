"""How an account's limits are split among edge sessions: by demand, and never adding up to more than the limit.

What a session may still be using counts against the limit: the largest part that was offered to it since the one it
last acknowledged. So lowering a part frees capacity only when that edge has said so, or its session is dead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from penstock_routing.accounts import UNLIMITED, Share

_HEADROOM: Final = 1.25
_OUTSTANDING: Final = 16
_TOLERANCE: Final = 0.1
_FIELDS: Final = ("slots", "requests_per_minute", "request_burst", "tokens_per_minute", "token_burst")
_Parts = tuple[int, int, int, int, int]
NOTHING: Final = Share(slots=0, requests_per_minute=0, request_burst=0, tokens_per_minute=0, token_burst=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """An account's limits as its owner states them; -1: not limited."""

    slots: int = UNLIMITED
    requests_per_minute: int = UNLIMITED
    tokens_per_minute: int = UNLIMITED


@dataclass(slots=True)
class Demand:
    """What an edge session would like of an account."""

    slots: int = 0
    requests_per_minute: int = 0
    tokens_per_minute: int = 0


@dataclass(slots=True)
class Offer:
    """A share that was sent under a version."""

    version: int
    share: Share


@dataclass(slots=True)
class Holding:
    """One edge session's part: what was offered since its last acknowledgement (first), newest last."""

    offers: list[Offer] = field(default_factory=list)
    demand: Demand = field(default_factory=Demand)
    seen_at: float = 0.0
    edge: str = ""
    """Stable name of the edge, when it told one."""

    def newest(self) -> Offer:
        """Return the offer in force, or about to be; nothing when there is none."""
        return self.offers[-1] if self.offers else Offer(0, NOTHING)

    def counted(self) -> _Parts:
        """Return what it may be using at most, by dimension; a limit that it was once without counts as UNLIMITED."""
        if len(self.offers) == 1:
            return _parts(self.offers[0].share)
        parts = [_parts(offer.share) for offer in self.offers] or [_parts(NOTHING)]
        return (
            _largest([part[0] for part in parts]),
            _largest([part[1] for part in parts]),
            _largest([part[2] for part in parts]),
            _largest([part[3] for part in parts]),
            _largest([part[4] for part in parts]),
        )


def whole(limits: Limits) -> Share:
    """Turn limits per minute into one standing bucket: never more than the limit in any minute, a tenth of it at once.

    A bucket of size b that fills with r per minute admits floor(b + r) in a minute, so r = limit + 1 - b.
    """
    requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
    request_burst = UNLIMITED if requests < 0 else min(max(requests // 10, 1), requests)
    token_burst = UNLIMITED if tokens < 0 else min(max(tokens // 10, 1), tokens)
    return Share(
        slots=limits.slots,
        requests_per_minute=UNLIMITED if requests < 0 else min(requests + 1 - request_burst, requests),
        request_burst=request_burst,
        tokens_per_minute=UNLIMITED if tokens < 0 else min(tokens + 1 - token_burst, tokens),
        token_burst=token_burst,
    )


@dataclass(slots=True)
class Book:
    """Who holds what of one account. `learning_until`: nothing new is lent before (after a restart that forgot)."""

    limit: Share = field(default_factory=Share)
    version: int = 0
    learning_until: float = -math.inf
    holdings: dict[str, Holding] = field(default_factory=dict)

    def join(self, session: str, declared: Offer | None, now: float, edge: str = "") -> None:
        """Note a session, and what it says that it still uses (None: nothing)."""
        holding = self.holdings.setdefault(session, Holding())
        holding.edge = edge or holding.edge
        holding.seen_at = max(holding.seen_at, now)
        if declared is None:
            return
        self.version = max(self.version, declared.version)
        if not holding.offers:
            holding.offers = [declared]
        elif not any(offer.version == declared.version for offer in holding.offers):
            holding.offers = [declared, *(offer for offer in holding.offers if offer.version > declared.version)]
        else:
            self.acknowledge(session, declared.version)

    def acknowledge(self, session: str, version: int) -> None:
        """Note that a session obeys `version`: what came before no longer counts. An unknown one changes nothing."""
        holding = self.holdings.get(session)
        if holding is None or not any(offer.version == version for offer in holding.offers):
            return
        holding.offers = [offer for offer in holding.offers if offer.version >= version]

    def want(self, session: str, demand: Demand) -> None:
        """Note what a session would like."""
        holding = self.holdings.get(session)
        if holding is not None:
            holding.demand = demand

    def seen(self, session: str, now: float) -> None:
        """Note that a session lives."""
        holding = self.holdings.get(session)
        if holding is not None:
            holding.seen_at = max(holding.seen_at, now)

    def leave(self, session: str) -> bool:
        """Free the part of a session that is dead; False when it had none."""
        return self.holdings.pop(session, None) is not None

    def supersede(self, session: str, edge: str, *, alive: frozenset[str] = frozenset()) -> list[str]:
        """Free the parts of older sessions of the same edge, which has begun a new life; not of those in `alive`."""
        older = [
            name
            for name, holding in self.holdings.items()
            if edge and holding.edge == edge and name != session and name not in alive
        ]
        for name in older:
            del self.holdings[name]
        return older

    def bury(self, now: float, silent_seconds: float) -> list[str]:
        """Free the parts of sessions that have been silent for too long; returns them."""
        dead = [name for name, holding in self.holdings.items() if holding.seen_at < now - silent_seconds]
        for name in dead:
            del self.holdings[name]
        return dead

    def rebalance(self, now: float) -> dict[str, Offer]:
        """Split anew; returns only the offers to send. What they add up to never exceeds the limit."""
        names = sorted(self.holdings)
        if not names:
            return {}
        targets = self._targets(names)
        counted = {name: self.holdings[name].counted() for name in names}
        current = {name: _parts(self.holdings[name].newest().share) for name in names}
        free = [_free(limit, [counted[name][i] for name in names]) for i, limit in enumerate(_parts(self.limit))]
        if now < self.learning_until:
            free = [0.0 if limit >= 0 else math.inf for limit in _parts(self.limit)]
        offers: dict[str, Offer] = {}
        for name in sorted(names, key=lambda name: _smallest_first(current[name], targets[name])):
            holding = self.holdings[name]
            if len(holding.offers) >= _OUTSTANDING:
                continue
            part = [_granted(targets[name][i], counted[name][i], free[i]) for i in range(len(_FIELDS))]
            if holding.offers and not self._worthwhile(current[name], part, len(names)):
                continue
            for i, value in enumerate(part):
                if counted[name][i] >= 0 and value > counted[name][i]:
                    free[i] -= value - counted[name][i]
            self.version += 1
            offer = Offer(self.version, _share(part))
            holding.offers.append(offer)
            offers[name] = offer
        return offers

    def _targets(self, names: list[str]) -> dict[str, list[int]]:
        demands = [self.holdings[name].demand for name in names]
        slots = split(self.limit.slots, [_wish(demand.slots) for demand in demands])
        requests = split(self.limit.requests_per_minute, [_wish(demand.requests_per_minute) for demand in demands])
        tokens = split(self.limit.tokens_per_minute, [_wish(demand.tokens_per_minute) for demand in demands])
        request_burst = split(self.limit.request_burst, requests)
        token_burst = split(self.limit.token_burst, tokens)
        columns = (slots, requests, request_burst, tokens, token_burst)
        return {name: [column[index] for column in columns] for index, name in enumerate(names)}

    def _worthwhile(self, current: _Parts, part: list[int], sessions: int) -> bool:
        """Tell whether a change is large enough to be sent: small ones would only be noise."""
        for limit, old, new in zip(_parts(self.limit), current, part, strict=True):
            if old == new:
                continue
            if limit < 0 or old < 0 or old == 0 or abs(old - new) > _TOLERANCE * limit / sessions:
                return True
        return False


def split(total: int, wishes: list[int]) -> list[int]:
    """Split `total` units: everybody a little, then fairly up to each wish (max-min), what is left in equal parts.

    Returns UNLIMITED for each when `total` is; otherwise the parts add up to `total` exactly.
    """
    count = len(wishes)
    if total < 0:
        return [UNLIMITED] * count
    least = max(total // (10 * count), 1)
    parts = [0] * count
    left = _fill(parts, [max(wish, least) for wish in wishes], total)
    for position in range(count):
        parts[position] += left // count + (1 if position < left % count else 0)
    return parts


def _fill(parts: list[int], wishes: list[int], total: int) -> int:
    """Raise the smallest parts first until wishes or units end; returns the units left."""
    open_ones = sorted(range(len(wishes)), key=lambda index: wishes[index])
    left = total
    while open_ones:
        even, extra = divmod(left, len(open_ones))
        first = open_ones[0]
        if wishes[first] <= even:
            parts[first] = wishes[first]
            left -= wishes[first]
            open_ones.pop(0)
            continue
        # The larger wishes get the units that cannot be split evenly.
        for position, index in enumerate(reversed(open_ones)):
            parts[index] = even + (1 if position < extra else 0)
        return 0
    return left


def _wish(units: int) -> int:
    return math.ceil(units * _HEADROOM) + (1 if units else 0)


def _parts(share: Share) -> _Parts:
    return (
        share.slots,
        share.requests_per_minute,
        share.request_burst,
        share.tokens_per_minute,
        share.token_burst,
    )


def _share(parts: list[int]) -> Share:
    return Share(**dict(zip(_FIELDS, parts, strict=True)))


def _largest(values: list[int]) -> int:
    return UNLIMITED if min(values) < 0 else max(values)


def _free(limit: int, counted: list[int]) -> float:
    if limit < 0:
        return math.inf
    if any(part < 0 for part in counted):
        return 0.0
    return max(float(limit - sum(counted)), 0.0)


def _granted(target: int, counted: int, free: float) -> int:
    """Return what may be offered: a smaller part always, a larger one as far as there is room."""
    if target < 0 or counted < 0 or target <= counted:
        return target
    return counted + int(min(target - counted, free))


def _smallest_first(current: _Parts, target: list[int]) -> tuple[int, int]:
    """Those who lose come first, then those who have least."""
    return (0 if sum(target) < sum(current) else 1, sum(part for part in current if part > 0))
