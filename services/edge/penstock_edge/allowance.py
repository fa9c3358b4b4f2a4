"""What this edge has been lent of one key's limits: spent, held, spare, and when it must go back. Pure.

Requests are units of leases: a unit is spent once, before its lease expires. Slots, tokens and money are holdings:
`lent` is the most that the store believes we hold, `open` what unsettled requests hold of it, the rest is spare and
may be used for the allowance's life. A life counts from when the question was sent. All times are monotonic seconds.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from penstock_edge.outage import Remainder
from penstock_edge.records import KeyFacts, Kind, LimitState, Need, Refused

REQUESTS: Final = "requests"
COUNT_TOKENS: Final = "count_tokens"

NEVER: Final = math.inf
LONG_AGO: Final = -math.inf

CREDIT_SECONDS: Final = 60.0
"""Spare money may be used for so long where there is room, so that prepaid customers outlast a restart of auth."""
ROOMY_SECONDS: Final = 5.0
"""An allowance with a longer life comes from a key that is far from its limits."""
SOON_SECONDS: Final = 0.1
"""What should go back waits so long for company."""
RECENT_MS: Final = 5 * 60 * 1000
"""Admissions without a ledger row are declared for so long."""

# Denials that say something of the key, not of what it asked for: nothing that was lent may be used after them.
OF_THE_KEY: Final = frozenset({"UNKNOWN_KEY", "DISABLED", "EXPIRED", "PLAN_MISSING"})
_BY_SIZE: Final = frozenset({"TOKENS", "COST", "SPEND_LIMIT", "CREDIT", "TOO_LARGE"})
_MONEY: Final = frozenset({"COST", "SPEND_LIMIT", "CREDIT"})


class Amounts(NamedTuple):
    """Slots, tokens and micro-USD."""

    slots: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    micro_usd: int = 0

    def less(self, other: Amounts) -> Amounts:
        """Return what is left of these without `other`; never below zero."""
        return Amounts(*(max(0, a - b) for a, b in zip(self, other, strict=True)))

    def most(self, other: Amounts) -> Amounts:
        """Return the larger of each."""
        return Amounts(*(max(a, b) for a, b in zip(self, other, strict=True)))


@dataclass(slots=True)
class Lease:
    """Window units lent under one id."""

    lease_id: str
    units: int
    spent: int
    expires_at: float
    life: float


@dataclass(slots=True)
class Denied:
    """A denial that may be answered from until `valid_until`; `weight` is the size that did not fit."""

    refused: Refused
    asked_at: float
    reset_at: float
    valid_until: float
    weight: int

    def covers(self, need: Need) -> bool:
        """Say whether a request of this size would hear the same."""
        reason = self.refused.reason
        return reason not in _BY_SIZE or weight_of(need, reason, self.refused.unit) >= self.weight


def weight_of(need: Need, reason: str, unit: str) -> int:
    """Return the size that a denial with this reason and unit was about."""
    if reason in _MONEY or unit == "CostMicroUSD":
        return need.micro_usd
    if unit == "InputTokens":
        return need.input_tokens
    if unit == "OutputTokens":
        return need.output_tokens
    return need.input_tokens + need.output_tokens


@dataclass(slots=True, eq=False)
class Call:
    """One question to auth with its number. Until it is answered it is repeated word for word."""

    kind: Kind
    seq: int
    sent_at: float
    epoch: str
    keeping: Amounts
    need_requests: int
    want_requests: int
    need: Amounts
    want: Amounts
    returned: list[tuple[str, int]]
    asked_for: Need | None
    """What the first who waits needs; None when nobody does."""


class Declared(NamedTuple):
    """All of one key: leases are (kind, id, unspent, seconds left), admissions (store's unix ms, kind, how many)."""

    holding: Amounts
    leases: list[tuple[Kind, str, int, float]]
    admissions: list[tuple[int, Kind, int]]


class Lane:
    """One kind of requests: its leases, how fast they are used, the last denial, what has no ledger row."""

    __slots__ = ("count", "denied", "leases", "life", "rate", "recent", "refill_after", "tick", "units")

    def __init__(self) -> None:
        self.leases: deque[Lease] = deque()
        self.units = 0
        self.denied: Denied | None = None
        self.rate = 0.0
        self.count = 0
        self.tick = LONG_AGO
        self.life = 0.0
        self.refill_after = LONG_AGO
        self.recent: deque[tuple[int, int]] = deque(maxlen=RECENT_MS // 1000 + 2)


NOTHING: Final = Amounts()


@dataclass(slots=True, eq=False)
class Allowance:
    """All that this edge has of one key. `clock` is only asked by `limit_states`."""

    digest: bytes
    clock: Callable[[], float]
    facts: KeyFacts | None = None
    asked_at: float = LONG_AGO
    """When the newest answered question was sent."""
    changed_at: float = LONG_AGO
    """When we last heard that this key, its plan or its project changed: older answers are not used."""
    seq: int = 0
    pending: Call | None = None
    requests: Lane = field(default_factory=Lane)
    count_tokens: Lane = field(default_factory=Lane)
    lent: Amounts = NOTHING
    """The most that this edge may hold."""
    believed: Amounts = NOTHING
    """What the store believes that we hold: it hears of settled requests with the next question."""
    spare_until: float = LONG_AGO
    money_until: float = LONG_AGO
    open_slots: int = 0
    open_input: int = 0
    open_output: int = 0
    open_usd: int = 0
    unsettled: dict[int, int] = field(default_factory=dict)
    """How many requests that hold something were admitted at which ms: numbers, because there may be thousands."""
    ended: list[tuple[str, int]] = field(default_factory=list)
    """Leases that are over and not yet told to auth."""
    limits: tuple[LimitState, ...] = ()
    tight: Amounts = NOTHING
    """1 for each amount of which less than half of a limit remains: spare of it goes back soon, others may want it."""
    scarce: bool = False
    """Any of `tight` is 1."""
    edges: int = 1
    remainder: Remainder | None = None
    usual_input: float = 0.0
    usual_output: float = 0.0
    usual_usd: float = 0.0

    def lane(self, kind: Kind) -> Lane:
        """Return the lane of one kind of requests."""
        return self.requests if kind == "requests" else self.count_tokens

    def _kinds(self) -> tuple[tuple[Kind, Lane], ...]:
        return ((REQUESTS, self.requests), (COUNT_TOKENS, self.count_tokens))

    @property
    def open(self) -> Amounts:
        """What unsettled requests hold."""
        return Amounts(self.open_slots, self.open_input, self.open_output, self.open_usd)

    @property
    def idle(self) -> bool:
        """True when forgetting this key would lose nothing."""
        return (
            not self.unsettled
            and self.pending is None
            and not self.requests.leases
            and not self.count_tokens.leases
            and not self.ended
            and not any(self.believed)
            and not self.requests.recent
            and not self.count_tokens.recent
        )

    # Spending.

    def take(self, need: Need, now: float, floor: float) -> bool:
        """Spend a unit and hold what `need` says, out of what is here. False: ask auth.

        `floor`: answers to questions sent before it must not be used.
        """
        if self.asked_at < floor or self.asked_at < self.changed_at:
            return False
        requests = need.kind == "requests"
        if requests and not self._spare_covers(need, now):
            return False
        lane = self.requests if requests else self.count_tokens
        lease = self._usable(lane, now)
        if lease is None:
            return False
        self._spend(lane, lease, now)
        if requests:
            self.hold(need)
        return True

    def take_granted(self, need: Need, now: float, floor: float) -> bool:
        """Take for the request whose need the answer just granted: the store has made room for all of it."""
        if self.asked_at < floor or self.asked_at < self.changed_at:
            return False
        lane = self.lane(need.kind)
        lease = self._usable(lane, now)
        if lease is None:
            return False
        self._spend(lane, lease, now)
        if need.kind == "requests":
            self.hold(need)
        return True

    def hold(self, need: Need) -> None:
        """Count a request's slot, tokens and money as held."""
        self.open_slots += 1
        self.open_input += need.input_tokens
        self.open_output += need.output_tokens
        self.open_usd += need.micro_usd
        self.usual_input += (need.input_tokens - self.usual_input) / 8
        self.usual_output += (need.output_tokens - self.usual_output) / 8
        self.usual_usd += (need.micro_usd - self.usual_usd) / 8

    def opens(self, admitted_at_ms: int) -> None:
        """Note that a request that holds something was admitted then."""
        self.unsettled[admitted_at_ms] = self.unsettled.get(admitted_at_ms, 0) + 1

    def settles(self, admitted_at_ms: int) -> None:
        """Note that a request that was admitted then holds nothing any more."""
        left = self.unsettled[admitted_at_ms] - 1
        if left:
            self.unsettled[admitted_at_ms] = left
        else:
            del self.unsettled[admitted_at_ms]

    def free_slot(self) -> None:
        """Free one slot: the request has ended."""
        self.open_slots -= 1

    def let_go(self, need: Need, *, used: bool) -> None:
        """Free a request's tokens and money.

        `used`: its settlement is final, so the store counts what it used, and what was lent for it is gone. Otherwise
        nothing was sent, and it is spare again.
        """
        self.open_input -= need.input_tokens
        self.open_output -= need.output_tokens
        self.open_usd -= need.micro_usd
        if used:
            slots, tokens_in, tokens_out, usd = self.lent
            self.lent = Amounts(
                slots,
                max(0, tokens_in - need.input_tokens),
                max(0, tokens_out - need.output_tokens),
                max(0, usd - need.micro_usd),
            )

    def spare_money(self, micro_usd: int, now: float) -> bool:
        """Say whether spare money that was lent ahead covers so much."""
        return now < self.money_until and self.lent.micro_usd - self.open_usd >= micro_usd

    def _spare_covers(self, need: Need, now: float) -> bool:
        slots, tokens_in, tokens_out, usd = self.lent
        return (
            now < self.spare_until
            and slots > self.open_slots
            and tokens_in - self.open_input >= need.input_tokens
            and tokens_out - self.open_output >= need.output_tokens
            and usd - self.open_usd >= need.micro_usd
        )

    def _usable(self, lane: Lane, now: float) -> Lease | None:
        """Return the lease to spend from: the one that expires first. Ended ones are set aside on the way."""
        while lane.leases:
            lease = lane.leases[0]
            if lease.spent < lease.units and now < lease.expires_at:
                return lease
            lane.leases.popleft()
            lane.units -= lease.units - lease.spent
            self.ended.append((lease.lease_id, lease.spent))
        return None

    def _spend(self, lane: Lane, lease: Lease, now: float) -> None:
        lease.spent += 1
        lane.units -= 1
        lane.count += 1
        if now - lane.tick >= 1.0:
            lane.rate = lane.count / (now - lane.tick) if now - lane.tick < 10.0 else 0.0
            lane.tick, lane.count = now, 0
        if lease.spent == lease.units:
            lane.leases.popleft()
            self.ended.append((lease.lease_id, lease.spent))

    # Asking.

    def low(self, lane: Lane, now: float) -> bool:
        """Say whether to ask ahead: less is left than half of what a second uses, or it ends soon."""
        rate = max(lane.rate, lane.count)
        if rate < 2 or self.pending is not None or now < lane.refill_after:
            return False
        if lane.units * 2 < rate or (lane.leases and lane.leases[-1].expires_at - now < lane.life / 5):
            return True
        if lane is self.count_tokens:
            return False
        slots, tokens_in, tokens_out, usd = self.lent
        return (
            (slots - self.open_slots) * 8 < self.open_slots
            or (tokens_in - self.open_input) * 2 < rate * self.usual_input
            or (tokens_out - self.open_output) * 2 < rate * self.usual_output
            or (usd - self.open_usd) * 2 < rate * self.usual_usd
        )

    def ask(self, kind: Kind, waiting: list[Need], now: float, floor: float, epoch: str, *, ahead: bool) -> Call:
        """Make the next question: for those who are `waiting` (oldest first), to ask `ahead`, or just to give back.

        From here on this edge has no more than `keeping`.
        """
        lane = self.lane(kind)
        stale = self.asked_at < max(floor, self.changed_at)
        first = waiting[0] if waiting else None
        keeping = self._give_up(now, stale=stale, tight=first is None and not ahead)
        if first is None and ahead:
            # Asking ahead is for the next request; a denial of it saves that request the question.
            need_requests = 0 if lane.units else 1
        else:
            need_requests = 1 if first is not None and lane.units == 0 else 0
        need = want = NOTHING
        want_requests = 0
        spare = keeping.less(self.open)
        if first is not None or ahead:
            target_requests, target = self._target(lane, waiting)
            want_requests = max(need_requests, target_requests - lane.units)
            if kind == "requests":
                if first is not None:
                    need = Amounts(1, first.input_tokens, first.output_tokens, first.micro_usd).less(spare)
                want = target.less(spare).most(need)
        self.seq += 1
        returned, self.ended = self.ended, []
        self.pending = Call(
            kind=kind,
            seq=self.seq,
            sent_at=now,
            epoch=epoch,
            keeping=keeping,
            need_requests=need_requests,
            want_requests=want_requests,
            need=need,
            want=want,
            returned=returned,
            asked_for=first,
        )
        return self.pending

    def _give_up(self, now: float, *, stale: bool, tight: bool = False) -> Amounts:
        """Set aside what must not be used any more; return what is kept, which is all that this edge now has."""
        for lane in (self.requests, self.count_tokens):
            self._usable(lane, now)
            expired = [x for x in lane.leases if stale or now >= x.expires_at]
            for lease in expired:
                lane.leases.remove(lease)
                lane.units -= lease.units - lease.spent
                self.ended.append((lease.lease_id, lease.spent))
        kept = self.lent if now < self.spare_until and not stale else NOTHING
        if now < self.money_until and not stale:
            kept = kept._replace(micro_usd=self.lent.micro_usd)
        if tight:
            kept = Amounts(*(0 if scarce else a for a, scarce in zip(kept, self.tight, strict=True)))
        self.lent = kept.most(self.open)
        return self.lent

    def _target(self, lane: Lane, waiting: list[Need]) -> tuple[int, Amounts]:
        """Return how many units and how much spare would be welcome: enough for some seconds at the present rate."""
        rate = max(lane.rate, float(lane.count))
        seconds = min(max(lane.life, 1.0), 10.0)
        few = 4 if lane.life == 0.0 or lane.life >= ROOMY_SECONDS else 1
        requests = min(max(len(waiting), math.ceil(rate * seconds), few), 10_000)
        beyond = max(0, requests - len(waiting))
        usual_input, usual_output, usual_usd = self.usual_input, self.usual_output, self.usual_usd
        if waiting:
            # A key that is new here has no history yet.
            usual_input = max(usual_input, waiting[0].input_tokens)
            usual_output = max(usual_output, waiting[0].output_tokens)
            usual_usd = max(usual_usd, waiting[0].micro_usd)
        slots = min(max(len(waiting), self.open_slots // 2 + 2), requests, 1_000)
        return requests, Amounts(
            slots,
            sum(n.input_tokens for n in waiting) + math.ceil(beyond * usual_input),
            sum(n.output_tokens for n in waiting) + math.ceil(beyond * usual_output),
            sum(n.micro_usd for n in waiting) + math.ceil(beyond * usual_usd),
        )

    # Answers.

    def granted(self, call: Call, lease_id: str, units: int, life: float, holding: Amounts) -> None:
        """Take in an allowance."""
        self._answered(call)
        lane = self.lane(call.kind)
        lane.denied = None
        # What was settled while the answer was out is gone, though `keeping` still named it.
        self.lent = Amounts(*(max(0, a + b - c) for a, b, c in zip(self.lent, holding, call.keeping, strict=True)))
        self.believed = holding
        if call.asked_for is not None or call.want_requests:
            self.spare_until = call.sent_at + life
            self.money_until = call.sent_at + (CREDIT_SECONDS if life >= ROOMY_SECONDS else life)
        if lease_id and units > 0:
            lane.life = life
            lease = Lease(lease_id, units, 0, call.sent_at + life, life)
            at = len(lane.leases)
            while at and lane.leases[at - 1].expires_at > lease.expires_at:
                at -= 1
            lane.leases.insert(at, lease)
            lane.units += units
        # A store that lends less than we would like need not hear it again with every request.
        lane.refill_after = call.sent_at + min(max(life / 4, 0.1), 1.0)

    def refused(self, call: Call, refused: Refused, valid: float) -> None:
        """Take in a denial that may be answered from for `valid` seconds from when the question was sent."""
        self._answered(call)
        self.believed = call.keeping
        lane = self.lane(call.kind)
        need = call.asked_for
        denied = Denied(
            refused=refused,
            asked_at=call.sent_at,
            reset_at=call.sent_at + refused.reset_ms / 1000,
            valid_until=call.sent_at + valid,
            weight=weight_of(need, refused.reason, refused.unit) if need is not None else 0,
        )
        lane.refill_after = denied.valid_until
        if refused.reason in OF_THE_KEY:
            self.requests.denied = self.count_tokens.denied = denied
            self._give_up(call.sent_at, stale=True)
        elif need is not None or call.need_requests:
            lane.denied = denied

    def _answered(self, call: Call) -> None:
        self.pending = None
        self.asked_at = call.sent_at
        self.remainder = None

    def void(self) -> None:
        """Give up the question under way, as if it would never be answered."""
        if self.pending is not None:
            self.ended.extend(self.pending.returned)
            self.pending = None

    def give_back(self, lease_id: str) -> None:
        """Let a lease that came too late go back unspent."""
        if lease_id:
            self.ended.append((lease_id, 0))

    def denial(self, need: Need, now: float, floor: float) -> Denied | None:
        """Return the denial that `need` is to hear without asking."""
        denied = self.lane(need.kind).denied
        if denied is None or now >= denied.valid_until or denied.asked_at < max(floor, self.changed_at):
            return None
        return denied if denied.covers(need) else None

    # Giving back.

    def overdue(self, now: float) -> bool:
        """Say whether something should go back now: an ended lease, spare after its time, or spare that is scarce."""
        self._usable(self.requests, now)
        self._usable(self.count_tokens, now)
        return bool(self.ended) or self._spare_due(now) <= now

    def due(self, now: float) -> float:
        """Return when to look again whether something should go back; NEVER when nothing is here."""
        if self.ended:
            return now + (1.0 if self.requests.life >= ROOMY_SECONDS else SOON_SECONDS)
        lanes = (self.requests, self.count_tokens)
        soonest = min((lane.leases[0].expires_at for lane in lanes if lane.leases), default=NEVER)
        return min(soonest, max(self._spare_due(now), now + SOON_SECONDS))

    def _spare_due(self, now: float) -> float:
        """Return when to tell the store that we have less than it believes."""
        surplus = self.believed.less(self.open)
        if not any(surplus):
            return NEVER
        if any(a and scarce for a, scarce in zip(surplus, self.tight, strict=True)):
            return now
        return min(self.spare_until if any(surplus[:3]) else NEVER, self.money_until if surplus.micro_usd else NEVER)

    def note_limits(self, limits: tuple[LimitState, ...], edges: int) -> None:
        """Take in what an answer said of the limits."""
        self.limits = limits
        self.edges = edges
        scarce = {s.unit for s in limits if s.remaining * 2 < s.amount}
        self.tight = Amounts(
            int("ConcurrentRequests" in scarce),
            int(bool(scarce & {"InputTokens", "TotalTokens"})),
            int(bool(scarce & {"OutputTokens", "TotalTokens"})),
            int("CostMicroUSD" in scarce),
        )
        self.scarce = any(self.tight)

    @property
    def spare(self) -> Amounts:
        """What is lent and not held by any request."""
        return self.lent.less(self.open)

    # Telling.

    def remember(self, admitted_at_ms: int, kind: Kind) -> None:
        """Keep, for five minutes, an admission that will never have a ledger row; dated to the end of its second."""
        recent = self.lane(kind).recent
        second = admitted_at_ms // 1000 * 1000 + 999
        if recent and recent[-1][0] >= second:
            recent[-1] = (recent[-1][0], recent[-1][1] + 1)
        else:
            recent.append((second, 1))

    def forget_before(self, oldest_ms: int) -> None:
        """Drop remembered admissions that are older."""
        for lane in (self.requests, self.count_tokens):
            while lane.recent and lane.recent[0][0] < oldest_ms:
                lane.recent.popleft()

    def declare(self, now: float, oldest_ms: int) -> Declared | None:
        """Return all that is here, and count from it from now on; None when there is nothing."""
        self.void()
        self.forget_before(oldest_ms)
        holding = self.believed = self._give_up(now, stale=False)
        leases: list[tuple[Kind, str, int, float]] = []
        for kind, lane in self._kinds():
            for lease in lane.leases:
                # What was spent so far is declared as admissions; the lease is what is left of it.
                lease.units -= lease.spent
                lease.spent = 0
                leases.append((kind, lease.lease_id, lease.units, lease.expires_at - now))
        admissions: Counter[tuple[int, Kind]] = Counter(
            {(at, REQUESTS): count for at, count in self.unsettled.items() if at >= oldest_ms}
        )
        for kind, lane in self._kinds():
            for at, count in lane.recent:
                admissions[at, kind] += count
        if not leases and not admissions and not any(holding):
            return None
        rows = [(at, kind, count) for (at, kind), count in sorted(admissions.items())]
        return Declared(holding, leases, rows)

    def limit_states(self) -> list[LimitState]:
        """Return each limit's state, aged to now, with what we have been lent and not used counted as remaining."""
        age_ms = int((self.clock() - self.asked_at) * 1000) if self.asked_at > LONG_AGO else 0
        slots, tokens_in, tokens_out, usd = self.spare
        lent = {
            "Requests": self.requests.units,
            "InputTokens": tokens_in,
            "OutputTokens": tokens_out,
            "TotalTokens": tokens_in + tokens_out,
            "CostMicroUSD": usd,
            "ConcurrentRequests": slots,
        }
        return [
            LimitState(
                name=s.name,
                unit=s.unit,
                amount=s.amount,
                remaining=min(s.amount, s.remaining + lent.get(s.unit, 0)),
                reset_ms=max(0, s.reset_ms - age_ms),
                window_ms=s.window_ms,
                scope=s.scope,
            )
            for s in self.limits
        ]
