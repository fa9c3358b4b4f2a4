"""What each class of failure does to an account, row by row, and how it comes back."""

from __future__ import annotations

import math

import pytest

from penstock_routing import Outcome, Policy
from penstock_routing import outcomes as o
from penstock_routing.condition import FOREVER, Phase
from penstock_routing.health import Health, Key

A_M = Key("a", "m")
A = Key("a")
A_COUNT = Key("a", "", "count_tokens")


class Bench:
    """A Health with a hand on the clock."""

    def __init__(self) -> None:
        self.health = Health(Policy())
        self.now = 1000.0
        self.number = 0

    def fail(
        self,
        cls,
        *,
        sent=None,
        retry_after=None,
        project="p",
        request_id=None,
        model="m",
        operation="messages",
        trial=False,
        status=500,
    ):
        self.number += 1
        return self.health.observe(
            Outcome(
                request_id=request_id or f"r{self.number}",
                project=project,
                account="a",
                model=model,
                operation=operation,
                cls=cls,
                status=status,
                retry_after=retry_after,
                sent_at=self.now if sent is None else sent,
                ended_at=self.now,
                trial=trial,
            ),
            self.now,
        )

    def succeed(self, *, sent=None, cls=o.OK, operation="messages", first_byte=True):
        return (
            self.fail(cls, sent=sent, operation=operation)
            if first_byte is False
            else self.health.observe(
                Outcome(
                    request_id="ok",
                    project="p",
                    account="a",
                    model="m",
                    operation=operation,
                    cls=cls,
                    sent_at=self.now if sent is None else sent,
                    ended_at=self.now,
                    first_byte=True,
                ),
                self.now,
            )
        )

    def phase(self, key=A_M):
        condition = self.health.conditions.get(key)
        return condition.phase(self.now) if condition else Phase.HEALTHY

    def left(self, key=A_M):
        return self.health.conditions[key].until() - self.now

    def cool_out(self, key=A_M):
        self.now = self.health.conditions[key].until()


@pytest.fixture
def bench():
    return Bench()


ROWS = [
    # class, retry_after, key, seconds of the first six cooldowns in a row
    (o.THROTTLED, 7.0, A_M, [7] * 6),
    (o.THROTTLED_NO_HINT, None, A_M, [5, 10, 20, 40, 80, 160, 300, 300]),
    (o.OVERLOADED, None, A_M, [10, 20, 40, 80, 160, 320, 600, 600]),
    (o.QUOTA_EXHAUSTED, None, A, [60, 120, 240, 480, 960, 1920, 3600, 3600]),
    (o.MODEL_MISSING, None, A_M, [600, 600, 600]),
]


@pytest.mark.parametrize(("cls", "hint", "key", "seconds"), ROWS)
def test_cooldowns_in_a_row(bench, cls, hint, key, seconds):
    for expected in seconds:
        assert bench.fail(cls, retry_after=hint, trial=True) == {key}
        assert bench.phase(key) is Phase.COOLING
        assert bench.left(key) == pytest.approx(expected)
        bench.cool_out(key)
        assert bench.phase(key) is Phase.HALF_OPEN


@pytest.mark.parametrize("cls", [o.CREDENTIAL_INVALID, o.FORBIDDEN])
def test_out_until_a_probe_succeeds(bench, cls):
    key = A if cls == o.CREDENTIAL_INVALID else A_M
    start = bench.now
    assert bench.fail(cls) == {key}
    assert bench.left(key) == FOREVER
    waits = []
    for _ in range(7):
        while not bench.health.due_probes(bench.now):
            bench.now += 1.0
        waits.append(bench.now - start)
        start = bench.now
        bench.health.probed("a", status=0, now=bench.now)
        assert bench.left(key) == FOREVER
    assert waits == [15, 30, 60, 120, 240, 300, 300]
    bench.now += 300
    assert bench.health.probed("a", status=200, now=bench.now) == {key}
    assert bench.phase(key) is Phase.HALF_OPEN


