"""Patterns, and the name that an upstream is asked for."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_catalog import names
from penstock_catalog.builtin import built_in_models
from penstock_catalog.documents import Model

MODEL = Model(
    name="claude-sonnet-4-5",
    aliases=("claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4.5", "smart"),
    owned_by="anthropic",
    context_tokens=1,
    max_output_tokens=1,
    prices=(),
    upstream_names={"Bedrock": "anthropic.claude-sonnet-4-5-v1"},
)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "anything/at-all", True),
        ("claude-*", "claude-x", True),
        ("claude-*", "Claude-x", False),
        ("claude-*", "my-claude-x", False),
        ("*-4-5", "claude-sonnet-4-5", True),
        ("*-4-5", "claude-sonnet-4-5-20250929", False),
        ("c*t*5", "claude-sonnet-4-5", True),
        ("claude.x", "claude-x", False),
        ("claude-[ab]", "claude-a", False),
        ("claude-?", "claude-a", False),
        ("claude-a", "claude-a", True),
        ("a*a", "a", False),
        ("*ab*ab*", "xabab", True),
        # Tried in every way, these would not be done this year.
        ("*" * 60 + "~", "claude-opus-4-20250514", False),
        ("*a" * 60 + "~", "a" * 200, False),
    ],
)
def test_patterns(pattern, name, expected):
    assert names.matches([pattern], [name]) is expected


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_patterns_agree_with_the_shell(pattern, name):
    assert names.matches([pattern], [name]) is fnmatch.fnmatchcase(name, pattern)


def test_any_pattern_and_any_name_do():
    assert names.matches(["x", "smart"], names.spoken_of(MODEL))
    assert not names.matches([], names.spoken_of(MODEL))
    assert not names.matches(["*"], [])


@pytest.mark.parametrize(
    ("provider", "asked", "expected"),
    [
        ("Anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("Anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929"),
        ("Anthropic", "smart", "smart"),
        ("Anthropic", "anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("OpenAICompatible", "anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
        ("Bedrock", "claude-sonnet-4-5", "anthropic.claude-sonnet-4-5-v1"),
        ("Bedrock", "anthropic/claude-sonnet-4.5", "anthropic.claude-sonnet-4-5-v1"),
    ],
)
def test_the_name_sent_upstream(provider, asked, expected):
    assert names.upstream_name(MODEL, provider, asked) == expected


BUILT_IN = {name: model for model in built_in_models() for name in names.spoken_of(model)}


@pytest.mark.parametrize(
    ("provider", "asked", "expected"),
    [
        ("Anthropic", "anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("Anthropic", "claude-opus-4-20250514", "claude-opus-4-20250514"),
        ("OpenAI", "openai/gpt-4o-mini", "gpt-4o-mini"),
        ("OpenAI", "openai/gpt-4.1-nano", "gpt-4.1-nano"),
        ("OpenAI", "openai/gpt-image-1", "gpt-image-1"),
        ("OpenAI", "openai/gpt-4o-audio-preview", "gpt-4o-audio-preview"),
        ("OpenAI", "openai/text-embedding-3-small", "text-embedding-3-small"),
        ("OpenAI", "gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18"),
        ("OpenAI", "gpt-5.6", "gpt-5.6"),
        ("OpenAI", "openai/gpt-5.6", "gpt-5.6-sol"),
        ("Gemini", "gcp/gemini-2.5-flash-eu", "gemini-2.5-flash"),
        ("Gemini", "gcp/gemini-2.5-flash", "gemini-2.5-flash"),
        ("Gemini", "google/gemini-2.5-pro", "gemini-2.5-pro"),
        ("Gemini", "gemini-flash-latest", "gemini-flash-latest"),
        # To an upstream that only speaks as OpenAI does, the client's word passes.
        ("OpenAICompatible", "openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("OpenAICompatible", "gpt-4o-mini", "gpt-4o-mini"),
        ("OpenAICompatible", "gcp/gemini-2.5-flash-eu", "gcp/gemini-2.5-flash-eu"),
    ],
)
def test_the_names_of_built_in_models_sent_upstream(provider, asked, expected):
    assert names.upstream_name(BUILT_IN[asked], provider, asked) == expected


@pytest.mark.parametrize(("owner", "asked"), [("", "/x"), ("acme", "/x"), ("", "x/y"), ("acme", "gcp/y"), ("", "")])
def test_a_slash_means_nothing_where_no_owner_stands_before_it(owner, asked):
    assert names.upstream_name(MODEL.model_copy(update={"owned_by": owner}), "Anthropic", asked) == asked


def test_upstream_names_win_over_the_clients_word_everywhere():
    model = MODEL.model_copy(update={"upstream_names": {"OpenAICompatible": "qwen3:8b"}})
    assert {names.upstream_name(model, "OpenAICompatible", asked) for asked in names.spoken_of(model)} == {"qwen3:8b"}
