"""Weighted rendezvous: by weight, the same everywhere, and hardly anyone moves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_routing import rendezvous, selection

KEYS = [f"project/session-{number}".encode() for number in range(4000)]


def best(key, names, weights):
    digest = rendezvous.digest(key)
    return max(names, key=lambda name: rendezvous.score(digest, rendezvous.salt(name), weights[name]))


def test_the_same_in_every_process():
    assert rendezvous.salt("anthropic-a") == 0x3E8DE5BF2B8105BD
    assert rendezvous.digest(b"demo/1") == 0x47CDB590F4DDA8BE
    assert best(b"demo/1", ["a", "b", "c"], dict.fromkeys("abc", 1.0)) == best(
        b"demo/1", ["c", "a", "b"], dict.fromkeys("abc", 1.0)
    )


@pytest.mark.parametrize("weights", [{"a": 100, "b": 100, "c": 100}, {"a": 100, "b": 50, "c": 10}, {"a": 1, "b": 3}])
def test_weights_within_tolerance(weights):
    found = Counter(best(key, list(weights), weights) for key in KEYS)
    total = sum(weights.values())
    for name, weight in weights.items():
        assert found[name] / len(KEYS) == pytest.approx(weight / total, abs=0.03)


def test_weight_nothing_takes_nothing():
    assert rendezvous.score(rendezvous.digest(b"x"), rendezvous.salt("a"), 0.0) == 0.0


def test_only_those_of_an_account_that_leaves_move():
    weights = dict.fromkeys("abcde", 100.0)
    for key in KEYS:
        before = best(key, list("abcde"), weights)
        after = best(key, list("abde"), weights)
        assert before in {after, "c"}


def test_a_lower_weight_moves_only_its_own():
    high, low = dict.fromkeys("abc", 100.0), {"a": 100.0, "b": 25.0, "c": 100.0}
    for key in KEYS:
        before, after = best(key, list("abc"), high), best(key, list("abc"), low)
        assert before in {after, "b"}


@given(
    weights=st.lists(st.floats(0.5, 200.0), min_size=1, max_size=8),
    requests=st.lists(st.integers(0, 5), min_size=1, max_size=150),
)
def test_the_bound_is_respected(weights, requests):
    salts = [rendezvous.salt(f"a{index}") for index in range(len(weights))]
    loads = [0] * len(weights)
    for request in requests:
        digest = rendezvous.digest(b"%d" % request)
        chosen = selection.affine(digest, salts, weights, loads, 1.25, 4)
        assert chosen >= 0
        limit = rendezvous.bound(sum(loads), weights[chosen], sum(weights), 1.25, 4)
        loads[chosen] += 1
        assert loads[chosen] <= limit


def test_one_session_alone_stays_together_until_its_bound():
    salts = [rendezvous.salt(name) for name in "abc"]
    digest = rendezvous.digest(b"session")
    loads = [0, 0, 0]
    chosen = []
    for _ in range(64):
        index = selection.affine(digest, salts, [1.0] * 3, loads, 1.25, 4)
        loads[index] += 1
        chosen.append(index)
    assert len(set(chosen[:4])) == 1
    assert max(loads) <= 28
    assert min(loads) >= 8


def test_order_agrees_with_the_choice():
    salts = [rendezvous.salt(name) for name in "abcd"]
    weights = [1.0, 2.0, 3.0, 4.0]
    for number in range(200):
        digest = rendezvous.digest(b"%d" % number)
        loads = [number % 5, 3, 9, number % 2]
        assert rendezvous.order(digest, salts, weights, loads, 1.25, 4)[0] == selection.affine(
            digest, salts, weights, loads, 1.25, 4
        )


def test_bound_without_weights_is_the_floor():
    assert rendezvous.bound(100, 0.0, 0.0, 1.25, 4) == 4
