"""The built-in models: what the price list says, and that names are nobody else's."""

import re
from collections import Counter
from datetime import UTC, datetime

import pytest

from penstock_catalog import compiler, names
from penstock_catalog.builtin import OWNERS, built_in_models
from penstock_catalog.prices import in_force
from penstock_catalog.resources import UpstreamAccountSpec

MODELS = {name: model for model in built_in_models() for name in names.spoken_of(model)}
NOW_MS = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp() * 1000)

# USD per million tokens: input, output, cache write 5 m, cache write 1 h, cache read.
OPUS = (5, 25, 6.25, 10, 0.5)
OLD_OPUS = (15, 75, 18.75, 30, 1.5)
SONNET = (3, 15, 3.75, 6, 0.3)
HAIKU = (1, 5, 1.25, 2, 0.1)


@pytest.mark.parametrize(
    ("name", "prices"),
    [
        *[
            (name, OPUS)
            for name in ("claude-opus-4-6", "claude-opus-4-5", "claude-opus-4-5-20251101", "claude-opus-4-7")
        ],
        *[(name, OPUS) for name in ("claude-opus-4-8", "claude-opus-5", "anthropic/claude-opus-4.5")],
        *[(name, OLD_OPUS) for name in ("claude-opus-4-1", "claude-opus-4-0", "claude-opus-4-20250514")],
        *[(name, SONNET) for name in ("claude-sonnet-4-6", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929")],
        *[(name, SONNET) for name in ("claude-sonnet-4-0", "claude-sonnet-4-20250514", "anthropic/claude-sonnet-4.5")],
        *[(name, HAIKU) for name in ("claude-haiku-4-5", "claude-haiku-4-5-20251001")],
        ("claude-3-5-haiku-20241022", (0.8, 4, 1, 1.6, 0.08)),
        ("claude-sonnet-5", (2, 10, 2.5, 4, 0.2)),
        ("claude-sonnet-5-5", (2, 10, 2.5, 4, 0.1)),
        ("claude-opus-5-5", (4, 20, 5, 8, 0.2)),
        ("claude-haiku-5-5", (0.1, 0.5, 0.125, 0.2, 0.01)),
    ],
)
def test_prices(name, prices):
    (row,) = MODELS[name].prices
    assert MODELS[name].owned_by == "anthropic"
    found = (row.input, row.output, row.cache_write_5m, row.cache_write_1h, row.cache_read)
    assert found == tuple(round(price * 1_000_000) for price in prices)
    assert row.long_context_above == 0
    assert 0 < row.effective_at_ms < NOW_MS


# USD per million tokens: input, output, cache read; writing costs what input costs.
CODEX = (1.25, 10, 0.125)
CODEX_52 = (1.75, 14, 0.175)
CODEX_MINI = (0.25, 2, 0.025)


@pytest.mark.parametrize(
    ("name", "prices"),
    [
        *[(name, CODEX) for name in ("gpt-5-codex", "gpt-5.1-codex", "gpt-5.1-codex-max", "gpt-5", "gpt-5.1")],
        *[(name, CODEX_52) for name in ("gpt-5.2-codex", "gpt-5.3-codex", "gpt-5.2")],
        *[(name, CODEX_MINI) for name in ("gpt-5-codex-mini", "gpt-5.1-codex-mini", "gpt-5-mini")],
        ("gpt-5-nano", (0.05, 0.4, 0.005)),
        ("openai/gpt-4.1-nano", (0.1, 0.4, 0.025)),
        ("gpt-4.1-mini", (0.4, 1.6, 0.1)),
        ("gpt-4.1", (2, 8, 0.5)),
        ("gpt-4o", (2.5, 10, 1.25)),
        ("openai/gpt-4o-mini", (0.15, 0.6, 0.075)),
        ("o3", (2, 8, 0.5)),
        ("o4-mini", (1.1, 4.4, 0.275)),
        ("openai/gpt-4o-audio-preview", (40, 80, 40)),
        ("openai/gpt-image-1", (10, 40, 2.5)),
        ("openai/text-embedding-3-small", (0.02, 0, 0.02)),
        ("text-embedding-3-large", (0.13, 0, 0.13)),
        ("gpt-5.4-mini", (0.75, 4.5, 0.075)),
        ("gemini-2.5-flash", (0.3, 2.5, 0.03)),
        ("gcp/gemini-2.5-flash-eu", (0.3, 2.5, 0.03)),
        ("gemini-2.5-flash-lite", (0.1, 0.4, 0.01)),
        ("gemini-3-flash-preview", (0.5, 3, 0.05)),
        ("gemini-embedding-001", (0.15, 0, 0.15)),
    ],
)
def test_prices_where_writing_to_the_cache_costs_nothing_extra(name, prices):
    (row,) = MODELS[name].prices
    charged, output, read = (round(price * 1_000_000) for price in prices)
    assert (row.input, row.output, row.cache_write_5m, row.cache_write_1h, row.cache_read) == (
        charged, output, charged, charged, read
    )  # fmt: skip
    assert row.long_context_above == 0


@pytest.mark.parametrize(
    ("name", "above", "prices"),
    [
        # Input, output, cache write 5 m, cache write 1 h, cache read: below, then above.
        ("gemini-2.5-pro", 200_000, [(1.25, 10, 1.25, 1.25, 0.125), (2.5, 15, 2.5, 2.5, 0.25)]),
        ("gemini-3.1-pro-preview", 200_000, [(2, 12, 2, 2, 0.2), (4, 18, 4, 4, 0.4)]),
        ("gpt-5.4", 272_000, [(2.5, 15, 2.5, 2.5, 0.25), (5, 22.5, 5, 5, 0.5)]),
        ("gpt-5.6", 272_000, [(4, 20, 5, 10, 0.4), (8, 30, 10, 20, 0.8)]),
        ("gpt-6.1-sol", 272_000, [(2, 10, 2.5, 5, 0.1), (4, 15, 5, 10, 0.2)]),
    ],
)
def test_prices_with_a_long_context_tier(name, above, prices):
    (row,) = MODELS[name].prices
    assert row.long_context_above == above
    kinds = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
    found = [[getattr(row, tier + kind) for kind in kinds] for tier in ("", "long_context_")]
    assert found == [[round(price * 1_000_000) for price in tier] for tier in prices]


@pytest.mark.parametrize(("day", "price"), [("2026-11-30", 2), ("2026-12-01", 4)])
def test_a_price_that_ends_on_a_day(day, price):
    row = in_force(MODELS["gemini-4-argon"].prices, at(day))
    assert row is not None
    assert (row.input, row.output) == (price * 1_000_000, price * 5_000_000)


def at(day):
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("name", "context", "output", "retires"),
    [
        ("claude-opus-4-20250514", 200_000, 32_000, "2026-06-15"),
        ("claude-sonnet-4-20250514", 200_000, 64_000, "2026-06-15"),
        ("claude-3-5-haiku-20241022", 200_000, 8_192, "2026-02-19"),
        ("claude-opus-4-1", 200_000, 32_000, "2026-08-05"),
        ("claude-sonnet-4-5", 200_000, 64_000, "2026-11-30"),
        ("claude-haiku-4-5", 200_000, 64_000, None),
        ("claude-opus-4-8", 1_000_000, 128_000, None),
        *[
            (name, 400_000, 128_000, "2026-07-23")
            for name in ("gpt-5-codex", "gpt-5.1-codex", "gpt-5.1-codex-max", "gpt-5.2-codex")
        ],
        *[(name, 400_000, 128_000, "2026-07-23") for name in ("gpt-5-codex-mini", "gpt-5.1-codex-mini")],
        ("gpt-5.3-codex", 400_000, 128_000, "2027-04-01"),
        ("gpt-4.1-nano", 1_047_576, 32_768, "2026-10-23"),
        ("gpt-6-sol", 1_050_000, 128_000, None),
        *[
            (name, 1_048_576, 65_536, "2026-10-20")
            for name in ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite")
        ],
        ("gemini-3.8-flash", 1_048_576, 65_536, None),
        ("gemini-embedding-001", 2_048, 1, "2028-05-14"),
    ],
)
def test_limits_and_dates(name, context, output, retires):
    model = MODELS[name]
    assert (model.context_tokens, model.max_output_tokens) == (context, output)
    day = datetime.fromtimestamp(model.retires_at_ms / 1000, UTC).date().isoformat() if model.retires_at_ms else None
    assert day == retires


# What the services that Penstock stands in for list, retired or not: every one of these must resolve.
LISTED = {
    "claude-opus-4-20250514": "A", "claude-sonnet-4-20250514": "A", "claude-3-5-haiku-20241022": "A",
    "claude-sonnet-4-6": "B", "claude-sonnet-4-5": "C",
    "openai/gpt-4.1-nano": "D", "openai/gpt-4o-mini": "D", "openai/gpt-image-1": "D", "openai/gpt-4o-audio-preview": "D",
    "openai/text-embedding-3-small": "D", "anthropic/claude-sonnet-4.5": "D", "gcp/gemini-2.5-flash-eu": "D",
    "gpt-5-codex": "E", "gpt-5.1-codex": "E", "gpt-5.2-codex": "E", "gpt-5.3-codex": "E", "gpt-5-codex-mini": "E",
    "gpt-5.1-codex-mini": "E", "claude-opus-4-6": "E", "claude-haiku-4-5-20251001": "E",
    "claude-sonnet-4-5-20250929": "E", "claude-opus-4-5-20251101": "E", "claude-opus-4-5": "E", "claude-opus-4-1": "E",
    "claude-sonnet-4-0": "E", "claude-opus-4-0": "E", "claude-haiku-4-5": "E",
}  # fmt: skip
SERVED_BY = {"claude": "Anthropic", "gpt": "OpenAI", "text": "OpenAI", "gemini": "Gemini"}


@pytest.mark.parametrize("name", LISTED)
def test_every_name_that_the_stood_in_services_list_is_served(name):
    provider = SERVED_BY[name.rpartition("/")[2].partition("-")[0]]
    spec = UpstreamAccountSpec.model_validate(
        {"provider": provider, "auth": {"apiKey": {"secretRef": {"name": "s", "key": "k"}}}}
    )
    assert compiler.serves(spec, MODELS[name])


def test_every_name_belongs_to_one_model():
    counts = Counter(name for model in built_in_models() for name in names.spoken_of(model))
    assert counts.most_common(1)[0][1] == 1


OWNED = {
    "anthropic": ("Anthropic", r"Claude .+", r"claude-[a-z0-9-]+"),
    "openai": ("OpenAI", r"(GPT|Text Embedding|o\d).*", r"(gpt|o\d|text-embedding)[a-z0-9.-]*"),
    "google": ("Gemini", r"Gemini .+", r"gemini-[a-z0-9.-]+"),
}


@pytest.mark.parametrize("model", built_in_models(), ids=lambda model: model.name)
def test_every_model_is_complete(model):
    provider, display_name, public_name = OWNED[model.owned_by]
    assert re.fullmatch(display_name, model.display_name)
    assert 0 < model.created_at_ms < NOW_MS
    assert model.retires_at_ms == 0 or model.retires_at_ms > model.created_at_ms
    assert model.prices[0].effective_at_ms == model.created_at_ms
    assert model.fallbacks == ()
    assert model.max_output_tokens <= model.context_tokens
    assert any(alias.startswith(f"{model.owned_by}/") for alias in model.aliases)
    # What the owner is asked for is a name of its own, whichever way the client said it.
    for name in names.spoken_of(model):
        assert re.fullmatch(public_name, names.upstream_name(model, provider, name))


@pytest.mark.parametrize("model", built_in_models(), ids=lambda model: model.name)
def test_no_price_is_absurd(model):
    for row in model.prices:
        assert row.cache_read <= row.input <= row.cache_write_5m <= row.cache_write_1h
        assert row.input <= row.output or row.output == 0
        if row.long_context_above:
            assert row.long_context_input > row.input
            assert row.long_context_output > row.output
            assert row.long_context_above < model.context_tokens


def test_each_file_holds_its_owners_models_oldest_first():
    owners = [model.owned_by for model in built_in_models()]
    assert tuple(dict.fromkeys(owners)) == OWNERS
    assert owners == sorted(owners, key=OWNERS.index)
    for owner in OWNERS:
        created = [model.created_at_ms for model in built_in_models() if model.owned_by == owner]
        assert created == sorted(created)


def test_they_are_loaded_once():
    assert built_in_models() is built_in_models()
