"""An edge's own provisional cooldowns and the router's word over them."""

from __future__ import annotations

import random

import pytest

from penstock_routing import AccountFacts, Cooldown, NoneLeft, Outcome, Pick, Pool, Traits
from penstock_routing import outcomes as o
from penstock_routing.condition import HEALTHY
from penstock_routing.health import Key

NONE = frozenset()
T = Traits(model="m", session="me")


class Bench:
    """One account, so that every question is about it."""

    def __init__(self):
        self.pool = Pool()
        self.now = 100.0
        self.rng = random.Random(1).random
        self.pool.load([AccountFacts(name="a", models=("m",))], self.now)
        self.number = 0

    def pick(self, traits=T):
        return self.pool.pick(traits, NONE, self.now, self.rng)

    def fail(self, cls=o.THROTTLED, retry_after=20.0, pick=None):
        self.number += 1
        pick = pick or self.pick()
        self.pool.finished(
            pick,
            Outcome(
                request_id=f"r{self.number}",
                project="p",
                account="a",
                model="m",
                cls=cls,
                retry_after=retry_after,
                sent_at=pick.taken_at,
                ended_at=self.now,
                trial=pick.trial,
            ),
            self.now,
        )

    def word(self, seen=True, **more):
        if seen:
            self.pool.router_seen(self.now)
        self.pool.set_cooldown(Cooldown(**{"account": "a", "model": "m", "cls": o.THROTTLED, **more}), self.now)

    def wait(self):
        none = self.pick()
        assert isinstance(none, NoneLeft)
        return none.soonest_seconds

    def open(self):
        pick = self.pick()
        if isinstance(pick, Pick):
            self.pool.unused(pick, self.now)
            return True
        return False

    def on(self, seconds):
        """Time passes, and the router's heartbeats come."""
        self.now += seconds
        self.pool.router_seen(self.now)


@pytest.fixture
def bench():
    return Bench()


class TestTheRoutersWord:
    def test_cools(self, bench):
        bench.word(remaining_seconds=12.0)
        assert bench.wait() == pytest.approx(12.0)

    def test_of_the_whole_account(self, bench):
        bench.word(model="", remaining_seconds=12.0)
        assert bench.wait() == pytest.approx(12.0)

    def test_of_count_tokens_only(self, bench):
        bench.word(model="", operation="count_tokens", remaining_seconds=12.0)
        assert bench.open()
        assert isinstance(bench.pick(Traits(model="m", operation="count_tokens")), NoneLeft)

    def test_a_longer_one_prolongs_ours(self, bench):
        bench.fail(retry_after=5.0)
        bench.word(remaining_seconds=50.0)
        assert bench.wait() == pytest.approx(50.0)

    def test_an_older_message_never_shortens_our_longer_one(self, bench):
        bench.fail(retry_after=20.0)
        bench.word(remaining_seconds=2.0)
        assert bench.wait() == pytest.approx(20.0)

    @pytest.mark.parametrize("word", [{"half_open": True, "trial_session": "me"}, {"ramp_percent": 50}])
    def test_nor_does_a_return_that_is_older(self, bench, word):
        bench.fail(retry_after=20.0)
        bench.word(**word)
        assert bench.wait() == pytest.approx(20.0)

    def test_nor_does_a_clearing_that_is_older(self, bench):
        bench.fail(retry_after=20.0)
        bench.pool.clear_cooldown("a", "m", "", bench.now)
        assert bench.wait() == pytest.approx(20.0)

    def test_after_two_seconds_it_wins_all_the_same(self, bench):
        bench.fail(retry_after=20.0)
        bench.word(remaining_seconds=5.0)
        bench.on(2.0)
        assert bench.wait() == pytest.approx(3.0)

    def test_after_two_seconds_a_clearing_wins_too(self, bench):
        bench.fail(retry_after=20.0)
        bench.pool.clear_cooldown("a", "m", "", bench.now)
        bench.on(2.0)
        assert bench.open()

    def test_a_fresh_failure_waits_for_a_fresh_word(self, bench):
        bench.word(remaining_seconds=1.0)
        bench.on(1.0)
        bench.word(half_open=True, trial_session="me")
        bench.fail(retry_after=30.0)
        bench.word(half_open=True, trial_session="me")
        bench.word(remaining_seconds=30.0)
        bench.on(10.0)
        assert bench.wait() == pytest.approx(20.0)

    def test_clearing_opens(self, bench):
        bench.word(remaining_seconds=60.0)
        bench.pool.clear_cooldown("a", "m", "", bench.now)
        bench.pool.clear_cooldown("nobody", "m", "", bench.now)
        assert bench.open()
        assert not bench.pick().watched

    def test_of_an_unknown_account_is_ignored(self, bench):
        bench.word(account="nobody", remaining_seconds=60.0)
        assert bench.open()

    def test_a_snapshot_clears_what_it_does_not_name(self, bench):
        bench.word(remaining_seconds=60.0)
        bench.pool.set_cooldowns([Cooldown(account="a", model="", cls=o.OVERLOADED, remaining_seconds=9.0)], bench.now)
        assert bench.wait() == pytest.approx(9.0)
        bench.pool.set_cooldowns([], bench.now)
        assert bench.open()

    def test_it_stays_when_accounts_are_loaded_anew(self, bench):
        bench.word(remaining_seconds=60.0)
        bench.pool.load([AccountFacts(name="a", models=("m", "n")), AccountFacts(name="b", models=("n",))], bench.now)
        assert bench.wait() == pytest.approx(60.0)
        bench.pool.load([AccountFacts(name="b", models=("m",))], bench.now)
        assert bench.open()


