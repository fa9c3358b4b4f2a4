"""What this edge has been lent of one key's limits: spent, held, spare, and when it must go back. Pure.

Requests are units of leases (`leases`); slots, tokens and money are holdings (`holdings`). All times are monotonic
seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from penstock_edge.amounts import NOTHING, Amounts
from penstock_edge.calls import Call, Declared
from penstock_edge.denials import OF_THE_KEY, Denied, weight_of
from penstock_edge.holdings import Holdings
from penstock_edge.leases import Ended, Lane, Lease
from penstock_edge.limits import LimitState, scarce, shown
from penstock_edge.times import LONG_AGO, NEVER, ROOMY_SECONDS, SOON_SECONDS
from penstock_edge.unrecorded import Unrecorded

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.key_facts import KeyFacts
    from penstock_edge.outage import Remainder
    from penstock_edge.records import Kind, Need, Refused

REQUESTS: Final = "requests"
COUNT_TOKENS: Final = "count_tokens"


class Allowance:
    """All that this edge has of one key. `clock` is only asked by `limit_states`."""

    __slots__ = (
        "asked_at",
        "changed_at",
        "clock",
        "count_tokens",
        "digest",
        "due_at",
        "edges",
        "ended",
        "facts",
        "holdings",
        "limits",
        "limits_at",
        "pending",
        "remainder",
        "requests",
        "seq",
        "told_at",
        "unrecorded",
    )

    def __init__(self, digest: bytes, clock: Callable[[], float], facts: KeyFacts | None = None) -> None:
        self.digest = digest
        self.clock = clock
        self.facts = facts
        self.asked_at = LONG_AGO
        """When the newest answered question was sent."""
        self.changed_at = LONG_AGO
        """When we last heard that this key, its plan or its project changed: older answers are not used."""
        self.told_at = LONG_AGO
        """When the newest question was sent after which auth said what the key is, whether or not it could lend."""
        self.seq = 0
        self.pending: Call | None = None
        self.ended: Ended = []
        self.requests = Lane(self.ended)
        self.count_tokens = Lane(self.ended)
        self.holdings = Holdings()
        self.unrecorded = Unrecorded()
        self.limits: tuple[LimitState, ...] = ()
        self.limits_at = LONG_AGO
        """When the question was sent after which auth told them."""
        self.edges = 1
        self.due_at = NEVER
        """When somebody will look whether something should go back."""
        self.remainder: Remainder | None = None

    def lane(self, kind: Kind) -> Lane:
        """Return the lane of one kind of requests."""
        return self.requests if kind == "requests" else self.count_tokens

    @property
    def idle(self) -> bool:
        """True when forgetting this key would lose nothing."""
        return (
            self.unrecorded.empty
            and self.pending is None
            and not self.requests.leases
            and not self.count_tokens.leases
            and not self.ended
            and not any(self.holdings.believed)
        )

    # Spending.

    def take(self, need: Need, now: float, floor: float) -> bool:
        """Spend a unit and hold what `need` says, out of what is here. False: ask auth.

        `floor`: answers to questions sent before it must not be used.
        """
        if self.asked_at < floor or self.asked_at < self.changed_at:
            return False
        if need.kind != "requests":
            return _spend(self.count_tokens, now)
        tokens_in, tokens_out, usd = need.input_tokens, need.output_tokens, need.micro_usd
        if not self.holdings.covers(tokens_in, tokens_out, usd, now) or not _spend(self.requests, now):
            return False
        self.holdings.hold(tokens_in, tokens_out, usd)
        return True

    def take_granted(self, need: Need, now: float, floor: float) -> bool:
        """Take for the request whose need the answer just granted: the store has made room for all of it."""
        if self.asked_at < floor or self.asked_at < self.changed_at or not _spend(self.lane(need.kind), now):
            return False
        if need.kind == "requests":
            self.hold(need)
        return True

    def hold(self, need: Need) -> None:
        """Count a request's slot, tokens and money as held."""
        self.holdings.hold(need.input_tokens, need.output_tokens, need.micro_usd)

    def let_go(self, need: Need, *, used: bool) -> None:
        """Free a request's tokens and money, `used` when its settlement is final."""
        self.holdings.let_go(need.input_tokens, need.output_tokens, need.micro_usd, used=used)

    # Asking.

    def low(self, lane: Lane, now: float) -> bool:
        """Say whether to ask ahead: less is left than half of what a second uses, or it ends soon."""
        pace = lane.pace
        if pace < 2 or self.pending is not None or now < lane.refill_after:
            return False
        return lane.low(now) or (lane is self.requests and self.holdings.low(pace))

    def ask(self, kind: Kind, waiting: list[Need], now: float, floor: float, epoch: str, *, ahead: bool) -> Call:
        """Make the next question: for those who are `waiting` (oldest first), to ask `ahead`, or just to give back.

        From here on this edge has no more than `keeping`.
        """
        lane = self.lane(kind)
        stale = self.asked_at < max(floor, self.changed_at)
        first = waiting[0] if waiting else None
        keeping = self._give_up(now, stale=stale, tight=first is None and not ahead)
        # Asking ahead is for the next request; a denial of it saves that request the question.
        need_requests = 1 if (first is not None or ahead) and lane.units == 0 else 0
        need = want = NOTHING
        want_requests = 0
        if first is not None or ahead:
            target = _target(lane, len(waiting))
            want_requests = max(need_requests, target - lane.units)
            if kind == "requests":
                spare = keeping.less(self.holdings.open)
                if first is not None:
                    need = Amounts(1, first.input_tokens, first.output_tokens, first.micro_usd).less(spare)
                want = self.holdings.target(target, waiting).less(spare).most(need)
        self.seq += 1
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
            returned=list(self.ended),
            asked_for=first,
        )
        self.ended.clear()
        return self.pending

    def _give_up(self, now: float, *, stale: bool, tight: bool = False) -> Amounts:
        """Set aside what must not be used any more; return what is kept, which is all that this edge now has."""
        self.requests.give_up(now, stale=stale)
        self.count_tokens.give_up(now, stale=stale)
        return self.holdings.give_up(now, stale=stale, tight=tight)

    # Answers.

    def granted(self, call: Call, lease_id: str, units: int, life: float, holding: Amounts) -> None:
        """Take in an allowance."""
        self._answered(call)
        lane = self.lane(call.kind)
        lane.denied = None
        self.holdings.granted(holding, call.keeping)
        if call.asked_for is not None or call.want_requests:
            self.holdings.last(call.sent_at, life)
        if lease_id and units > 0:
            lane.add(Lease(lease_id, units, 0, call.sent_at + life, life))
        # A store that lends less than we would like need not hear it again with every request.
        lane.refill_after = call.sent_at + min(max(life / 4, 0.1), 1.0)

    def refused(self, call: Call, refused: Refused, valid: float) -> None:
        """Take in a denial that may be answered from for `valid` seconds from when the question was sent."""
        self._answered(call)
        self.holdings.believed = call.keeping
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
        for lane in (self.requests, self.count_tokens):
            if lane.denied is not None and lane.denied.refused.reason in OF_THE_KEY:
                # Auth says it anew if it is still so.
                lane.denied = None

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
        self.requests.usable(now)
        self.count_tokens.usable(now)
        return bool(self.ended) or self.holdings.due(now) <= now

    def due(self, now: float) -> float:
        """Return when to look again whether something should go back; NEVER when nothing is here."""
        if self.ended:
            return now + (1.0 if self.requests.life >= ROOMY_SECONDS else SOON_SECONDS)
        lanes = (self.requests, self.count_tokens)
        soonest = min((lane.leases[0].expires_at for lane in lanes if lane.leases), default=NEVER)
        return min(soonest, max(self.holdings.due(now), now + SOON_SECONDS))

    # Telling.

    def declare(self, now: float, oldest_ms: int) -> Declared | None:
        """Return all that is here, and count from it from now on; None when there is nothing."""
        self.void()
        self.unrecorded.forget_before(oldest_ms)
        holding = self.holdings.believed = self._give_up(now, stale=False)
        leases: list[tuple[Kind, str, int, float]] = []
        kinds: tuple[tuple[Kind, Lane], ...] = ((REQUESTS, self.requests), (COUNT_TOKENS, self.count_tokens))
        for kind, lane in kinds:
            lane.declare()
            leases += [(kind, lease.lease_id, lease.units, lease.expires_at - now) for lease in lane.leases]
        admissions = self.unrecorded.rows(oldest_ms)
        if not leases and not admissions and not any(holding):
            return None
        return Declared(holding, leases, admissions)

    def note_limits(self, limits: tuple[LimitState, ...], edges: int, sent_at: float) -> None:
        """Take in what the answer to a question sent at `sent_at` said of the limits."""
        self.limits = limits
        self.limits_at = sent_at
        self.edges = edges
        self.holdings.note_tight(scarce(limits))

    def limit_states(self) -> list[LimitState]:
        """Return each limit's state, aged to now, with what we have been lent and not used counted as remaining."""
        age_ms = int((self.clock() - self.limits_at) * 1000) if self.limits_at > LONG_AGO else 0
        return shown(self.limits, self.requests.units, self.holdings.spare, age_ms)


def _spend(lane: Lane, now: float) -> bool:
    lease = lane.usable(now)
    if lease is None:
        return False
    lane.spend(lease, now)
    return True


def _target(lane: Lane, waiting: int) -> int:
    """Return how many units would be welcome: enough for some seconds at the present rate."""
    seconds = min(max(lane.life, 1.0), 10.0)
    few = 4 if lane.life == 0.0 or lane.life >= ROOMY_SECONDS else 1
    return min(max(waiting, math.ceil(lane.pace * seconds), few), 10_000)
