"""What the pool keeps by account, by (account, model) and by condition: load, shares, hints. Arithmetic only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from penstock_routing.accounts import ACTIVE, UNLIMITED, Share
from penstock_routing.buckets import Bucket
from penstock_routing.gauges import Gauges
from penstock_routing.rendezvous import salt

if TYPE_CHECKING:
    from penstock_routing.accounts import AccountFacts, Hints
    from penstock_routing.condition import Condition
    from penstock_routing.health import Key
    from penstock_routing.policy import Policy

_SUMMED_EVERY_SECONDS: Final = 0.05
_FEW: Final = 16
_FULL_MINUTE: Final = 60.0
_CROWD_GROWS: Final = 0.01
"""Of a crowd: by so much each second more may be there than when one more was refused, for that was a moment's."""
_CROWD_FORGOTTEN_SECONDS: Final = 300.0
_CROWDED_SECONDS: Final = 0.2
"""About as long until one of many ends."""
UPSTREAM_FULL: Final = "UpstreamFull"


class Gate:
    """A condition as it stands in the way here: whose word it is, and what this edge has sent through it."""

    __slots__ = ("condition", "key", "local_at", "out", "owned", "pending", "trial_until")

    def __init__(self, key: Key, condition: Condition) -> None:
        self.key = key
        self.condition = condition
        self.owned = False
        """The router has spoken of it."""
        self.local_at = -math.inf
        """When this edge itself last set it."""
        self.out = 0
        """Requests that went through while it was returning, and have shown nothing yet."""
        self.trial_until = -math.inf
        self.pending: tuple[float, Condition | None] | None = None
        """The router's word (and when it came) that waits for the provisional time to pass; None in it: cleared."""


class Account:
    """One account's facts, load and share at this edge."""

    __slots__ = (
        "closed",
        "count_gate",
        "crowd",
        "crowded_at",
        "facts",
        "gate",
        "in_flight",
        "limited",
        "load",
        "name",
        "plain",
        "requests",
        "salt",
        "share",
        "share_version",
        "slots",
        "slots_used",
        "tokens",
    )

    def __init__(self, facts: AccountFacts) -> None:
        self.name = facts.name
        self.salt = salt(facts.name)
        self.in_flight = 0
        self.load = 0.0
        """What is in flight, weighed: see Policy.load_unit_tokens."""
        self.slots_used = 0
        self.slots = UNLIMITED
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.share = Share()
        self.share_version = -1
        self.crowd = 0
        """How many requests of ours its upstream had when it refused one more for their number; 0: it never did."""
        self.crowded_at = -math.inf
        self.limited = False
        self.gate: Gate | None = None
        self.count_gate: Gate | None = None
        self.adopt(facts)

    def adopt(self, facts: AccountFacts) -> None:
        """Take new facts; load and share stay."""
        self.facts = facts
        self.closed = facts.not_served or ("" if facts.mode == ACTIVE else facts.mode)
        if not self.closed and facts.weight <= 0:
            self.closed = "NoWeight"
        self.refresh()

    def refresh(self) -> None:
        """Note whether the quick way through selection is open."""
        self.plain = not (self.limited or self.gate or self.count_gate)

    def obey(self, version: int, share: Share, now: float) -> None:
        """Take a share. The first one starts with a single request, so that a restart lends nothing twice."""
        self.share, self.share_version = share, version
        self.slots = share.slots
        self.requests = _bucket(self.requests, share.requests_per_minute, share.request_burst, 1.0, now)
        full = float(max(share.token_burst, 0))
        self.tokens = _bucket(self.tokens, share.tokens_per_minute, share.token_burst, full, now)
        self._limit()

    def crowded(self, now: float) -> None:
        """Note that the upstream refused one more than there are now, though of its limits there was something left."""
        room = self._room(now)
        self.crowd = max(self.slots_used if room is None else min(self.slots_used, int(room)), 1)
        self.crowded_at = now
        self._limit()

    def _room(self, now: float) -> float | None:
        """Return how many at once its upstream may take by now; None: nobody knows."""
        since = now - self.crowded_at
        if self.crowd == 0 or since > _CROWD_FORGOTTEN_SECONDS:
            return None
        return self.crowd * (1.0 + _CROWD_GROWS * since)

    def _limit(self) -> None:
        self.limited = self.slots >= 0 or self.requests is not None or self.tokens is not None or self.crowd > 0
        self.refresh()

    def obstacle(self, tokens: int, now: float) -> tuple[str, float, bool] | None:
        """Return (reason, seconds until there is room, throttled) when its share has no room for such a request."""
        if 0 <= self.slots <= self.slots_used:
            return ("SlotsFull", 1.0, True)
        if self.crowd:
            room = self._room(now)
            if room is None:
                self.crowd = 0
                self._limit()
            elif self.slots_used >= room:
                return (UPSTREAM_FULL, _CROWDED_SECONDS, True)
        bucket = self.requests
        if bucket is not None and (bucket.burst < 1.0 or bucket.available(now) < 1.0 - 1e-9):
            return ("RequestsSpent", min(bucket.wait(1.0, now), _FULL_MINUTE) if bucket.burst >= 1.0 else 1.0, True)
        bucket = self.tokens
        if bucket is not None and (bucket.burst <= 0 or bucket.available(now) < min(tokens, bucket.burst) - 1e-9):
            return ("TokensSpent", min(bucket.wait(tokens, now), _FULL_MINUTE) if bucket.burst > 0 else 1.0, True)
        return None

    def take(self, tokens: int, now: float) -> None:
        """Take bucket units."""
        if self.requests is not None:
            self.requests.take(1.0, now)
        if self.tokens is not None:
            self.tokens.take(tokens, now)

    def give(self, requests: int, tokens: int, now: float) -> None:
        """Give back units that were not used (tokens may be negative)."""
        if requests and self.requests is not None:
            self.requests.give(requests, now)
        if tokens and self.tokens is not None:
            self.tokens.give(tokens, now)


