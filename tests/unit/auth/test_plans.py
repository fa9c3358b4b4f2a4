from __future__ import annotations

from dataclasses import replace

import pytest

from penstock_auth.counters import Limit, Scope, Unit
from penstock_auth.declared_keys import Recorded
from penstock_auth.keys import KeyState
from penstock_auth.plans import EMPTY, difference, price_rows, view
from penstock_auth.translation import multiplier_text
from penstock_catalog.documents import AuthCatalog, DeclaredKey, Model, Plan, PlanLimit, PreviousKey
from penstock_catalog.prices import PriceRow

PLAN = Plan(name="team", limits=(PlanLimit(name="m", unit="TotalTokens", amount=7, window_ms=60_000, scope="Project"),))
KEY = DeclaredKey(name="ci", id="k1", prefix="psk_k1", digest="0a" * 32, project="demo", plan="team")


PREVIOUS = PreviousKey(id="k0", prefix="psk_k0", digest="0b" * 32, expires_at_ms=500)


@pytest.mark.parametrize(
    ("expires_at_ms", "end_ms", "end"),
    [(0, 500, KeyState.DISABLED), (400, 400, KeyState.EXPIRED), (600, 500, KeyState.DISABLED)],
)
def test_what_a_key_was_before_is_the_same_key_until_its_time(expires_at_ms, end_ms, end):
    rotated = KEY.model_copy(update={"previous": PREVIOUS, "expires_at_ms": expires_at_ms, "spend_limit_micro": 9})
    seen = view(AuthCatalog(plans=(PLAN,), api_keys=(rotated,)).sealed(), Recorded(counted_as={"k1": "k0"}))
    now, before = seen.declared[bytes.fromhex("0a" * 32)], seen.declared[bytes.fromhex("0b" * 32)]
    assert (
        replace(
            before,
            id="k1",
            prefix="psk_k1",
            digest=now.digest,
            expires_at_ms=expires_at_ms,
            counted_as="k0",
            state="Active",
        )
        == now
    )
    assert (before.expires_at_ms, now.expires_at_ms) == (end_ms, expires_at_ms)
    assert (before.state_at(end_ms - 1), before.state_at(end_ms)) == (KeyState.ACTIVE, end)
    assert (before.counter, now.counter) == ("k0", "k0/k1")


def test_edges_hear_of_both_texts_of_a_key():
    def of(**changes):
        return view(AuthCatalog(plans=(PLAN,), api_keys=(KEY.model_copy(update=changes),)).sealed())

    plain, rotated, revoked = of(), of(previous=PREVIOUS), of(previous=PREVIOUS, mode="Revoked")
    both = {bytes.fromhex("0a" * 32), bytes.fromhex("0b" * 32)}
    assert set(difference(rotated, revoked).keys) == both
    assert difference(plain, rotated).keys == (bytes.fromhex("0b" * 32),)
    assert difference(rotated, plain).keys == (bytes.fromhex("0b" * 32),)
    assert {key.state for key in revoked.declared.values()} == {"Disabled"}
    assert set(difference(rotated, view(AuthCatalog().sealed())).keys) == both


def test_a_view_is_indexed():
    seen = view(AuthCatalog(plans=(PLAN,), api_keys=(KEY,)).sealed())
    assert seen.plans["team"] is PLAN
    assert seen.limits_of("team") == (Limit("m", Unit.TOTAL_TOKENS, 7, 60_000, Scope.PROJECT),)
    assert seen.limits_of("other") == ()
    assert seen.declared[bytes.fromhex("0a" * 32)].project == "demo"
    assert view(AuthCatalog(api_keys=(KEY,)).sealed(), Recorded(refused=("k1",))).declared == {}


def test_only_what_differs_is_named():
    before = view(AuthCatalog(plans=(PLAN, Plan(name="gone"), Plan(name="same")), api_keys=(KEY,)).sealed())
    changed = KEY.model_copy(update={"mode": "Revoked"})
    fresh = KEY.model_copy(update={"id": "k2", "digest": "0b" * 32})
    after = view(
        AuthCatalog(
            plans=(PLAN.model_copy(update={"max_concurrent_requests": 1}), Plan(name="same")), api_keys=(changed, fresh)
        ).sealed()
    )
    found = difference(before, after)
    assert found.plans == ("team", "gone")
    assert found.keys == (bytes.fromhex("0a" * 32), bytes.fromhex("0b" * 32))
    assert difference(after, after) == difference(EMPTY, EMPTY)


def test_all_price_rows_of_all_models():
    row = PriceRow(effective_at_ms=0, input=1, output=2, cache_write_5m=3, cache_write_1h=4, cache_read=5)
    model = Model(name="m", context_tokens=1, max_output_tokens=1, prices=(row,))
    assert price_rows(AuthCatalog(models=(model, model)).sealed()) == [row, row]


@pytest.mark.parametrize(
    ("ppm", "text"),
    [(1_000_000, "1.00"), (1_500_000, "1.50"), (0, "0.00"), (1_050_001, "1.050001"), (12_345_600, "12.3456")],
)
def test_multipliers_as_people_write_them(ppm, text):
    assert multiplier_text(ppm) == text
