"""Responses requests, field by field, in canonical form."""

from __future__ import annotations

import pytest

from penstock_edge.errors import ProblemError
from tests.unit.edge.dialects.openai_responses.conversations import FUNCTION, USER, request

HI = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
FILE = {"type": "input_file", "file_url": "https://x.example/a.pdf"}
MARKED = {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}
CITED = {"type": "output_text", "text": "b", "annotations": [{"type": "url_citation"}], "logprobs": [{}]}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("fields", "canonical"),
    [
        ({}, {}),
        ({"max_output_tokens": 7, "temperature": 1.7, "top_p": 0}, {"max_tokens": 7, "temperature": 1.7, "top_p": 0}),
        ({"instructions": "be brief"}, {"system": [{"type": "text", "text": "be brief"}]}),
        ({"instructions": "", "temperature": None, "reasoning": None, "text": None, "tools": None}, {}),
        ({"reasoning": {"effort": "minimal"}}, {"output_config": {"effort": "low"}, "thinking": {"type": "adaptive"}}),
        ({"reasoning": {"effort": "xhigh"}}, {"output_config": {"effort": "xhigh"}, "thinking": {"type": "adaptive"}}),
        ({"reasoning": {"effort": "none", "summary": "auto"}}, {"thinking": {"type": "disabled"}}),
        ({"reasoning": {"summary": "auto"}}, {"thinking": {"type": "adaptive"}}),
        ({"reasoning": {"effort": None, "summary": None}}, {}),
        ({"text": {"format": {"type": "text"}}}, {}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}},
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        ),
        (
            {
                "reasoning": {"effort": "low"},
                "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
            },
            {
                "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
                "thinking": {"type": "adaptive"},
            },
        ),
        ({"user": "u-1"}, {"metadata": {"user_id": "u-1"}}),
        ({"prompt_cache_key": "+49 170 1234567"}, {"metadata": {"user_id": "+49 170 1234567"}}),
        ({"parallel_tool_calls": True, "tool_choice": "auto", "store": False, "background": False}, {}),
        ({"include": ["reasoning.encrypted_content"], "top_logprobs": 0, "truncation": "disabled"}, {}),
    ],
)
def test_fields_carried_whole(fields, canonical):
    read = request(**fields)
    assert read.body == {"messages": HI} | canonical
    assert read.ignored == []


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"client_metadata": {"a": "b"}, "future": 1}, ["client_metadata", "future"]),
        ({"store": True, "truncation": "auto", "service_tier": "flex"}, ["store", "truncation", "service_tier"]),
        ({"text": {"verbosity": "low", "format": None}}, ["text.verbosity"]),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "description": "d", "schema": SCHEMA}}},
            ["text.format.description"],
        ),
        ({"tools": [FUNCTION | {"defer_loading": True, "allowed_callers": None}]}, ["tools.defer_loading"]),
        ({"tools": [FUNCTION | {"allowed_callers": ["direct"]}]}, []),
        ({"tools": [{"type": "apply_patch", "allowed_callers": ["programmatic"]}]}, ["tools.allowed_callers"]),
        (
            {"tools": [{"type": "shell", "environment": {"type": "local", "skills": [{"name": "s"}]}}] * 2},
            ["tools.environment.skills"],
        ),
        (
            {"input": [{"role": "user", "content": [MARKED]}, {"role": "assistant", "content": [CITED, CITED]}]},
            ["prompt_cache_breakpoint.ttl", "output_text.annotations"],
        ),
        (
            {"input": [{"role": "user", "content": [FILE | {"detail": "high"}, FILE | {"future": 1, "null": None}]}]},
            ["input_file.detail", "input_file.future"],
        ),
        ({"input": [{"role": "user", "content": [FILE | {"detail": "auto"}]}]}, []),
        ({"prompt_cache_options": {"mode": "implicit"}, "prompt_cache_retention": "24h"}, ["prompt_cache_retention"]),
        ({"reasoning": {"context": "all_turns", "effort": "ultra"}}, ["reasoning.context", "reasoning.effort"]),
        ({"include": ["web_search_call.results"]}, ["include"]),
        ({"stream_options": {"include_obfuscation": True}}, ["stream_options"]),
        ({"user": "a@example.com"}, ["user"]),
        ({"user": "+49 170 1234567"}, ["user"]),
        ({"user": "u", "prompt_cache_key": "k"}, ["user"]),
        ({"metadata": {"user_id": "m", "order": "5"}}, ["metadata"]),
        ({"max_tool_calls": 3, "prompt_cache_retention": None}, ["max_tool_calls"]),
    ],
)
def test_fields_that_are_listed(fields, ignored):
    assert request(**fields).ignored == ignored


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id: this field cannot be carried to this model"),
        ({"conversation": "conv_1"}, "conversation: this field cannot be carried to this model"),
        ({"background": True}, "background: answers are not made in the background here"),
        ({"prompt": {"id": "p"}}, "prompt: this field cannot be carried to this model"),
        ({"top_logprobs": 3}, "top_logprobs: this field cannot be carried to this model"),
        ({"include": ["message.output_text.logprobs"]}, "include: log probabilities cannot be carried to this model"),
        ({"include": "all"}, "include: Input should be a valid list"),
        ({"input": None}, "input: field required"),
        ({"input": []}, "input: at least one message is required"),
        ({"input": [], "instructions": "i"}, "input: at least one message is required"),
        ({"max_output_tokens": 0}, "max_output_tokens: Input should be greater than 0"),
        ({"temperature": "1"}, "temperature: Input should be a valid number"),
        ({"temperature": True}, "temperature: Input should be a valid number"),
        ({"top_p": -1}, "top_p: Input should be greater than or equal to 0"),
        ({"instructions": ["x"]}, "instructions: Input should be a valid string"),
        ({"reasoning": "high"}, "reasoning: Input should be a valid dictionary"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type: a format of the type xml cannot be carried"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema: field required"),
        ({"tools": {}}, "tools: Input should be a valid list"),
    ],
)
def test_fields_that_are_refused(fields, message):
    with pytest.raises(ProblemError) as error:
        request(**fields)
    assert error.value.problem.message.startswith(message)
    assert error.value.problem.status == 400


def test_what_goes_beyond_the_form():
    read = request(text={"format": {"type": "json_schema", "name": "person", "schema": SCHEMA}})
    assert (read.extras.schema_name, read.extras.json_object) == ("person", False)
    assert request(text={"format": {"type": "json_object"}}).extras.json_object is True


def test_no_parallel_calls():
    read = request(tools=[FUNCTION], parallel_tool_calls=False)
    assert read.body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert "tool_choice" not in request(parallel_tool_calls=False).body


def test_a_developers_message_may_stand_alone():
    words = {"role": "developer", "content": "do it"}
    assert request(input=[words]).body == {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "do it"}]}]
    }
    both = request(input=[words], instructions="i").body
    assert both["messages"][0]["content"][0]["text"] == "do it"
    assert [block["text"] for block in both["system"]] == ["i"]


def test_a_list_is_read_as_a_text_is():
    assert request(input=[USER]).body == request().body


@pytest.mark.parametrize(
    ("fields", "cached"),
    [
        ({"user": "u"}, False),
        ({"prompt_cache_key": None}, False),
        ({"prompt_cache_key": "k"}, True),
        ({"prompt_cache_key": "k", "prompt_cache_options": {"mode": "implicit"}}, True),
        ({"prompt_cache_key": "k", "prompt_cache_options": {"mode": "explicit"}}, False),
    ],
)
def test_who_names_a_conversation_wants_its_beginning_cached(fields, cached):
    assert request(**fields).extras.cached is cached
