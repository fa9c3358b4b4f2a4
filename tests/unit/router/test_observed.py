"""What an account's state is called."""

from __future__ import annotations

import pytest

from penstock.router.v1 import router_pb2
from penstock_router.messages import Word
from penstock_router.observed import judge, without_countdowns
from penstock_routing import AccountFacts
from penstock_routing import outcomes as o
from penstock_routing.condition import Phase
from penstock_routing.health import Key


def facts(**more):
    return AccountFacts(**{"name": "a", "models": ("m", "n"), **more})


def cooling(cls, phase=Phase.COOLING):
    return Word(phase, cls, 100.0)


WHOLE, M, N, COUNT = Key("a"), Key("a", "m"), Key("a", "n"), Key("a", "", "count_tokens")

ROWS = [
    ("nothing wrong", facts(), {}, "Ready"),
    ("not served", facts(not_served="ProviderNotServed"), {WHOLE: cooling(o.FORBIDDEN)}, "ProviderNotServed"),
    ("no model to serve", facts(models=(), not_served="NoModels"), {}, "NoModels"),
    ("draining", facts(mode="Draining"), {}, "Draining"),
    ("disabled", facts(mode="Disabled"), {}, "Disabled"),
    ("no weight", facts(weight=0), {}, "NoWeight"),
    ("credential", facts(), {WHOLE: cooling(o.CREDENTIAL_INVALID)}, "CredentialInvalid"),
    ("quota", facts(), {WHOLE: cooling(o.QUOTA_EXHAUSTED)}, "QuotaExhausted"),
    ("waits for a trial", facts(), {WHOLE: cooling(o.QUOTA_EXHAUSTED, Phase.HALF_OPEN)}, "QuotaExhausted"),
    ("on the ramp", facts(), {WHOLE: cooling(o.QUOTA_EXHAUSTED, Phase.RETURNING)}, "Ready"),
    ("one model", facts(), {M: cooling(o.THROTTLED)}, "Ready"),
    ("all models", facts(), {M: cooling(o.THROTTLED), N: cooling(o.OVERLOADED)}, "Cooling"),
    ("all models missing", facts(), {M: cooling(o.MODEL_MISSING), N: cooling(o.MODEL_MISSING)}, "ModelMissing"),
    ("one of them on the ramp", facts(), {M: cooling(o.THROTTLED), N: cooling(o.THROTTLED, Phase.RETURNING)}, "Ready"),
    ("count_tokens only", facts(), {COUNT: cooling(o.THROTTLED)}, "Ready"),
    ("a model that it no longer serves", facts(models=("n",)), {M: cooling(o.THROTTLED)}, "Ready"),
]


@pytest.mark.parametrize(("account", "words", "reason"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_reason(account, words, reason):
    assert judge(account, words)[0] == reason


def test_it_says_how_many_models_are_out():
    assert judge(facts(), {M: cooling(o.THROTTLED)})[1] == "1 of 2 models take no requests now"


def test_a_countdown_alone_is_no_news():
    def message(remaining, ready):
        row = router_pb2.AccountObserved(
            name="a", ready=ready, cooldowns=[router_pb2.Cooldown(account="a", remaining_ms=remaining)]
        )
        return without_countdowns(router_pb2.Observed(accounts=[row]))

    assert message(5, True) == message(4, True)
    assert message(5, True) != message(5, False)
