"""What was ignored, told in the client's own words."""

from __future__ import annotations

import json

import pytest

from penstock_edge.client_words import in_client_words
from penstock_edge.dialects import openai_chat, openai_responses
from penstock_edge.dialects.dialect import Birth
from penstock_edge.passage import TranslatedPassage
from penstock_edge.providers.wire import Addressee
from penstock_edge.providers.wires import wire_for

BIRTH = Birth("req_" + "0" * 32, 1_700_000_000)
NAMES = {"messages": "input", "stop_sequences": "stop", "metadata": "user", "output_config.effort": "effort", "a": ""}
TOOL = {"name": "f", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    ("ignored", "told"),
    [
        ("seed", "seed"),
        ("stop_sequences (all but 5)", "stop (all but 5)"),
        ("output_config.effort=high", "effort=high"),
        ("output_config.format", "output_config.format"),
        ("output_config", "output_config"),
        ("metadata.user_id", "user.user_id"),
        ("metadatas", "metadatas"),
        ("messages.3.content.0 (thinking signed by OpenAI)", "input.content (thinking signed by OpenAI)"),
        ("messages.12", "input"),
        ("(odd)", "(odd)"),
        ("", None),
        ("a", None),
        ("a.b=5", None),
    ],
)
def test_a_fields_name(ignored, told):
    assert in_client_words([ignored], NAMES) == ([] if told is None else [told])
    assert in_client_words([ignored], {}) == ([ignored] if ignored else [])


def told(dialect, provider, model, **fields):
    """Return what a client is told after its request has been written for an account."""
    spoken = {"messages": [{"role": "user", "content": "hi"}]} if dialect is openai_chat.DIALECT else {"input": "hi"}
    body = json.dumps({"model": model, **spoken, **fields}).encode()
    conversation = dialect.read(dialect.head(body), body, BIRTH)
    wire = wire_for(provider, dialect.wire, model)
    return TranslatedPassage(
        conversation, wire, Addressee(provider, model, 64_000), streamed=False, counting=False
    ).ignored


CODEX, GEMINI, CLAUDE, OLD = "gpt-5.3-codex", "gemini-2.5-flash", "claude-sonnet-4-6", "claude-3-5-haiku-20241022"


@pytest.mark.parametrize(
    ("provider", "model", "fields", "words"),
    [
        ("OpenAI", CODEX, {"stop": ["x"]}, ["stop"]),
        ("OpenAI", CODEX, {"reasoning_effort": "none"}, ["reasoning_effort=low"]),
        ("Gemini", GEMINI, {"prompt_cache_key": "k"}, ["prompt_cache_key"]),
        ("Gemini", GEMINI, {"user": "u"}, ["user"]),
        ("Gemini", GEMINI, {"metadata": {"user_id": "u"}}, ["metadata.user_id"]),
        ("Gemini", GEMINI, {"functions": [TOOL], "function_call": "auto"}, []),
        (
            "Gemini",
            GEMINI,
            {"tools": [{"type": "function", "function": TOOL}], "parallel_tool_calls": False},
            ["parallel_tool_calls"],
        ),
        ("Anthropic", CLAUDE, {"max_completion_tokens": 100_000}, ["max_completion_tokens=64000"]),
        ("Anthropic", CLAUDE, {"max_tokens": 100_000}, ["max_tokens=64000"]),
        ("Anthropic", CLAUDE, {"reasoning_effort": "xhigh"}, ["reasoning_effort=high"]),
        ("Anthropic", OLD, {"reasoning_effort": "high"}, ["reasoning_effort"]),
        ("Anthropic", OLD, {"thinking": {"type": "adaptive"}}, ["thinking"]),
    ],
)
def test_a_chat_client_hears_its_own_words(provider, model, fields, words):
    assert told(openai_chat.DIALECT, provider, model, **fields) == words


@pytest.mark.parametrize(
    ("provider", "model", "fields", "words"),
    [
        ("Gemini", GEMINI, {"safety_identifier": "s"}, ["safety_identifier"]),
        (
            "Gemini",
            GEMINI,
            {"tools": [{"type": "function", **TOOL}], "parallel_tool_calls": False},
            ["parallel_tool_calls"],
        ),
        ("Anthropic", CLAUDE, {"max_output_tokens": 100_000}, ["max_output_tokens=64000"]),
        ("Anthropic", CLAUDE, {"reasoning": {"effort": "xhigh"}}, ["reasoning.effort=high"]),
        (
            "Anthropic",
            CLAUDE,
            {
                "input": [
                    {"role": "user", "content": "hi"},
                    {"type": "reasoning", "encrypted_content": "A", "summary": []},
                ]
            },
            ["input.content (thinking signed by OpenAI)"],
        ),
    ],
)
def test_a_responses_client_hears_its_own_words(provider, model, fields, words):
    assert told(openai_responses.DIALECT, provider, model, **fields) == words
