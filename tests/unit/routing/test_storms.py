"""A provider that is overloaded as a whole is asked on; one account of it that is overloaded is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock_routing import Hints, NoneLeft, Pick
from penstock_routing import outcomes as o
from tests.unit.routing.test_pool import Bench, T, facts


def stormy(count: int, overloaded: int) -> Bench:
    bench = Bench(*(facts(name) for name in "abcdef"[:count]))
    for pick in [pick for pick in bench.take(60) if isinstance(pick, Pick)]:
        if pick.account in "abcdef"[:overloaded]:
            bench.end(pick, o.OVERLOADED)
        else:
            bench.pool.unused(pick, bench.now)
    return bench


def test_when_most_accounts_are_overloaded_they_are_asked_nevertheless():
    pick = stormy(4, 4).pick()
    assert isinstance(pick, Pick)
    assert not pick.trial
    assert not pick.watched


def test_while_another_account_is_left_it_comes_first():
    bench = stormy(4, 3)
    assert {bench.pick().account for _ in range(20)} == {"d"}
    assert bench.pick(tried="d").account in "abc"


def test_when_half_are_overloaded_these_are_left_alone():
    assert isinstance(stormy(4, 2).pick(tried="cd"), NoneLeft)


def test_of_few_accounts_nobody_can_tell():
    assert isinstance(stormy(3, 3).pick(), NoneLeft)


def test_a_conversation_stays_at_its_home():
    bench = Bench(*(facts(name) for name in "abcd"))
    ours = replace(T, affinity=b"conversation", estimated_tokens=1000)
    home = bench.pick(ours)
    bench.end(home)
    for pick in bench.take(60):
        bench.end(pick, o.OVERLOADED)
    assert {bench.pick(ours).account for _ in range(3)} == {home.account}


def test_a_failure_then_makes_no_cooldown_longer():
    bench = stormy(4, 4)
    before = bench.pool.soonest(T, bench.now)
    for _ in range(20):
        bench.end(bench.pick(), o.OVERLOADED)
    assert bench.pool.soonest(T, bench.now) == before


def test_when_nothing_is_answered_one_is_asked_at_a_time():
    bench = stormy(4, 4)
    for _ in range(200):
        bench.end(bench.pick(), o.OVERLOADED)
    one = bench.pick()
    assert isinstance(one, Pick)
    assert isinstance(bench.pick(), NoneLeft)
    bench.end(one, o.OVERLOADED)
    for _ in range(30):
        bench.end(bench.pick())
    assert all(isinstance(pick, Pick) for pick in bench.take(10))


def test_refusals_whose_heads_tell_of_limits_are_no_answers():
    bench = stormy(4, 4)
    plenty = Hints(requests_limit=10_000, requests_remaining=10_000)
    for _ in range(200):
        pick = bench.pick()
        bench.pool.heard(pick, plenty, bench.now)
        bench.end(pick, o.OVERLOADED, hints=plenty)
    assert isinstance(bench.pick(), Pick)
    assert isinstance(bench.pick(), NoneLeft)


def test_throttles_whose_heads_tell_of_limits_show_nothing():
    bench = stormy(4, 4)
    before = bench.pool._storms.of("m").answered
    plenty = Hints(requests_limit=10_000, requests_remaining=10_000)
    for _ in range(20):
        pick = bench.pick()
        bench.pool.heard(pick, plenty, bench.now)
        bench.end(pick, o.THROTTLED, hints=plenty, retry_after=0.0)
        bench.now += 1.0
    assert bench.pool._storms.of("m").answered == pytest.approx(before)


def test_of_models_that_are_gone_no_storm_is_remembered():
    bench = stormy(4, 4)
    pick = bench.pick()
    assert isinstance(pick, Pick)
    for _ in range(2):
        bench.pool.load([facts(name, models=("other",)) for name in "abcd"], bench.now)
        bench.end(pick, o.OVERLOADED)
    assert not bench.pool._storms
