"""Conditions under any order of events: deadlines only grow, doubling stays in bounds, copies merge."""

from __future__ import annotations

import copy

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock_routing import Outcome, Policy
from penstock_routing import outcomes as o
from penstock_routing.condition import FOREVER, Condition, Phase, cool, merge, succeed
from penstock_routing.health import Health, Key
from tests.effort import examples

FAILURES = [
    o.THROTTLED,
    o.THROTTLED_NO_HINT,
    o.OVERLOADED,
    o.UNSTABLE,
    o.CREDENTIAL_INVALID,
    o.FORBIDDEN,
    o.QUOTA_EXHAUSTED,
    o.MODEL_MISSING,
    o.CLIENT_FAULT,
    o.CLIENT_LEFT,
]
TIMED = [o.THROTTLED_NO_HINT, o.OVERLOADED, o.UNSTABLE, o.QUOTA_EXHAUSTED]


class HealthMachine(RuleBasedStateMachine):
    """One account, two models, any events, a clock that only goes on."""

    def __init__(self):
        super().__init__()
        self.policy = Policy()
        self.health = Health(self.policy)
        self.now = 0.0
        self.number = 0
        self.before: dict[Key, float] = {}
        self.lifted = False

    def remember(self):
        self.before = {key: item.until() for key, item in self.health.conditions.items()}
        self.lifted = False

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0, 31.0, 400.0]))
    def time_passes(self, seconds):
        self.remember()
        self.now += seconds

    @rule(
        cls=st.sampled_from(FAILURES),
        model=st.sampled_from("mn"),
        project=st.sampled_from("pq"),
        ago=st.sampled_from([0.0, 0.5, 20.0]),
        hint=st.sampled_from([None, 0.0, 2.0, 90.0, 1e9]),
        operation=st.sampled_from(["messages", "count_tokens"]),
        trial=st.booleans(),
        again=st.booleans(),
    )
    def fails(self, cls, model, project, ago, hint, operation, trial, again):
        self.remember()
        self.number += not again
        changed = self.health.observe(
            Outcome(
                request_id=f"r{self.number}",
                project=project,
                account="a",
                model=model,
                operation=operation,
                cls=cls,
                retry_after=hint,
                sent_at=self.now - ago,
                ended_at=self.now,
                trial=trial,
            ),
            self.now,
        )
        if cls in (o.CLIENT_FAULT, o.CLIENT_LEFT):
            assert all(self.health.conditions[key].phase(self.now) is Phase.HALF_OPEN for key in changed)

    @rule(model=st.sampled_from("mn"), ago=st.sampled_from([0.0, 0.5, 20.0]))
    def succeeds(self, model, ago):
        self.remember()
        self.health.observe(
            Outcome(request_id="", project="p", account="a", model=model, sent_at=self.now - ago, ended_at=self.now),
            self.now,
        )

    @rule(status=st.sampled_from([0, 200, 401, 403, 500]))
    def probe(self, status):
        self.remember()
        self.lifted = status == 200
        self.health.probed("a", status=status, now=self.now)

    @rule()
    def new_credential(self):
        self.remember()
        self.lifted = True
        self.health.credential_changed("a", self.now)

    @precondition(lambda self: self.health.waiting(self.now))
    @rule()
    def offer(self):
        self.remember()
        key = self.health.waiting(self.now)[0]
        assert self.health.offer_trial(key, "s", self.now + 30, self.now)

    @invariant()
    def no_deadline_is_shortened(self):
        for key, until in self.before.items():
            if until > self.now and not self.lifted:
                assert self.health.conditions[key].until() >= until, key

    @invariant()
    def no_deadline_is_beyond_its_bounds(self):
        for condition in self.health.conditions.values():
            for cls, state in condition.classes.items():
                effect = self.policy.effect(cls)
                longest = self.policy.hint_max_seconds if effect.honours_hint else effect.max_seconds
                assert state.until == FOREVER or state.until <= self.now + longest
                if state.until == FOREVER:
                    assert effect.until_probe
                    assert state.probe_at <= self.now + effect.max_seconds

    @invariant()
    def out_means_out(self):
        for condition in self.health.conditions.values():
            if condition.until() > self.now:
                assert condition.phase(self.now) is Phase.COOLING
                assert condition.ramp_percent(self.policy) == 0


TestHealthMachine = HealthMachine.TestCase
TestHealthMachine.settings = settings(max_examples=examples(30), stateful_step_count=40, deadline=None)


@given(st.sampled_from(TIMED), st.integers(1, 60))
def test_doubling_stays_between_first_and_most(cls, times):
    policy, condition, now = Policy(), Condition(), 0.0
    effect = policy.effect(cls)
    last = 0.0
    for _ in range(times):
        cool(condition, policy, cls=cls, ended_at=now, retry_after=None, now=now)
        seconds = condition.until() - now
        assert effect.first_seconds - 1e-6 <= seconds <= effect.max_seconds + 1e-6
        assert seconds >= last - 1e-6
        last = seconds
        now = condition.until()


def cooled(cls, at, policy, base=None):
    condition = copy.deepcopy(base) if base else Condition()
    cool(condition, policy, cls=cls, ended_at=at, retry_after=None, now=at)
    return condition


@given(st.lists(st.tuples(st.sampled_from(TIMED), st.integers(0, 1)), max_size=12))
def test_two_copies_merge_to_the_longer_deadline_either_way(events):
    policy = Policy()
    copies = [Condition(), Condition()]
    for now, (cls, which) in enumerate(events):
        cool(copies[which], policy, cls=cls, ended_at=float(now), retry_after=None, now=float(now))
    one, other = merge(*copies), merge(copies[1], copies[0])
    assert one.until() == other.until() == max(copies[0].until(), copies[1].until())
    assert one.step == other.step == min(copies[0].step, copies[1].step)


def test_a_copy_that_knows_of_the_return_wins_over_the_older_cooldown():
    policy = Policy()
    stale = cooled(o.OVERLOADED, 0.0, policy)
    returned = copy.deepcopy(stale)
    assert succeed(returned, policy, sent_at=11.0, now=12.0)
    for joined in (merge(stale, returned), merge(returned, stale)):
        assert joined.phase(12.0) is Phase.RETURNING


def test_a_failure_after_the_return_wins_although_its_copy_missed_the_return():
    policy = Policy()
    base = cooled(o.OVERLOADED, 0.0, policy)
    returned = copy.deepcopy(base)
    succeed(returned, policy, sent_at=11.0, now=12.0)
    failed = cooled(o.THROTTLED_NO_HINT, 13.0, policy, base)
    for joined in (merge(failed, returned), merge(returned, failed)):
        assert joined.phase(14.0) is Phase.COOLING
        assert joined.leading() == o.THROTTLED_NO_HINT


def test_the_ramp_goes_on_from_the_further_copy():
    policy = Policy()
    near = cooled(o.OVERLOADED, 0.0, policy)
    succeed(near, policy, sent_at=11.0, now=12.0)
    far = copy.deepcopy(near)
    succeed(far, policy, sent_at=13.0, now=13.0)
    assert merge(near, far).step == merge(far, near).step == far.step == 1


def test_failures_of_two_routers_add_up():
    one, other = Health(), Health()
    for health, request, project in ((one, "r1", "p"), (other, "r2", "q")):
        health.observe(Outcome(request_id=request, project=project, account="a", model="m", cls=o.UNSTABLE), 0.0)
    key = Key("a", "m")
    both = merge(one.conditions[key], other.conditions[key])
    assert {failure.request_id for failure in both.recent} == {"r1", "r2"}
