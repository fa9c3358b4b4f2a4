"""The built-in models: what the price list says, and that names are nobody else's."""

import re
from collections import Counter
from datetime import UTC, datetime

import pytest

from penstock_catalog import names
from penstock_catalog.builtin import built_in_models

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
    found = (row.input, row.output, row.cache_write_5m, row.cache_write_1h, row.cache_read)
    assert found == tuple(round(price * 1_000_000) for price in prices)
    assert row.long_context_above == 0
    assert 0 < row.effective_at_ms < NOW_MS


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
    ],
)
def test_limits_and_dates(name, context, output, retires):
    model = MODELS[name]
    assert (model.context_tokens, model.max_output_tokens) == (context, output)
    day = datetime.fromtimestamp(model.retires_at_ms / 1000, UTC).date().isoformat() if model.retires_at_ms else None
    assert day == retires


def test_every_name_belongs_to_one_model():
    counts = Counter(name for model in built_in_models() for name in names.spoken_of(model))
    assert counts.most_common(1)[0][1] == 1


@pytest.mark.parametrize("model", built_in_models(), ids=lambda model: model.name)
def test_every_model_is_complete(model):
    assert model.owned_by == "anthropic"
    assert model.display_name.startswith("Claude ")
    assert 0 < model.created_at_ms < NOW_MS
    assert model.retires_at_ms == 0 or model.retires_at_ms > model.created_at_ms
    assert model.fallbacks == ()
    assert any(alias.startswith("anthropic/claude-") for alias in model.aliases)
    # What Anthropic is asked for is a name of its own, whichever way the client said it.
    for name in names.spoken_of(model):
        assert re.fullmatch(r"claude-[a-z0-9-]+", names.upstream_name(model, "Anthropic", name))


def test_they_are_loaded_once():
    assert built_in_models() is built_in_models()
