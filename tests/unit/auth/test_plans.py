from __future__ import annotations

import pytest

from penstock_auth.counters import Limit, Scope, Unit
from penstock_auth.plans import EMPTY, difference, price_rows, view
from penstock_auth.translation import multiplier_text
from penstock_catalog.documents import AuthCatalog, DeclaredKey, Model, Plan, PlanLimit
from penstock_catalog.prices import PriceRow

PLAN = Plan(name="team", limits=(PlanLimit(name="m", unit="TotalTokens", amount=7, window_ms=60_000, scope="Project"),))
KEY = DeclaredKey(name="ci", id="k1", prefix="psk_k1", digest="0a" * 32, project="demo", plan="team")


def test_a_view_is_indexed():
    seen = view(AuthCatalog(plans=(PLAN,), api_keys=(KEY,)).sealed())
    assert seen.plans["team"] is PLAN
    assert seen.limits_of("team") == (Limit("m", Unit.TOTAL_TOKENS, 7, 60_000, Scope.PROJECT),)
    assert seen.limits_of("other") == ()
    assert seen.declared[bytes.fromhex("0a" * 32)].project == "demo"
    assert view(AuthCatalog(api_keys=(KEY,)).sealed(), refused=["k1"]).declared == {}


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
