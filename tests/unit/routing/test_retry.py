"""Which failures go to another account, and which stop here."""

from __future__ import annotations

import pytest

from penstock_routing import Attempted, Policy, Verdict, may_retry, verdict
from penstock_routing import outcomes as o

RETRIED = [
    o.THROTTLED,
    o.THROTTLED_NO_HINT,
    o.OVERLOADED,
    o.UNSTABLE,
    o.CREDENTIAL_INVALID,
    o.FORBIDDEN,
    o.QUOTA_EXHAUSTED,
    o.MODEL_MISSING,
]


@pytest.mark.parametrize("cls", RETRIED)
def test_what_another_account_may_absorb(cls):
    assert may_retry([Attempted("a", cls, 500)], Policy())


@pytest.mark.parametrize("cls", [o.CLIENT_FAULT, o.CLIENT_LEFT, o.OK])
def test_what_is_final(cls):
    assert verdict([Attempted("a", cls, 400)], Policy()) is Verdict.FINAL


def test_nothing_happened_yet():
    assert may_retry([], Policy())


def test_not_repeatable():
    assert verdict([Attempted("a", o.UNSTABLE, 0, repeatable=False)], Policy()) is Verdict.COMMITTED


def failed(*attempts):
    return [Attempted(account, cls, status) for account, cls, status in attempts]


POISON = [
    ("same 500 on two accounts", failed(("a", o.UNSTABLE, 500), ("b", o.UNSTABLE, 500)), Verdict.POISON),
    (
        "also with another failure between",
        failed(("a", o.UNSTABLE, 500), ("b", o.THROTTLED, 429), ("c", o.UNSTABLE, 500)),
        Verdict.POISON,
    ),
    ("502 on two", failed(("a", o.UNSTABLE, 502), ("b", o.UNSTABLE, 502)), Verdict.POISON),
    ("different statuses", failed(("a", o.UNSTABLE, 500), ("b", o.UNSTABLE, 502)), Verdict.RETRY),
    ("twice on one account", failed(("a", o.UNSTABLE, 500), ("a", o.UNSTABLE, 500)), Verdict.RETRY),
    ("overloaded is no poison", failed(("a", o.OVERLOADED, 529), ("b", o.OVERLOADED, 529)), Verdict.RETRY),
    ("throttled is no poison", failed(("a", o.THROTTLED, 429), ("b", o.THROTTLED, 429)), Verdict.RETRY),
    ("resets have no status", failed(("a", o.UNSTABLE, 0), ("b", o.UNSTABLE, 0)), Verdict.RETRY),
    ("a stream that broke after a 200", failed(("a", o.UNSTABLE, 200), ("b", o.UNSTABLE, 200)), Verdict.RETRY),
]


@pytest.mark.parametrize(("history", "expected"), [row[1:] for row in POISON], ids=[row[0] for row in POISON])
def test_a_poison_request_does_not_walk_through_the_pool(history, expected):
    assert verdict(history, Policy()) is expected


def test_attempts_are_bounded():
    history = [Attempted(name, o.OVERLOADED, 529) for name in "abcd"]
    assert may_retry(history[:3], Policy())
    assert verdict(history, Policy()) is Verdict.EXHAUSTED