def test_a_probes_success_does_not_reset_the_doubling_a_real_one_does(bench):
    bench.fail(o.CREDENTIAL_INVALID)
    bench.now += 15
    bench.health.probed("a", status=200, now=bench.now)
    bench.fail(o.CREDENTIAL_INVALID, trial=True)
    assert bench.health.conditions[A].classes[o.CREDENTIAL_INVALID].probe_at == pytest.approx(bench.now + 30)
    bench.now += 30
    bench.health.probed("a", status=200, now=bench.now)
    bench.succeed()
    bench.fail(o.CREDENTIAL_INVALID)
    assert bench.health.conditions[A].classes[o.CREDENTIAL_INVALID].probe_at == pytest.approx(bench.now + 15)


@pytest.mark.parametrize("cls", [o.CREDENTIAL_INVALID, o.FORBIDDEN, o.QUOTA_EXHAUSTED])
def test_a_new_credential_gives_a_chance_at_once(bench, cls):
    key = A_M if cls == o.FORBIDDEN else A
    bench.fail(cls)
    assert bench.health.credential_changed("a", bench.now) == {key}
    assert bench.phase(key) is Phase.HALF_OPEN


@pytest.mark.parametrize("cls", [o.OVERLOADED, o.THROTTLED_NO_HINT, o.MODEL_MISSING])
def test_a_new_credential_changes_nothing_else(bench, cls):
    bench.fail(cls)
    assert bench.health.credential_changed("a", bench.now) == set()
    assert bench.phase() is Phase.COOLING


def test_a_probe_lifts_no_quota_and_no_throttle(bench):
    bench.fail(o.QUOTA_EXHAUSTED)
    bench.fail(o.OVERLOADED)
    bench.health.probed("a", status=200, now=bench.now)
    assert bench.phase(A) is Phase.COOLING
    assert bench.phase(A_M) is Phase.COOLING


def overloaded_for_long(bench):
    """Fail until the cooldown is one of 40 s."""
    for seconds in (10, 20):
        bench.fail(o.OVERLOADED, trial=seconds > 10)
        bench.now += seconds
    bench.fail(o.OVERLOADED, trial=True)
    assert bench.left() == 40


def test_an_account_that_did_not_answer_and_does_again_gets_its_trial_at_once(bench):
    overloaded_for_long(bench)
    assert bench.health.due_probes(bench.now + 14) == set()
    bench.now += 15
    assert bench.health.due_probes(bench.now) == {"a"}
    assert bench.health.probed("a", status=0, now=bench.now) == {A_M}
    assert bench.phase() is Phase.COOLING
    assert bench.health.due_probes(bench.now + 14) == set()
    bench.now += 15
    assert bench.health.due_probes(bench.now) == {"a"}
    assert bench.health.probed("a", status=200, now=bench.now) == {A_M}
    assert bench.phase() is Phase.HALF_OPEN
    bench.fail(o.OVERLOADED, trial=True)
    assert bench.left() == 80, "a probe's success ends no row"


def test_an_account_that_answered_all_the_time_is_judged_by_requests_alone(bench):
    overloaded_for_long(bench)
    bench.now += 15
    bench.health.probed("a", status=200, now=bench.now)
    assert bench.phase() is Phase.COOLING
    bench.now += 15
    assert bench.health.due_probes(bench.now) == set()
    bench.health.probed("a", status=200, now=bench.now)
    assert bench.left() == 10


def test_a_short_cooldown_is_not_probed(bench):
    bench.fail(o.OVERLOADED)
    assert not any(bench.health.due_probes(bench.now + seconds) for seconds in range(10))


@pytest.mark.parametrize(("status", "cls"), [(401, o.CREDENTIAL_INVALID), (403, o.FORBIDDEN)])
def test_forbidden_takes_the_account_when_the_probe_is_refused_too(bench, status, cls):
    bench.fail(o.FORBIDDEN)
    assert bench.phase(A) is Phase.HEALTHY
    assert A in bench.health.probed("a", status=status, now=bench.now)
    assert bench.phase(A) is Phase.COOLING
    assert bench.health.conditions[A].leading() == cls


def test_a_refused_probe_does_not_restart_an_account_that_is_out(bench):
    bench.fail(o.CREDENTIAL_INVALID)
    bench.now += 15
    bench.health.probed("a", status=401, now=bench.now)
    assert bench.health.conditions[A].classes[o.CREDENTIAL_INVALID].probe_at == pytest.approx(bench.now + 30)


def test_a_failed_but_not_refused_probe_does_not_widen(bench):
    bench.fail(o.FORBIDDEN)
    bench.health.probed("a", status=503, now=bench.now)
    assert bench.phase(A) is Phase.HEALTHY


