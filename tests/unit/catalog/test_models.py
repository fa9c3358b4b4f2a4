"""`Model` resources laid over built-in models."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_catalog import models
from penstock_catalog.documents import Model
from penstock_catalog.prices import PriceRow, in_force
from penstock_catalog.resources import ModelSpec


def price(day: int, usd: str, **more):
    return {
        "effectiveTime": f"2026-01-{day:02}T00:00:00Z", "inputPerMillionTokens": usd, "outputPerMillionTokens": usd, **more
    }  # fmt: skip


def spec(**fields):
    return ModelSpec.model_validate(fields)


BUILT_IN = models.added(
    "m",
    spec(contextTokens=10, maxOutputTokens=5, ownedBy="acme", aliases=["x"], prices=[price(10, "1"), price(20, "2")]),
    7,
).model_copy(update={"retires_at_ms": 9})


def test_an_empty_spec_changes_nothing():
    assert models.overridden(BUILT_IN, spec()) == BUILT_IN


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"contextTokens": 20}, {"context_tokens": 20}),
        ({"maxOutputTokens": 6}, {"max_output_tokens": 6}),
        ({"ownedBy": "other"}, {"owned_by": "other"}),
        ({"aliases": []}, {"aliases": ()}),
        ({"aliases": ["y", "m"]}, {"aliases": ("y",)}),
        ({"fallbacks": ["z"]}, {"fallbacks": ("z",)}),
        ({"upstreamNames": [{"provider": "Vertex", "name": "m@1"}]}, {"upstream_names": {"Vertex": "m@1"}}),
    ],
)
def test_each_field_alone(fields, changed):
    assert models.overridden(BUILT_IN, spec(**fields)) == BUILT_IN.model_copy(update=changed)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([5], [(5, 3)]),
        ([10], [(10, 3)]),
        ([15], [(10, 1), (15, 3)]),
        ([30], [(10, 1), (20, 2), (30, 3)]),
        ([30, 12], [(10, 1), (12, 3), (30, 3)]),
    ],
)
def test_prices_hold_from_their_first_time_on(days, expected):
    rows = models.overridden(BUILT_IN, spec(prices=[price(day, "3") for day in days])).prices
    assert [(row.effective_at_ms, row.input) for row in rows] == [(at(day), usd * 1_000_000) for day, usd in expected]


def at(day: int) -> int:
    return models.price_rows([spec(prices=[price(day, "1")]).prices[0]])[0].effective_at_ms


@given(st.sets(st.integers(1, 28), min_size=1), st.integers(1, 31))
def test_a_price_is_in_force_by_the_newest_time_that_has_come(days, now):
    rows = models.price_rows(spec(prices=[price(day, str(day)) for day in days]).prices)
    assert list(rows) == sorted(rows, key=lambda row: row.effective_at_ms)
    found = in_force(rows, at(now))
    past = [day for day in days if day <= now]
    assert (found.input if found else None) == (max(past) * 1_000_000 if past else None)


def test_a_cache_price_that_is_not_given_is_the_input_price():
    (row,) = models.price_rows(spec(prices=[price(1, "2.5", cacheReadPerMillionTokens="0.25")]).prices)
    assert row == PriceRow(
        effective_at_ms=at(1), input=2_500_000, output=2_500_000, cache_write_5m=2_500_000, cache_write_1h=2_500_000, cache_read=250_000
    )  # fmt: skip


@pytest.mark.parametrize(
    ("below", "above", "read", "expected"),
    [("3", "6", "0.3", 600_000), ("3", "4", "0.1", 133_333), ("3", "5", "0.1", 166_667), ("2", "3", "0.000001", 2), ("0", "6", "0.3", 6_000_000)],
)  # fmt: skip
def test_cache_prices_rise_with_the_input_price_above_the_tier(below, above, read, expected):
    tier = {"aboveInputTokens": 200, "inputPerMillionTokens": above, "outputPerMillionTokens": "9"}
    written = price(1, below, cacheReadPerMillionTokens=read, longContext=tier)
    (row,) = models.price_rows(spec(prices=[written]).prices)
    assert (row.long_context_above, row.long_context_output) == (200, 9_000_000)
    assert row.long_context_input == int(above) * 1_000_000
    assert row.long_context_cache_read == expected


def test_what_a_new_model_cannot_do_without():
    assert models.missing(spec()) == ["contextTokens", "maxOutputTokens", "prices"]
    assert models.missing(spec(contextTokens=1, prices=[price(1, "0")])) == ["maxOutputTokens"]


def test_a_new_model():
    full = spec(contextTokens=10, maxOutputTokens=5, prices=[price(10, "1")], aliases=["new", "n"])
    model = models.added("new", full, 0)
    assert isinstance(model, Model)
    assert (model.name, model.display_name, model.aliases, model.owned_by) == ("new", "new", ("n",), "")
    assert model.created_at_ms == model.prices[0].effective_at_ms
    assert models.added("new", full, 5).created_at_ms == 5
