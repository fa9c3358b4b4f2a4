"""The table of classes is the documented one, and it is data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock_routing import Policy, Scope
from penstock_routing import outcomes as o
from penstock_routing.policy import EFFECTS

TABLE = [
    # class, scope, first, max, doubling, throttle, retry
    (o.THROTTLED, Scope.MODEL, None, None, False, True, True),
    (o.THROTTLED_NO_HINT, Scope.MODEL, 5, 300, True, True, True),
    (o.OVERLOADED, Scope.MODEL, 10, 600, True, False, True),
    (o.UNSTABLE, Scope.MODEL, 15, 600, True, False, True),
    (o.CREDENTIAL_INVALID, Scope.ACCOUNT, 15, 300, True, False, True),
    (o.FORBIDDEN, Scope.MODEL, 15, 300, True, False, True),
    (o.QUOTA_EXHAUSTED, Scope.ACCOUNT, 60, 3600, True, False, True),
    (o.MODEL_MISSING, Scope.MODEL, 600, 600, False, False, True),
    (o.CLIENT_FAULT, Scope.NONE, None, None, None, False, False),
    (o.CLIENT_LEFT, Scope.NONE, None, None, None, False, False),
    (o.OK, Scope.NONE, None, None, None, False, False),
]


@pytest.mark.parametrize(("cls", "scope", "first", "most", "doubling", "throttle", "retry"), TABLE)
def test_table(cls, scope, first, most, doubling, throttle, retry):
    effect = Policy().effect(cls)
    assert effect.scope is scope
    assert effect.throttle is throttle
    assert effect.retry is retry
    if first is not None:
        assert (effect.first_seconds, effect.max_seconds) == (first, most)
    if doubling is not None:
        assert effect.doubling is doubling


def test_every_class_has_an_effect():
    assert set(o.CLASSES) == set(EFFECTS)


def test_unknown_class_does_what_unstable_does():
    assert Policy().effect("Martian") is Policy().effect(o.UNSTABLE)


def test_an_effect_can_be_set_without_touching_the_defaults():
    milder = Policy().with_effect(o.OVERLOADED, replace(EFFECTS[o.OVERLOADED], first_seconds=1))
    assert milder.effect(o.OVERLOADED).first_seconds == 1
    assert Policy().effect(o.OVERLOADED).first_seconds == 10