@pytest.mark.parametrize("cls", [o.CLIENT_FAULT, o.CLIENT_LEFT])
def test_the_clients_own_doing_does_nothing(bench, cls):
    for _ in range(50):
        assert bench.fail(cls) == set()
    assert bench.health.conditions == {}


class TestHints:
    @pytest.mark.parametrize(
        ("hint", "seconds"),
        [
            (0.0, 1),
            (0.2, 1),
            (1.0, 1),
            (42.5, 42.5),
            (3600, 3600),
            (9e9, 3600),
            (-5, 1),
            (math.nan, 1),
            (math.inf, 3600),
        ],
    )
    def test_clamped(self, bench, hint, seconds):
        bench.fail(o.THROTTLED, retry_after=hint)
        assert bench.left() == pytest.approx(seconds)

    def test_the_answer_decides_not_the_label(self, bench):
        bench.fail(o.THROTTLED, retry_after=None)
        assert bench.health.conditions[A_M].leading() == o.THROTTLED_NO_HINT
        assert bench.left() == 5

    def test_counts_from_the_answer(self, bench):
        bench.health.observe(
            Outcome(
                request_id="r",
                project="p",
                account="a",
                model="m",
                cls=o.THROTTLED,
                retry_after=10,
                sent_at=990,
                ended_at=996,
            ),
            1000.0,
        )
        assert bench.left() == pytest.approx(6)

    def test_other_classes_do_not_honour_hints(self, bench):
        bench.fail(o.OVERLOADED, retry_after=3000)
        assert bench.left() == 10


class TestDeadlines:
    def test_never_shortened_by_a_smaller_one(self, bench):
        bench.fail(o.THROTTLED, retry_after=300)
        bench.now += 1
        bench.fail(o.THROTTLED, retry_after=2)
        assert bench.left() == pytest.approx(299)

    def test_never_shortened_by_another_class(self, bench):
        bench.fail(o.THROTTLED, retry_after=300)
        bench.fail(o.OVERLOADED)
        assert bench.left() == pytest.approx(300)
        assert bench.health.conditions[A_M].leading() == o.THROTTLED

    def test_a_longer_hint_prolongs(self, bench):
        bench.fail(o.THROTTLED, retry_after=10)
        bench.now += 1
        bench.fail(o.THROTTLED, retry_after=60, sent=bench.now - 5)
        assert bench.left() == pytest.approx(60)

    def test_requests_sent_before_it_began_count_once(self, bench):
        sent = bench.now - 3
        for _ in range(64):
            bench.fail(o.OVERLOADED, sent=sent)
            bench.now += 0.01
        assert bench.left() < 10
        bench.cool_out()
        bench.now += 1
        bench.fail(o.OVERLOADED, sent=sent)  # The last of them, late: still the same failure.
        assert bench.phase() is Phase.HALF_OPEN
        bench.fail(o.OVERLOADED)
        assert bench.left() == 20

    def test_one_request_fails_once(self, bench):
        bench.fail(o.OVERLOADED, request_id="same")
        bench.cool_out()
        assert bench.fail(o.OVERLOADED, request_id="same") == set()
        assert bench.phase() is Phase.HALF_OPEN

    def test_rows_are_per_class(self, bench):
        bench.fail(o.OVERLOADED)
        bench.cool_out()
        bench.fail(o.THROTTLED_NO_HINT)
        assert bench.left() == 5


