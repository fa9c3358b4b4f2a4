"""The index of a pool: who serves a model, tier by tier."""

from __future__ import annotations

import dataclasses

import pytest

from penstock_routing import AccountFacts, Traits
from penstock_routing.lanes import Account
from penstock_routing.serving import Serving


def account(name, *, tier=0, provider="OpenAI", models=("m",), **more):
    return Account(AccountFacts(name=name, provider=provider, base_url="https://a", models=models, tier=tier, **more))


def serving(*accounts):
    made = Serving()
    made.load(accounts, ())
    return made


def names(tiers):
    return [(tier.number, [lane.account.name for lane in tier.lanes]) for tier in tiers]


def test_tiers_come_in_order_each_with_its_accounts():
    index = serving(account("c", tier=2), account("a"), account("b"), account("z", models=("other",)))
    assert names(index.open("m")) == [(0, ["a", "b"]), (2, ["c"])]
    assert [lane.account.name for lane in index.lanes_for(Traits(model="m"))] == ["a", "b", "c"]
    assert set(index.models()) == {"m", "other"}


def test_a_request_that_some_providers_may_take_sees_theirs_only_and_no_empty_tier():
    index = serving(account("a", provider="Anthropic"), account("o"), account("later", tier=1, provider="Gemini"))
    assert names(index.tiers(Traits(model="m", providers=frozenset({"OpenAI"})))) == [(0, ["o"])]
    assert names(index.tiers(Traits(model="m"))) == names(index.open("m"))
    assert index.providers("m") == {"Anthropic", "OpenAI", "Gemini"}


def test_closed_accounts_are_apart_and_count_as_providers():
    index = serving(account("a"), account("b", provider="Gemini", mode="Draining"))
    assert names(index.open("m")) == [(0, ["a"])]
    assert [lane.account.name for lane in index.closed("m")] == ["b"]
    assert index.providers("m") == {"OpenAI", "Gemini"}


def test_names_that_nobody_serves_are_not_remembered():
    index = serving()
    for number in range(100):
        assert index.tiers(Traits(model=f"x{number}", providers=frozenset({"OpenAI"}))) == ()
        assert index.providers(f"x{number}") == frozenset()
    assert not index._restricted
    assert not index._providers


@pytest.mark.parametrize(("moved", "same"), [((), True), (("a",), False)])
def test_lanes_that_stay_are_the_same_unless_their_account_moved(moved, same):
    mine = account("a")
    index = serving(mine)
    before = index.lanes["a", "m"]
    index.load([mine], moved)
    assert (index.lanes["a", "m"] is before) is same
    assert before.gone is not same


def test_what_is_gone_says_so_and_a_new_weight_is_taken_over():
    mine = account("a", models=("m", "n"))
    index = serving(mine)
    left = index.lanes["a", "n"]
    mine.adopt(dataclasses.replace(mine.facts, models=("m",), weight=7))
    index.load([mine], ())
    assert left.gone
    assert index.open("n") == ()
    assert index.lanes["a", "m"].weight == 7.0