class TestReturns:
    def test_only_the_named_session_has_the_trial(self, bench):
        bench.word(half_open=True, trial_session="another")
        assert not bench.open()
        bench.word(half_open=True)
        assert not bench.open()
        bench.word(half_open=True, trial_session="me")
        pick = bench.pick()
        assert pick.trial
        assert not bench.open()

    def test_a_deadline_that_passed_waits_for_the_router(self, bench):
        bench.word(remaining_seconds=5.0)
        bench.on(6.0)
        assert 0 < bench.wait() <= 1.0

    def test_without_the_router_the_edge_makes_its_own_trials(self, bench):
        bench.word(remaining_seconds=5.0)
        bench.now += 6.0
        pick = bench.pick()
        assert pick.trial
        assert not bench.open()
        bench.pool.finished(
            pick,
            Outcome(request_id="x", project="p", account="a", model="m", sent_at=pick.taken_at, ended_at=bench.now),
            bench.now,
        )
        assert bench.open()

    def test_a_success_moves_nothing_while_the_router_speaks(self, bench):
        bench.word(half_open=True, trial_session="me")
        pick = bench.pick()
        assert bench.pool.finished(
            pick,
            Outcome(request_id="x", project="p", account="a", model="m", sent_at=pick.taken_at, ended_at=bench.now),
            bench.now,
        )
        again = bench.pick()
        assert again.trial

    def test_what_the_router_never_spoke_of_returns_by_itself(self, bench):
        bench.fail(retry_after=1.0)
        bench.on(1.0)
        assert bench.pick().trial

    @pytest.mark.parametrize(("percent", "at_once"), [(10, 4), (25, 16), (50, 64), (99, 64)])
    def test_the_ramp_bounds_what_is_sent_at_once(self, bench, percent, at_once):
        bench.word(ramp_percent=percent)
        picks = [bench.pick() for _ in range(100)]
        assert sum(isinstance(pick, Pick) for pick in picks) == at_once
        assert all(pick.watched and not pick.trial for pick in picks if isinstance(pick, Pick))

    def test_output_makes_room_on_the_ramp(self, bench):
        bench.word(ramp_percent=10)
        picks = [bench.pick() for _ in range(4)]
        assert not bench.open()
        assert bench.pool.begun(picks[0], bench.now)
        assert bench.open()

    def test_an_edge_without_a_name_gets_no_trial(self, bench):
        bench.word(half_open=True, trial_session="")
        assert isinstance(bench.pick(Traits(model="m")), NoneLeft)


def test_a_gate_that_is_forgotten_stands_in_nobodys_way():
    bench = Bench()
    bench.word(remaining_seconds=1.0)
    bench.pool._gates._gates[Key("a", "m")].condition.step = HEALTHY  # A throttle that was paced leaves no trial.
    bench.now += 5000.0
    lane = bench.pool._serving.lanes["a", "m"]
    assert lane.gate is not None
    bench.pool.load([AccountFacts(name="a", models=("m",))], bench.now)
    assert lane.gate is None
    assert lane.plain
    assert not bench.pool._gates


def test_a_model_that_an_account_serves_again_begins_anew():
    bench = Bench()
    bench.fail(o.OVERLOADED)
    assert isinstance(bench.pick(), NoneLeft)
    for models in (("other",), ("m",)):
        bench.pool.load([AccountFacts(name="a", models=models)], bench.now)
    assert isinstance(bench.pick(), Pick)
