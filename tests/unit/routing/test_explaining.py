"""What an explanation says first is what a pick takes, whatever has gone wrong before."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_routing import NoneLeft, Pick
from penstock_routing import outcomes as o
from penstock_routing.words import verdict
from tests.effort import examples
from tests.unit.routing.test_pool import Bench, T, facts
from tests.unit.routing.test_storms import stormy

ENDS = [o.OK, o.OVERLOADED, o.UNSTABLE, o.CREDENTIAL_INVALID, o.THROTTLED, o.CLIENT_LEFT]
OURS = replace(T, affinity=b"conversation", estimated_tokens=1000)


def rows(bench, traits=T):
    return {row.account: row for row in bench.pool.explain(traits, bench.now)}


class TestStorm:
    def test_accounts_that_are_asked_although_they_cool(self):
        bench = stormy(4, 4)
        told = bench.pool.explain(T, bench.now)
        assert [(row.reason, row.rank, row.seconds) for row in told] == [("Storm", rank, 0.0) for rank in (1, 2, 3, 4)]
        assert [verdict(row) for row in told] == ["taken", "next", "next", "next"]
        pick = bench.pick()
        assert pick.account == told[0].account
        assert pick.despite

    def test_who_does_not_cool_comes_first(self):
        told = stormy(4, 3).pool.explain(T, 100.0)
        assert (told[0].account, told[0].reason) == ("d", "Eligible")
        assert {row.reason for row in told[1:]} == {"Storm"}

    def test_of_few_accounts_nobody_can_tell(self):
        told = stormy(3, 3).pool.explain(T, 100.0)
        assert {(row.reason, row.rank, verdict(row)) for row in told} == {("Overloaded", 0, "cooling")}

    def test_when_nothing_is_answered_and_one_is_out(self):
        bench = stormy(4, 4)
        for _ in range(200):
            bench.end(bench.pick(), o.OVERLOADED)
        assert {row.reason for row in rows(bench).values()} == {"Storm"}
        bench.pick()
        assert {row.reason for row in rows(bench).values()} == {"Overloaded"}

    def test_one_that_cools_for_something_else_is_not_asked(self):
        bench = Bench(*(facts(name) for name in "abcde"))
        for pick in bench.take(60):
            bench.end(pick, o.CREDENTIAL_INVALID if pick.account == "e" else o.OVERLOADED)
        told = rows(bench)
        assert (told["e"].reason, told["e"].eligible) == ("CredentialInvalid", False)
        assert {told[name].reason for name in "abcd"} == {"Storm"}

    def test_a_conversations_home_comes_before_all(self):
        bench = Bench(*(facts(name) for name in "abcd"), facts("e", tier=1))
        home = bench.pick(OURS)
        bench.end(home)
        for pick in bench.take(60):
            bench.end(pick, o.OVERLOADED)
        told = bench.pool.explain(OURS, bench.now)
        assert [(row.account, row.reason) for row in told[:2]] == [(home.account, "Storm"), ("e", "Eligible")]
        assert bench.pick(OURS).account == home.account
        assert bench.pool.explain(T, bench.now)[0].account == bench.pick().account == "e"


@settings(max_examples=examples(60), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 8),
    tiers=st.integers(1, 2),
    affinity=st.sampled_from([None, b"x", b"y", b"z"]),
)
def test_the_first_is_taken_whatever_happened(seed, count, tiers, affinity):
    rng = random.Random(seed)
    bench = Bench(*(facts(name, tier=rng.randrange(tiers)) for name in "abcdefgh"[:count]))
    for _ in range(rng.randrange(80)):
        bench.now += rng.choice([0.0, 0.5, 20.0])
        pick = bench.pick(replace(T, affinity=rng.choice([None, b"x", b"y", b"z"])))
        if isinstance(pick, Pick) and rng.random() < 0.9:
            bench.end(pick, rng.choices(ENDS, weights=[2, 6, 1, 1, 1, 1])[0])
    traits = replace(T, affinity=affinity)
    told = bench.pool.explain(traits, bench.now)
    # Lots are drawn between those that are alike.
    first = [row for row in told if row.rank and (row.reason, row.tier) == (told[0].reason, told[0].tier)]
    # One in twenty picks is of those that failed lately.
    late = [row for row in told if row.reason == "FailedLately"]
    pick = bench.pick(traits)
    if isinstance(pick, NoneLeft):
        assert not any(row.eligible for row in told)
        assert pick.reasons == {row.account: row.reason for row in told}
    elif affinity is None:
        assert pick.account in {row.account for row in first + late}
    else:
        assert pick.account in {row.account for row in told[:1] + late}
    if isinstance(pick, Pick):
        assert pick.despite == (next(row for row in told if row.account == pick.account).reason == "Storm")


@pytest.mark.parametrize("affinity", [None, b"conversation"])
def test_explaining_does_not_lead_a_request_to_another_provider(affinity):
    bench = Bench(*(facts(f"o{n}", provider="OpenAI") for n in range(60)), *(facts(f"a{n}") for n in range(30)))
    for number in range(60):
        traits = replace(T, affinity=affinity and b"%d" % number, providers=frozenset({"Anthropic"}))
        told = bench.pool.explain(traits, bench.now)
        assert {row.reason for row in told if row.account.startswith("o")} == {"OtherProvider"}
        assert bench.pick(traits).account.startswith("a")
