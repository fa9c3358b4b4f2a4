"""Explanations in words."""

import math

import pytest

from penstock_routing import Candidate, words
from penstock_routing import outcomes as o

FAILURES = set(o.CLASSES) - {o.OK, o.BEGUN, o.CLIENT_LEFT, o.CLIENT_FAULT}


def one(account, reason="Eligible", *, rank=0, score=1.0, tier=0, seconds=0.0):
    return Candidate(
        account=account, eligible=rank > 0, reason=reason, score=score, tier=tier, rank=rank, seconds=seconds
    )


@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [
        (one("a", rank=1), "taken"),
        (one("a", rank=2), "next"),
        (one("a", "FailedLately", rank=3), "next"),
        (one("a", "Storm", rank=1), "taken"),
        *((one("a", cls), "cooling") for cls in FAILURES),
        (one("a", "HalfOpen"), "returning"),
        (one("a", "SlotsFull"), "full"),
        (one("a", "OtherProvider"), "dropped"),
        (one("a", "Draining"), "closed"),
        (one("a", "ProviderNotServed"), "closed"),
    ],
)
def test_verdicts(candidate, verdict):
    assert words.verdict(candidate) == verdict


def test_why_the_first_is_taken():
    first, second = one("a", rank=1, score=0.9), one("b", rank=2, score=0.5)
    assert words.why(first, [first, second], affinity=True) == "affinity"
    assert words.why(first, [first, second], affinity=False) == "load"
    busy = one("a", rank=2, score=0.9), one("b", rank=1, score=0.5)
    assert words.why(busy[1], busy, affinity=True) == "load"
    assert words.why(busy[0], busy, affinity=True) == ""
    out = one("c", o.OVERLOADED, seconds=9)
    assert words.why(first, [first, out], affinity=True) == "only one left"
    assert words.why(first, [first], affinity=True) == "only one"
    assert words.why(out, [first, out], affinity=True) == o.OVERLOADED
    trial = one("d", "HalfOpen", rank=1)
    assert words.why(trial, [trial, first], affinity=True) == "HalfOpen"


def test_a_route_tells_of_everybody():
    candidates = [
        one("c", rank=1, score=0.9),
        one("d", rank=2, score=0.1),
        one("e", "FailedLately", rank=3),
        one("a", o.THROTTLED, seconds=11.2),
        one("b", o.OVERLOADED, seconds=10.0),
        one("f", "Disabled"),
        one("g", o.CREDENTIAL_INVALID, seconds=math.inf),
    ]
    assert words.route(candidates, {"b": o.OVERLOADED}, "c", affinity=True, most_bytes=1000) == (
        "b=tried(Overloaded), c=taken(affinity), d=next, e=next(FailedLately), a=cooling(Throttled 12s), "
        "f=closed(Disabled), g=cooling(CredentialInvalid)"
    )


def test_a_route_without_an_end():
    candidates = [one("a", o.THROTTLED, seconds=0.2), one("b", o.OVERLOADED, seconds=10.0)]
    assert words.route(candidates, {"b": o.OVERLOADED}, "", affinity=True, most_bytes=1000) == (
        "b=tried(Overloaded), a=cooling(Throttled 1s)"
    )
    assert words.route([], {}, "", affinity=True, most_bytes=1000) == ""


@pytest.mark.parametrize(
    ("candidates", "tried", "said"),
    [
        ([one("a", rank=1)], {}, "a=taken(only one)"),
        ([one("a", rank=1), one("b", rank=2)], {"b": o.UNSTABLE}, "b=tried(Unstable), a=taken(only one left)"),
        ([one("a", "HalfOpen", rank=1), one("b", rank=2)], {}, "a=taken(trial), b=next"),
        ([one("b", rank=1, score=0.1), one("a", rank=2, score=0.9)], {}, "a=taken(affinity), b=next"),
        ([one("b", rank=1, score=0.9), one("a", rank=2, score=0.1)], {}, "a=taken(load), b=next"),
        ([one("b", rank=1), one("a", "SlotsFull", seconds=1.0)], {}, "a=taken(load), b=next"),
        ([one("b", rank=1)], {}, "a=taken, b=next"),
        ([one("a", rank=1), one("z", rank=2, score=5.0)], {"a": o.UNSTABLE}, "a=taken(load), z=next"),
    ],
)
def test_why_it_was_taken(candidates, tried, said):
    assert words.route(candidates, tried, "a", affinity=True, most_bytes=1000) == said


def test_one_that_is_asked_although_it_cools():
    candidates = [one("a", "Storm", rank=1), one("b", "Storm", rank=2), one("c", o.OVERLOADED, seconds=3)]
    assert words.why(candidates[0], candidates, affinity=True) == "Storm"
    for taken, rest in (("a", "b=next(Storm), c=cooling(Overloaded 3s)"), ("c", "a=next(Storm), b=next(Storm)")):
        told = words.route(candidates, {}, taken, affinity=True, despite=True, most_bytes=1000)
        assert told == f"{taken}=taken(storm), {rest}"


@pytest.mark.parametrize("most", [60, 100, 200])
def test_a_route_has_bounds(most):
    candidates = [one(f"account-{n:03}", rank=n + 1) for n in range(500)]
    line = words.route(candidates, {}, "account-000", affinity=False, most_bytes=most)
    assert len(line) <= most
    told, more = line.split(", ")[:-1], line.split(", ")[-1]
    assert more == f"{500 - len(told)} more"