class Lane:
    """One account for one model: its row of failures, and what the upstream said of its limits."""

    __slots__ = (
        "account",
        "failed_at",
        "fails",
        "gate",
        "gauges",
        "gone",
        "in_flight",
        "model",
        "output_out",
        "plain",
        "weight",
    )

    def __init__(self, account: Account, model: str) -> None:
        self.account = account
        self.model = model
        self.weight = float(account.facts.weight)
        self.in_flight = 0
        self.output_out = 0
        """Estimated output of what is in flight."""
        self.gate: Gate | None = None
        self.gauges: Gauges | None = None
        self.fails = 0
        self.failed_at = -math.inf
        self.gone = False
        """The catalog has it no more."""
        self.plain = True

    def refresh(self) -> None:
        """Note whether the quick way through selection is open."""
        self.plain = self.gate is None and not self.fails

    def may_take(self, providers: frozenset[str] | None) -> bool:
        """Tell whether its account is of one of these providers (None: of any)."""
        return providers is None or self.account.facts.provider in providers

    def demoted(self, policy: Policy, now: float) -> bool:
        """Tell whether its last requests all failed, so that it is ordered last in its tier."""
        return self.fails >= policy.demote_failures and now - self.failed_at < policy.demote_seconds

    def heard(self, hints: Hints, now: float) -> None:
        """Take what an answer that has just begun said of the upstream's limits."""
        if self.gauges is None:
            self.gauges = Gauges()
        # Of answers under way, half is still to be written on the average.
        self.gauges.heard(hints, now, self.output_out / 2.0)


class Tier:
    """The lanes of one model in one tier, with what large tiers need to stay cheap."""

    __slots__ = ("cumulative", "lanes", "load", "number", "summed_at", "weight")

    def __init__(self, number: int, lanes: list[Lane]) -> None:
        self.number = number
        self.lanes = lanes
        self.cumulative: list[float] = []
        self.weight = 0.0
        self.load = 0.0
        self.summed_at = -math.inf
        for lane in lanes:
            self.weight += lane.weight
            self.cumulative.append(self.weight)

    def overloaded(self, lane: Lane, factor: float, floor: int, now: float) -> bool:
        """Tell whether a lane's account has more than this multiple of its even part of the load, and more than few."""
        account = lane.account
        if account.in_flight < floor:
            return False
        if now - self.summed_at >= _SUMMED_EVERY_SECONDS or len(self.lanes) <= _FEW:
            self.summed_at = now
            self.load = sum([other.account.load for other in self.lanes])
        return account.load * self.weight >= factor * (self.load + 1.0) * lane.weight


def _bucket(bucket: Bucket | None, per_minute: int, burst: int, first: float, now: float) -> Bucket | None:
    if per_minute < 0:
        return None
    size = float(burst) if burst >= 0 else float(per_minute)
    if bucket is None:
        return Bucket(per_minute / 60.0, size, first, now)
    bucket.reshape(per_minute / 60.0, size, now)
    return bucket
