"""Patterns, and the name that an upstream is asked for."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_catalog import names
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


def test_a_slash_means_nothing_without_an_owner():
    assert names.upstream_name(MODEL.model_copy(update={"owned_by": ""}), "Anthropic", "/x") == "/x"
