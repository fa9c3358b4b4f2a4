"""What a plan lets a key's requests reach."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock_catalog import names
from penstock_edge.dialects import anthropic, gemini, openai_chat, openai_embeddings, openai_responses
from penstock_edge.providers.wires import wire_for
from penstock_routing import access


def test_a_model_may_be_used_by_any_of_its_names():
    assert access.may_use(("*-latest",), "a", ("a-latest",), "a")
    assert access.may_use(("x/*",), "a", (), "x/a")
    assert not access.may_use(("b",), "a", ("a-latest",), "a")
    assert not access.may_use((), "a", (), "a")


NAMES = st.text("ab*?[]!-\n.", max_size=8)


@given(NAMES, NAMES)
@example("gpt-?", "gpt-5")
@example("gpt-?", "gpt-?")
@example("gpt-[45]*", "gpt-5")
@example("gpt-[45]*", "gpt-[45]-mini")
@example("[!a]", "b")
def test_a_plans_patterns_mean_what_an_accounts_do(pattern, name):
    assert access.allows([pattern], name) is names.matches([pattern], [name])


def test_the_dialects_are_those_of_the_edge():
    dialects = (anthropic, gemini, openai_chat, openai_embeddings, openai_responses)
    assert {each.DIALECT.name: each.DIALECT.wire for each in dialects} == access.WIRES


@pytest.mark.parametrize("provider", access.PROVIDERS)
@pytest.mark.parametrize("spoken", access.WIRES.values())
@pytest.mark.parametrize("model", ["gpt-5", "gpt-5-codex", "claude-sonnet-4-6"])
def test_every_wire_that_is_named_is_there(provider, spoken, model):
    assert wire_for(provider, spoken, model).name == access.wire_name(provider, spoken, model)


@pytest.mark.parametrize(
    ("spoken", "model", "counting", "translation", "providers"),
    [
        ("messages", "claude-x", False, True, None),
        ("messages", "claude-x", True, True, {"Anthropic", "OpenAI", "Gemini"}),
        ("messages", "claude-x", False, False, {"Anthropic"}),
        ("chat", "gpt-5", False, False, {"OpenAI", "OpenAICompatible"}),
        ("chat", "gpt-5-codex", False, False, {"OpenAICompatible"}),
        ("responses", "gpt-5", False, False, {"OpenAI"}),
        ("generate", "gemini-x", False, False, {"Gemini"}),
        ("generate", "gemini-x", True, False, {"Gemini"}),
        ("embeddings", "embed", False, False, {"OpenAI", "OpenAICompatible"}),
    ],
)
def test_who_may_take_what(spoken, model, counting, translation, providers):
    assert access.providers_for(spoken, model, counting=counting, translation=translation) == (
        None if providers is None else frozenset(providers)
    )


@pytest.mark.parametrize(
    ("model", "owner", "claude"), [("claude-x", "x", True), ("x", "anthropic", True), ("gpt-5", "openai", False)]
)
def test_what_is_claude(model, owner, claude):
    assert access.is_claude(model, owner) is claude