class TestUnstable:
    def test_three_from_two_projects(self, bench):
        assert bench.fail(o.UNSTABLE, project="p") == set()
        assert bench.fail(o.UNSTABLE, project="p") == set()
        assert bench.fail(o.UNSTABLE, project="q") == {A_M}
        assert bench.left() == 15

    def test_one_project_alone_never_suffices(self, bench):
        for _ in range(100):
            bench.fail(o.UNSTABLE, project="poison")
            bench.now += 0.1
        assert bench.phase() is Phase.HEALTHY

    def test_two_from_two_projects_do_not_suffice(self, bench):
        bench.fail(o.UNSTABLE, project="p")
        bench.fail(o.UNSTABLE, project="q")
        assert bench.phase() is Phase.HEALTHY

    def test_old_ones_do_not_count(self, bench):
        bench.fail(o.UNSTABLE, project="p")
        bench.fail(o.UNSTABLE, project="q")
        bench.now += 31
        bench.fail(o.UNSTABLE, project="q")
        assert bench.phase() is Phase.HEALTHY

    def test_one_request_counts_once(self, bench):
        for project in "pqr":
            bench.fail(o.UNSTABLE, project=project, request_id="same")
        assert bench.phase() is Phase.HEALTHY

    def test_two_requests_and_then_a_failed_probe(self, bench):
        bench.fail(o.UNSTABLE)
        assert bench.health.due_probes(bench.now) == set()
        bench.fail(o.UNSTABLE)
        assert bench.health.due_probes(bench.now) == {"a"}
        assert bench.health.probed("a", status=500, now=bench.now) == {A_M}
        assert bench.phase() is Phase.COOLING
        assert bench.health.due_probes(bench.now) == set()

    def test_a_failed_probe_and_then_two_requests(self, bench):
        bench.fail(o.UNSTABLE)
        bench.health.probed("a", status=0, now=bench.now)
        assert bench.phase() is Phase.HEALTHY
        assert bench.fail(o.UNSTABLE) == {A_M}

    def test_two_requests_and_a_good_probe_do_nothing(self, bench):
        bench.fail(o.UNSTABLE)
        bench.fail(o.UNSTABLE)
        bench.health.probed("a", status=200, now=bench.now)
        assert bench.phase() is Phase.HEALTHY
        assert bench.health.due_probes(bench.now) == set()

    def test_a_failed_trial_suffices_alone(self, bench):
        bench.fail(o.UNSTABLE, project="p")
        bench.fail(o.UNSTABLE, project="p")
        bench.fail(o.UNSTABLE, project="q")
        bench.cool_out()
        bench.fail(o.UNSTABLE, trial=True)
        assert bench.left() == 30

    def test_unknown_classes_are_unstable(self, bench):
        for project in "pqr":
            bench.fail("Martian", project=project)
        assert bench.health.conditions[A_M].leading() == o.UNSTABLE


class TestCountTokens:
    @pytest.mark.parametrize("hint", [3.0, None])
    def test_its_throttle_cools_itself_only(self, bench, hint):
        assert bench.fail(o.THROTTLED, retry_after=hint, operation="count_tokens") == {A_COUNT}
        assert bench.phase() is Phase.HEALTHY
        assert bench.phase(A) is Phase.HEALTHY

    def test_its_success_proves_only_itself(self, bench):
        bench.fail(o.OVERLOADED)
        bench.cool_out()
        assert bench.succeed(operation="count_tokens") == set()
        assert bench.phase() is Phase.HALF_OPEN

    def test_a_refused_credential_is_the_accounts(self, bench):
        assert bench.fail(o.CREDENTIAL_INVALID, operation="count_tokens") == {A}

    def test_returns_by_itself(self, bench):
        bench.fail(o.THROTTLED, retry_after=2, operation="count_tokens")
        bench.cool_out(A_COUNT)
        assert bench.succeed(operation="count_tokens") == {A_COUNT}
        assert bench.phase(A_COUNT) is Phase.RETURNING


class TestReturn:
    def test_half_open_then_a_ramp_then_healthy(self, bench):
        bench.fail(o.OVERLOADED)
        bench.cool_out()
        condition = bench.health.conditions[A_M]
        percents = [condition.ramp_percent(bench.health.policy)]
        while bench.phase() is not Phase.HEALTHY:
            bench.now += 1
            assert bench.succeed() == {A_M}
            percents.append(condition.ramp_percent(bench.health.policy))
        assert percents == [0, 10, 25, 50, 100]

    def test_success_of_a_request_sent_before_proves_nothing(self, bench):
        bench.fail(o.OVERLOADED)
        bench.cool_out()
        bench.now += 1
        assert bench.succeed(sent=bench.now - 5) == set()
        assert bench.phase() is Phase.HALF_OPEN

    def test_success_while_cooling_changes_nothing(self, bench):
        bench.fail(o.OVERLOADED)
        assert bench.succeed() == set()
        assert bench.left() == 10

    def test_the_first_success_resets_the_doubling(self, bench):
        for _ in range(4):
            bench.fail(o.OVERLOADED, trial=True)
            bench.cool_out()
        bench.succeed()
        bench.now += 1
        bench.fail(o.OVERLOADED)
        assert bench.left() == 10

    def test_begun_and_a_client_that_left_after_bytes_are_successes(self, bench):
        for cls in (o.BEGUN, o.CLIENT_LEFT):
            bench.fail(o.OVERLOADED)
            bench.cool_out()
            assert bench.succeed(cls=cls) == {A_M}
            assert bench.phase() is Phase.RETURNING
            bench.now += 1

    def test_a_failure_on_the_ramp_cools_again(self, bench):
        bench.fail(o.OVERLOADED)
        bench.cool_out()
        bench.succeed()
        bench.now += 1
        bench.fail(o.THROTTLED, retry_after=4)
        assert bench.phase() is Phase.COOLING
        bench.cool_out()
        assert bench.phase() is Phase.HALF_OPEN


