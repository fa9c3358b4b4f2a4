"""Accounts of each model by state."""

from prometheus_client import CollectorRegistry

from penstock_router.messages import Word
from penstock_router.metrics import Metrics
from penstock_router.model_accounts import count
from penstock_routing.accounts import AccountFacts
from penstock_routing.condition import Phase
from penstock_routing.health import Key


def account(name, *models, **more):
    return AccountFacts(name=name, provider="Anthropic", models=models, **more)


def word(phase):
    return Word(phase, "Throttled", 60.0)


ACCOUNTS = [account("a", "x", "y"), account("b", "x"), account("c", "x", mode="Draining")]


def test_without_conditions_all_take_but_those_that_drain():
    assert count(ACCOUNTS, {}) == {
        "x": {"taking": 2, "out": 0, "closed": 1},
        "y": {"taking": 1, "out": 0, "closed": 0},
    }


def test_a_condition_of_one_model_takes_the_account_out_for_that_model():
    counted = count(ACCOUNTS, {Key("a", "x"): word(Phase.COOLING)})
    assert counted["x"] == {"taking": 1, "out": 1, "closed": 1}
    assert counted["y"]["taking"] == 1


def test_a_condition_of_the_account_takes_it_out_for_all():
    counted = count(ACCOUNTS, {Key("a"): word(Phase.HALF_OPEN), Key("c"): word(Phase.COOLING)})
    assert counted == {"x": {"taking": 1, "out": 1, "closed": 1}, "y": {"taking": 0, "out": 1, "closed": 0}}


def test_a_ramp_takes_requests_and_count_tokens_is_no_matter():
    words = {Key("a"): word(Phase.RETURNING), Key("b", "x", "count_tokens"): word(Phase.COOLING)}
    assert count(ACCOUNTS, words)["x"]["taking"] == 2


def test_a_scrape_shows_them():
    registry = CollectorRegistry()
    Metrics(registry).model_accounts.read = lambda: count(ACCOUNTS, {Key("a"): word(Phase.COOLING)})
    labels = {"model": "y", "state": "out"}
    assert registry.get_sample_value("penstock_router_model_accounts", labels) == 1
