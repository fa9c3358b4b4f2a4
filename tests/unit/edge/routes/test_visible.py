"""Which models a key is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock_edge.routes.visible import visible
from penstock_edge.snapshot import Model
from penstock_routing import AccountFacts


def model(name, *aliases):
    return Model(name, aliases, "x", name, 1000, 100, 0, 0, (), (), {})


class View:
    """What the router says."""

    def __init__(self, *accounts):
        self._accounts = {account.name: account for account in accounts}

    def accounts(self):
        return tuple(self._accounts)

    def account(self, name):
        return self._accounts.get(name)

    def models(self):
        return (model("a", "a-latest"), model("b"), model("c"))


class Key:
    """What a plan allows."""

    def __init__(self, *models):
        self.models = models


ONE = AccountFacts(name="one", models=("a", "b"))


def names(view, key):
    return [found.name for found in visible(view, key)]


@pytest.mark.parametrize(
    ("patterns", "shown"),
    [(("*",), ["a", "b"]), (("a",), ["a"]), (("a-latest",), ["a"]), (("c",), []), ((), [])],
)
def test_what_the_plan_includes_and_some_account_serves(patterns, shown):
    assert names(View(ONE), Key(*patterns)) == shown


@pytest.mark.parametrize(
    "change", [{"mode": "Disabled"}, {"mode": "Draining"}, {"weight": 0}, {"not_served": "NoSecret"}]
)
def test_an_account_that_takes_no_requests_serves_nothing(change):
    out = replace(ONE, **change)
    assert names(View(out), Key("*")) == []
    assert names(View(out, AccountFacts(name="two", models=("b",))), Key("*")) == ["b"]