class TestTrial:
    def test_offered_only_when_half_open(self, bench):
        assert not bench.health.offer_trial(A_M, "s", 2000.0, bench.now)
        bench.fail(o.OVERLOADED)
        assert not bench.health.offer_trial(A_M, "s", 2000.0, bench.now)
        assert bench.health.waiting(bench.now) == []
        bench.cool_out()
        assert bench.health.waiting(bench.now) == [A_M]
        assert bench.health.offer_trial(A_M, "s", bench.now + 30, bench.now)
        assert bench.health.waiting(bench.now) == []

    def test_goes_to_the_next_when_nothing_was_heard(self, bench):
        bench.fail(o.OVERLOADED)
        bench.cool_out()
        bench.health.offer_trial(A_M, "s", bench.now + 30, bench.now)
        bench.now += 30
        assert bench.health.waiting(bench.now) == [A_M]

    @pytest.mark.parametrize("cls", [o.CLIENT_FAULT, o.CLIENT_LEFT])
    def test_goes_to_the_next_when_it_showed_nothing(self, bench, cls):
        bench.fail(o.OVERLOADED)
        bench.cool_out()
        bench.health.offer_trial(A_M, "s", bench.now + 30, bench.now)
        assert bench.fail(cls, trial=True) == {A_M}
        assert bench.health.waiting(bench.now) == [A_M]
        assert bench.phase() is Phase.HALF_OPEN

    def test_goes_to_the_next_when_it_failed_elsewhere(self, bench):
        bench.fail(o.OVERLOADED)
        bench.cool_out()
        bench.health.offer_trial(A_M, "s", bench.now + 30, bench.now)
        assert bench.fail(o.CREDENTIAL_INVALID, trial=True) == {A, A_M}
        assert bench.health.waiting(bench.now) == [A_M]


def test_soonest_is_the_next_deadline(bench):
    assert bench.health.soonest(bench.now) == math.inf
    bench.fail(o.OVERLOADED)
    bench.fail(o.THROTTLED, retry_after=3, model="n")
    assert bench.health.soonest(bench.now) == pytest.approx(bench.now + 3)
    bench.now += 5
    assert bench.health.soonest(bench.now) == pytest.approx(bench.now + 5)


def test_accounts_that_are_gone_are_forgotten(bench):
    bench.fail(o.OVERLOADED)
    bench.health.probed("a", status=200, now=bench.now)
    assert bench.health.keep({"a": ["m"]}, bench.now) == set()
    assert bench.health.keep({"b": ["m"]}, bench.now) == {A_M}
    assert bench.health.conditions == {}
    assert bench.health.probed_at == {}


def test_what_is_long_healthy_is_forgotten(bench):
    bench.fail(o.UNSTABLE)
    bench.now += 601
    assert bench.health.keep({"a": ["m"]}, bench.now) == {A_M}


def test_nothing_grows_without_bound(bench):
    for _ in range(1000):
        bench.fail(o.UNSTABLE)
        bench.fail(o.OVERLOADED)
    condition = bench.health.conditions[A_M]
    assert len(condition.seen) <= 64
    assert len(condition.recent) <= 16


def test_what_belongs_to_a_model_that_its_account_serves_no_more_is_forgotten():
    bench = Bench()
    bench.fail(o.OVERLOADED)
    bench.fail(o.QUOTA_EXHAUSTED)
    bench.now += 3600.0
    assert set(bench.health.waiting(bench.now)) == {A_M, A}
    assert bench.health.keep({"a": ["n"]}, bench.now) == {A_M}
    assert bench.health.waiting(bench.now) == [A], "nobody could ever end a trial of what is not served"
