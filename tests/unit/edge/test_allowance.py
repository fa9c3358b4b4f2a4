"""The pure allowance against a store that keeps the contract, with lost, repeated and late answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock_edge.allowance import Allowance
from penstock_edge.amounts import NOTHING, Amounts
from penstock_edge.records import Need, Refused
from penstock_edge.times import LONG_AGO, NEVER
from tests.effort import examples
from tests.unit.edge.lent import KEY, grant, new

NEEDS = st.builds(
    Need,
    input_tokens=st.integers(0, 20),
    output_tokens=st.integers(0, 20),
    micro_usd=st.integers(0, 20),
    kind=st.sampled_from(["requests", "requests", "requests", "count_tokens"]),
)


@dataclass
class Lent:
    units: int
    expires_at: float
    spent: int = 0
    returned: int | None = None


@dataclass
class Store:
    """What the contract says of the store: as much as is asked for, within a limit of input tokens that never refills."""

    settled: int = 0
    leases: dict[str, Lent] = field(default_factory=dict)
    holding: Amounts = NOTHING
    answers: dict[int, tuple] = field(default_factory=dict)

    def process(self, call, now, units, life, extra, deny):
        if call.seq in self.answers:
            return self.answers[call.seq]
        for lease_id, spent in call.returned:
            lease = self.leases[lease_id]
            assert lease.returned is None, "returned twice"
            assert spent == lease.spent, "another number was returned than was spent"
            lease.returned = spent
        room = LIMIT - self.settled - call.keeping.input_tokens
        if deny or call.need.input_tokens > room:
            self.holding = call.keeping
            answer = ("deny",)
        else:
            asked = zip(call.keeping, call.need, call.want, strict=True)
            lent = Amounts(*(k + max(n, min(w, extra)) for k, n, w in asked))
            self.holding = lent._replace(input_tokens=min(lent.input_tokens, call.keeping.input_tokens + room))
            lease_id = ""
            lent = max(call.need_requests, min(call.want_requests, units))
            if lent:
                lease_id = f"L{call.seq}"
                self.leases[lease_id] = Lent(lent, now + life)
            answer = ("grant", lease_id, lent, life, self.holding)
        self.answers[call.seq] = answer
        return answer


LIMIT = 150


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = 100.0
        self.allowance = Allowance(b"d", lambda: self.now, KEY)
        self.store = Store()
        self.answer = None
        self.open = []
        self.ended = []
        self.waiting = None
        self.floor = LONG_AGO
        self.admissions = 0
        self.admitted_tokens = 0

    def admit(self, need):
        lane = self.allowance.lane(need.kind)
        self.admissions += 1
        if need.kind == "requests":
            self.open.append(need)
            self.admitted_tokens += need.input_tokens
            assert self.admitted_tokens <= LIMIT
        # The unit came from a lease that the store still counts as ours.
        before = {i: lease.spent for i, lease in self.store.leases.items()}
        here = {x.lease_id: x.spent for x in lane.leases} | dict(self.allowance.ended)
        changed = [i for i, spent in here.items() if spent != before[i]]
        assert len(changed) == 1
        lease = self.store.leases[changed[0]]
        lease.spent += 1
        assert lease.returned is None
        assert lease.spent <= lease.units, "more was spent than lent"
        assert self.now < lease.expires_at, "spent after its expiry"

    @rule(need=NEEDS)
    def request(self, need):
        if self.waiting is not None:
            return
        if self.allowance.take(need, self.now, self.floor):
            assert self.allowance.asked_at >= max(self.floor, self.allowance.changed_at)
            self.admit(need)
        elif self.allowance.pending is None:
            self.waiting = need
            self.allowance.ask(need.kind, [need], self.now, self.floor, "e", ahead=False)

    @rule(need=NEEDS, n=st.integers(2, 8))
    def burst(self, need, n):
        """Requests while the allowance lasts, also while a question is out."""
        for _ in range(n):
            if self.waiting is not None or not self.allowance.take(need, self.now, self.floor):
                return
            self.admit(need)

    @rule(kind=st.sampled_from(["requests", "count_tokens"]), ahead=st.booleans())
    def ask(self, kind, ahead):
        if self.allowance.pending is None:
            self.allowance.ask(kind, [], self.now, self.floor, "e", ahead=ahead)

    @rule(
        units=st.integers(0, 9),
        life=st.floats(0.05, 8),
        extra=st.sampled_from([0, 1, 2, 3, 60, 300]),
        deny=st.sampled_from([False, False, False, True]),
    )
    def the_store_decides(self, units, life, extra, deny):
        """The message arrives (again); the answer may get lost afterwards."""
        call = self.allowance.pending
        if call is not None:
            self.answer = call, self.store.process(call, self.now, units, life, extra, deny)

    @rule(need=NEEDS)
    def a_round(self, need):
        """The usual course: a question, its way, its answer."""
        self.request(need)
        self.the_store_decides(5, 2.0, 60, False)
        self.the_answer_arrives()

    @rule()
    def the_answer_arrives(self):
        if self.answer is None or self.answer[0] is not self.allowance.pending:
            return
        (call, answer), self.answer = self.answer, None
        if answer[0] == "deny":
            self.allowance.refused(call, Refused("REQUESTS", reset_ms=1000), 1.0)
            self.waiting = None
            return
        self.allowance.granted(call, *answer[1:])
        need, self.waiting = self.waiting, None
        if need is not None and call.asked_for is need and self.allowance.take_granted(need, self.now, self.floor):
            self.admit(need)

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 1.0, 4.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(tight=st.tuples(*[st.integers(0, 1)] * 4))
    def others_want_some(self, tight):
        self.allowance.holdings.tight = Amounts(*tight)

    @rule()
    def the_key_changes(self):
        self.allowance.changed_at = self.now

    @rule()
    def a_request_ends(self):
        if self.open:
            self.ended.append(self.open.pop(0))
            self.allowance.holdings.free_slot()

    @rule()
    def a_settlement_is_final(self):
        if self.ended:
            need = self.ended.pop(0)
            self.store.settled += need.input_tokens
            self.allowance.let_go(need, used=True)

    @rule()
    def nothing_was_sent(self):
        if self.ended:
            need = self.ended.pop(0)
            self.admitted_tokens -= need.input_tokens
            self.allowance.let_go(need, used=False)

    @invariant()
    def never_holds_more_than_the_store_believes(self):
        held = self.allowance.holdings.open
        assert held.slots == len(self.open)
        assert held.input_tokens == sum(n.input_tokens for n in self.open + self.ended)
        assert all(a <= b for a, b in zip(held, self.store.holding, strict=True)), (held, self.store.holding)
        assert all(a >= 0 for a in held)

    @invariant()
    def counts_its_units(self):
        for lane in (self.allowance.requests, self.allowance.count_tokens):
            assert lane.units == sum(x.units - x.spent for x in lane.leases)
            assert [x.expires_at for x in lane.leases] == sorted(x.expires_at for x in lane.leases)

    @invariant()
    def loses_no_lease(self):
        pending = self.allowance.pending
        known = {x.lease_id for lane in (self.allowance.requests, self.allowance.count_tokens) for x in lane.leases}
        known |= {i for i, _ in self.allowance.ended} | {i for i, _ in (pending.returned if pending else [])}
        answered = self.store.answers.get(pending.seq) if pending else None
        if answered and answered[0] == "grant":
            known.add(answered[1])
        assert {i for i, lease in self.store.leases.items() if lease.returned is None} <= known

    @invariant()
    def has_something_to_do_while_something_is_spare(self):
        if self.allowance.pending is None and (
            any(self.allowance.holdings.spare) or any(self.store.holding) or self.allowance.ended
        ):
            held = self.store.holding.less(self.allowance.holdings.open)
            assert not any(held) or self.allowance.due(self.now) < NEVER

    def teardown(self):
        """In the end, without traffic, all goes back."""
        for need in self.open:
            self.allowance.holdings.free_slot()
            self.allowance.let_go(need, used=True)
        for need in self.ended:
            self.allowance.let_go(need, used=False)
        for _ in range(10):
            call = self.allowance.pending
            if call is not None:
                answer = self.store.process(call, self.now, 1, 1.0, 0, deny=False)
                self.allowance.granted(call, *answer[1:]) if answer[0] == "grant" else self.allowance.refused(
                    call, Refused("REQUESTS"), 1.0
                )
            due = self.allowance.due(self.now)
            if due == NEVER:
                break
            self.now = max(self.now, due)
            if self.allowance.overdue(self.now):
                self.allowance.ask("requests", [], self.now, LONG_AGO, "e", ahead=False)
        assert self.allowance.due(self.now) == NEVER
        assert not any(self.store.holding)
        assert all(lease.returned == lease.spent for lease in self.store.leases.values())
        assert sum(lease.spent for lease in self.store.leases.values()) == self.admissions
        assert self.allowance.idle


TestAllowance = Machine.TestCase


TestAllowance.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)


def test_what_changed_is_given_back_whole():
    allowance = new()
    grant(allowance, 0.0, need=Need(1, 1, 1))
    assert allowance.take(Need(1, 2, 3), 0.1, LONG_AGO)
    allowance.changed_at = 0.5
    assert not allowance.take(Need(), 0.6, LONG_AGO)
    call = allowance.ask("requests", [Need(5, 5, 5)], 0.6, LONG_AGO, "e", ahead=False)
    assert call.keeping == Amounts(1, 1, 2, 3)
    assert call.need == Amounts(1, 5, 5, 5)
    assert call.returned == [("L1", 1)]
    assert call.need_requests == 1


def test_a_need_beyond_the_limit_is_taken_when_it_was_granted():
    allowance = new()
    call = allowance.ask("requests", [Need(500, 0, 0)], 0.0, LONG_AGO, "e", ahead=False)
    allowance.granted(call, "L1", 1, 1.0, Amounts(1, 100, 0, 0))
    assert not allowance.take(call.asked_for, 0.1, LONG_AGO)
    assert not allowance.take_granted(call.asked_for, 0.1, 0.05)
    assert allowance.take_granted(call.asked_for, 0.1, LONG_AGO)
    assert not allowance.take_granted(call.asked_for, 0.1, LONG_AGO)
    following = allowance.ask("requests", [Need(1, 0, 0)], 0.2, LONG_AGO, "e", ahead=False)
    assert following.keeping.input_tokens == 500


def test_a_declaration_is_what_is_counted_from_then_on():
    allowance = new()
    grant(allowance, 0.0, units=5, life=20)
    need = Need(1, 1, 1)
    for i in range(2):
        assert allowance.take(need, 1.0, LONG_AGO)
        allowance.unrecorded.opens(1_000_000 + i)
    for _ in range(3):
        allowance.unrecorded.opens(1_000_000)
        allowance.unrecorded.settles(1_000_000)
    allowance.unrecorded.opens(5)
    allowance.unrecorded.remember(999_000, "count_tokens")
    allowance.ask("requests", [need], 2.0, LONG_AGO, "e", ahead=False)
    declared = allowance.declare(3.0, 900_000)
    assert allowance.pending is None
    assert declared.holding == Amounts(10, 1000, 1000, 1000)
    assert declared.leases == [("requests", "L1", 3, 17.0)]
    assert declared.admissions == [(999_999, "count_tokens", 1), (1_000_000, "requests", 1), (1_000_001, "requests", 1)]
    assert allowance.take(need, 4.0, LONG_AGO)
    call = allowance.ask("requests", [], 30.0, LONG_AGO, "e", ahead=False)
    assert call.returned == [("L1", 1)]
    assert new().declare(0.0, 0) is None
