import msgspec
import pytest

from penstock_simulator.faults import FaultBook, RuleSpec


def book(*rules):
    return FaultBook(msgspec.convert(rule, RuleSpec) for rule in rules)


@pytest.mark.parametrize(
    ("rule", "hit", "missed"),
    [
        ({}, ("a", "m", "messages"), ("a", "", "models")),
        ({}, ("a", "m", "count_tokens"), ("a", "", "models")),
        ({"account": "a"}, ("a", "m", "messages"), ("b", "m", "messages")),
        ({"model": "claude-*"}, ("a", "claude-x", "messages"), ("a", "gpt", "messages")),
        ({"operation": "models"}, ("a", "", "models"), ("a", "m", "messages")),
        ({"operation": "count_tokens"}, ("a", "m", "count_tokens"), ("a", "m", "messages")),
        ({"operation": "messages"}, ("a", "m", "messages"), ("a", "m", "count_tokens")),
        ({}, ("a", "m", "embeddings"), ("a", "", "models")),
        ({"operation": "embeddings"}, ("a", "m", "embeddings"), ("a", "m", "messages")),
    ],
)
def test_what_a_rule_meets(rule, hit, missed):
    faults = book(rule | {"set": {"fault": "529"}})
    assert faults.strike(*hit) == [{"fault": "529"}]
    assert faults.strike(*missed) == []


def test_any_meets_everything():
    faults = book({"operation": "any", "set": {"fault": "401"}})
    operations = ("messages", "embeddings", "count_tokens", "models")
    assert all(faults.strike("a", "m", operation) for operation in operations)


def test_count_and_skip():
    faults = book({"count": 2, "skip": 1, "set": {"fault": "500"}})
    assert [bool(faults.strike("a", "m", "messages")) for _ in range(5)] == [False, True, True, False, False]
    assert (faults.shown()[0]["seen"], faults.shown()[0]["fired"]) == (5, 2)


def test_probability_is_repeatable_and_near():
    rule = {"probability": 0.3, "seed": 7, "set": {"fault": "500"}}
    runs = [[bool(faults.strike("a", "m", "messages")) for _ in range(1000)] for faults in (book(rule), book(rule))]
    assert runs[0] == runs[1]
    assert 250 < sum(runs[0]) < 350
    assert runs[0] != [bool(book(rule | {"seed": 8}).strike("a", "m", "messages")) for _ in range(1000)]


def test_replace_touches_one_account_only():
    faults = book({"account": "a", "set": {"fault": "500"}}, {"account": "b", "set": {"fault": "503"}})
    faults.replace("a", [RuleSpec(set={"latency": "1s"})])
    assert faults.strike("a", "m", "messages") == [{"latency": 1.0}]
    assert faults.strike("b", "m", "messages") == [{"fault": "503"}]
    faults.clear("b")
    assert [rule["account"] for rule in faults.shown()] == ["a"]
    faults.add(account="b", set={"tokens": 3})
    assert faults.shown("b")[0]["set"] == {"tokens": 3}
    faults.clear()
    assert faults.shown() == []


@pytest.mark.parametrize("rule", [{"set": {"fault": "nope"}}, {"set": {}, "probability": 2}, {}, {"set": {}, "x": 1}])
def test_bad_rules_are_refused(rule):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(rule, RuleSpec)
