"""Chat requests, read into the canonical form."""

from __future__ import annotations

import base64
import copy
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.canonical import Extras
from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.openai_chat import DIALECT
from penstock_edge.errors import ProblemError
from tests.growth import LINEAR, growth

BIRTH = Birth("req_" + "0" * 32, 1_700_000_000)
HI = {"role": "user", "content": "hi"}
T = {"type": "text", "text": "hi"}
PNG = "data:image/png;base64,AAAA"


def read(messages=None, **fields):
    body = json.dumps({"model": "m", "messages": [HI] if messages is None else messages, **fields}).encode()
    return DIALECT.read(DIALECT.head(body), body, BIRTH).request


def call(name="f", arguments="{}", key="c1", **more):
    return {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def assistant(*calls, content=None):
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(content="r", key="c1"):
    return {"role": "tool", "tool_call_id": key, "content": content}


def use(name="f", given=None, key="c1"):
    return {"type": "tool_use", "id": key, "name": name, "input": given or {}}


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([HI], [("user", [T])]),
        ([HI, HI], [("user", [T, T])]),
        ([HI, {"role": "user", "content": ""}, HI], [("user", [T, T])]),
        ([{"role": "user", "content": [T, {"type": "text", "text": ""}, T]}], [("user", [T, T])]),
        (
            [HI, {"role": "assistant", "content": ""}, HI],
            [("user", [T, T])],
        ),
        (
            [
                HI,
                {"role": "assistant", "content": "a"},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            ],
            [("user", [T]), ("assistant", [{"type": "text", "text": "a"}, {"type": "text", "text": "no"}])],
        ),
        (
            [HI, {"role": "assistant", "content": None, "refusal": "no", "audio": None, "annotations": []}],
            [("user", [T]), ("assistant", [{"type": "text", "text": "no"}])],
        ),
        (
            [
                HI,
                assistant(call(arguments=""), call("g", ' {"a": 1} ', "c2"), content=""),
                result(),
                result([T], "c2"),
                HI,
            ],
            [
                ("user", [T]),
                ("assistant", [use(), use("g", {"a": 1}, "c2")]),
                (
                    "user",
                    [
                        {"type": "tool_result", "tool_use_id": "c1", "content": "r"},
                        {"type": "tool_result", "tool_use_id": "c2", "content": [T]},
                        T,
                    ],
                ),
            ],
        ),
        (
            [HI, assistant(call(arguments=r'{"a": "\ud83d"}'))],
            [("user", [T]), ("assistant", [use(given={"a": "\ufffd"})])],
        ),
        ([HI, assistant(call(arguments=" null"))], [("user", [T]), ("assistant", [use()])]),
        (
            [HI, assistant(call()), HI, result("")],
            [
                ("user", [T]),
                ("assistant", [use()]),
                ("user", [{"type": "tool_result", "tool_use_id": "c1"}, T]),
            ],
        ),
        (
            [
                HI,
                {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": "r"},
            ],
            [
                ("user", [T]),
                ("assistant", [use(key="call_1_0")]),
                ("user", [{"type": "tool_result", "tool_use_id": "call_1_0", "content": "r"}]),
            ],
        ),
        (
            [HI, assistant(call(extra_content={"google": {"thought_signature": "sig"}}))],
            [("user", [T]), ("assistant", [{"type": "thinking", "thinking": "", "signature": "sig"}, use()])],
        ),
        (
            [HI, assistant({"id": "c1", "type": "custom", "custom": {"name": "f", "input": "text"}})],
            [("user", [T]), ("assistant", [use(given={"input": "text"})])],
        ),
        ([{"role": "system", "content": "hi"}], [("user", [T])]),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": PNG, "detail": "auto"}},
                        {"type": "image_url", "image_url": "https://x.example/a.png"},
                        {"type": "image_url", "image_url": {"url": "http://x.example/a.PDF?b=c"}},
                        {"type": "image_url", "image_url": {"url": "DATA:image/jpg;charset=x;base64,BBBB"}},
                        {
                            "type": "file",
                            "file": {"file_data": "data:application/pdf;base64,CCCC", "filename": "a.pdf"},
                        },
                        {"type": "file", "file": {"file_data": "CCCC", "filename": "a.pdf"}},
                        {
                            "type": "file",
                            "file": {"file_data": "data:text/plain;base64," + base64.b64encode("é".encode()).decode()},
                        },
                    ],
                }
            ],
            [
                (
                    "user",
                    [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                        {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
                        {"type": "document", "source": {"type": "url", "url": "http://x.example/a.PDF?b=c"}},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "BBBB"}},
                        {
                            "type": "document",
                            "title": "a.pdf",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": "CCCC"},
                        },
                        {
                            "type": "document",
                            "title": "a.pdf",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": "CCCC"},
                        },
                        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
                    ],
                )
            ],
        ),
        (
            [
                {"role": "user", "content": [{**T, "cache_control": {"type": "ephemeral"}}]},
                {"role": "user", "content": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                {
                    "role": "user",
                    "content": [{**T, "prompt_cache_breakpoint": {"mode": "explicit"}}, {**T, "cache_control": None}],
                },
            ],
            [
                (
                    "user",
                    [
                        {**T, "cache_control": {"type": "ephemeral"}},
                        {**T, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                        {**T, "cache_control": {"type": "ephemeral"}},
                        T,
                    ],
                )
            ],
        ),
    ],
)
def test_messages(messages, turns):
    request = read(messages)
    assert [(turn["role"], turn["content"]) for turn in request.body["messages"]] == turns
    assert request.ignored == []


def test_system_texts_stand_apart_in_order():
    request = read(
        [
            {"role": "system", "content": "a"},
            HI,
            {
                "role": "developer",
                "content": [
                    {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}},
                    {"type": "text", "text": ""},
                ],
            },
            {"role": "system", "content": ""},
            {"role": "system", "content": "c", "cache_control": {"type": "ephemeral"}},
        ]
    )
    assert request.body["system"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "c", "cache_control": {"type": "ephemeral"}},
    ]
    assert request.body["messages"] == [{"role": "user", "content": [T]}]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages: at least one message with content is required"),
        ([{"role": "user", "content": ""}], "messages: at least one message with content is required"),
        ([5], "messages.0: Input should be a valid dictionary"),
        ([{"role": "user"}], "messages.0.content: field required"),
        ([{"role": "user", "content": None}], "messages.0.content: field required"),
        ([{"role": "user", "content": 5}], "messages.0.content: Input should be a valid string or list"),
        ([{"role": "user", "content": ["hi"]}], "messages.0.content.0: Input should be a valid dictionary"),
        ([{"role": "user", "content": [{"text": "hi"}]}], "messages.0.content.0.type: field required"),
        (
            [{"role": "user", "content": [{"type": "text"}]}],
            "messages.0.content.0.text: Input should be a valid string",
        ),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
            "messages.0.content.0.type: input_audio parts cannot be carried to this model",
        ),
        (
            [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}],
            "messages.0.content.0.file.file_id: a stored file cannot be carried to this model: send file_data",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/bmp;base64,AA"}}]}],
            "messages.0.content.0.image_url.url: only jpeg, png, gif and webp images, PDFs and plain texts can be carried",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,AA"}}]}],
            "messages.0.content.0.image_url.url: only base64 data URLs can be carried",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}],
            "messages.0.content.0.image_url.url: only http(s) and data URLs can be carried",
        ),
        (
            [{"role": "robot", "content": "x"}],
            "messages.0.role: Input should be 'system', 'developer', 'user', 'assistant', 'tool' or 'function'",
        ),
        (
            [{"role": [], "content": "x"}],
            "messages.0.role: Input should be 'system', 'developer', 'user', 'assistant', 'tool' or 'function'",
        ),
        (
            [HI, assistant(call(arguments="{"))],
            "messages.1.tool_calls.0.function.arguments: Input should be a JSON object",
        ),
        (
            [HI, assistant(call(arguments="[1]"))],
            "messages.1.tool_calls.0.function.arguments: Input should be a JSON object",
        ),
        ([HI, assistant(call(name=""))], "messages.1.tool_calls.0.function.name: field required"),
        ([HI, assistant(call(key=None))], "messages.1.tool_calls.0.id: field required"),
        ([HI, assistant({"id": "c"})], "messages.1.tool_calls.0.function: field required"),
        ([HI, result()], "messages.1.tool_call_id: no call without a result before it has this id"),
        (
            [HI, assistant(call()), result(), result()],
            "messages.3.tool_call_id: no call without a result before it has this id",
        ),
        (
            [HI, assistant(call()), HI, assistant(call(key="c2")), result()],
            "messages.4.tool_call_id: no call without a result before it has this id",
        ),
        ([HI, {"role": "assistant", "tool_calls": "x"}], "messages.1.tool_calls: Input should be a valid list"),
        ([HI, assistant(5)], "messages.1.tool_calls.0: Input should be a valid dictionary"),
        (
            [HI, assistant(call(arguments=5))],
            "messages.1.tool_calls.0.function.arguments: Input should be a valid string",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "messages.0.content.0.image_url.url: Input should be a valid string",
        ),
        (
            [{"role": "user", "content": [{"type": "file", "file": 5}]}],
            "messages.0.content.0.file: Input should be a valid dictionary",
        ),
        (
            [{"role": "user", "content": [{"type": "file", "file": {}}]}],
            "messages.0.content.0.file.file_data: field required",
        ),
        (
            [{"role": "user", "content": [{"type": "file", "file": {"file_data": "AAAA", "filename": "a.exe"}}]}],
            "messages.0.content.0.file.file_data: Input should be a data URL",
        ),
        (
            [{"role": "user", "content": [{"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}]}],
            "messages.0.content.0.file.file_data: Input should be base64 of UTF-8 text",
        ),
        ([HI, {"role": "tool", "content": "x"}], "messages.1.tool_call_id: field required"),
        (
            [HI, {"role": "function", "name": "f", "content": "x"}],
            "messages.1.name: no call without a result before it has this name",
        ),
        ([HI, {"role": "assistant", "audio": {"id": "a"}}], "messages.1.audio: audio cannot be carried to this model"),
        (
            [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}, HI],
            "messages.0.content: only text can be carried here",
        ),
    ],
)
def test_messages_that_are_wrong(messages, message):
    with pytest.raises(ProblemError) as error:
        read(messages)
    problem = error.value.problem
    assert (problem.status, problem.kind, problem.message) == (400, "invalid_request_error", message)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}),
        ({"max_tokens": None}, {}),
        ({"stop": "x"}, {"stop_sequences": ["x"]}),
        ({"stop": ["x", "", "y"]}, {"stop_sequences": ["x", "y"]}),
        ({"stop": []}, {}),
        ({"temperature": 1.7, "top_p": 0.5, "top_k": 5}, {"temperature": 1.7, "top_p": 0.5, "top_k": 5}),
        ({"temperature": 0, "top_k": -1}, {"temperature": 0}),
        ({"reasoning_effort": "minimal"}, {"output_config": {"effort": "low"}}),
        ({"reasoning_effort": "xhigh"}, {"output_config": {"effort": "xhigh"}}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 9, "display": None}},
            {"thinking": {"type": "enabled", "budget_tokens": 9}},
        ),
        ({"thinking": {"type": "adaptive"}}, {"thinking": {"type": "adaptive"}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {}),
        (
            {
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
                "reasoning_effort": "low",
            },
            {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}}},
        ),
        ({"prompt_cache_key": "k"}, {"metadata": {"user_id": "k"}}),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"safety_identifier": "s"}, {"metadata": {"user_id": "s"}}),
        ({"metadata": {"user_id": "m"}}, {"metadata": {"user_id": "m"}}),
        ({"prompt_cache_options": {"mode": "implicit"}, "prompt_cache_retention": "in_memory"}, {}),
        (
            {
                "n": 1,
                "logprobs": False,
                "top_logprobs": 0,
                "modalities": ["text"],
                "store": False,
                "service_tier": "auto",
            },
            {},
        ),
        ({"stream_options": {"include_usage": True}, "stream": True}, {}),
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": False}, {}),
    ],
)
def test_fields(fields, body):
    request = read(**fields)
    assert request.body == {"messages": [{"role": "user", "content": [T]}], **body}
    assert request.ignored == []


def test_extras():
    assert read().extras == Extras()
    assert read(
        seed=1, frequency_penalty=0.5, presence_penalty=-1, response_format={"type": "json_object"}
    ).extras == Extras(1, 0.5, -1, json_object=True)
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
    assert read(response_format=schema).extras == Extras(schema_name="n")


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"logit_bias": {"1": 2}, "verbosity": "low", "store": True}, ["logit_bias", "verbosity", "store"]),
        (
            {"service_tier": "flex", "prediction": {}, "unheard_of": 0, "nothing": None},
            ["service_tier", "prediction", "unheard_of"],
        ),
        ({"user": "a.b@c.example"}, ["user"]),
        ({"user": "+44 20 1234 5678"}, ["user"]),
        ({"user": "u", "prompt_cache_key": "k"}, ["user"]),
        ({"user": "u", "safety_identifier": "u"}, []),
        ({"safety_identifier": "a.b@c.example"}, ["safety_identifier"]),
        (
            {"prompt_cache_options": {"mode": "implicit", "ttl": "30m"}, "prompt_cache_retention": "24h"},
            ["prompt_cache_options", "prompt_cache_retention"],
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "description": "d", "schema": {"type": "object"}},
                }
            },
            ["response_format.json_schema.description"],
        ),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "returns": {"type": "string"}, "extra": None}},
                    {"type": "function", "function": {"name": "g", "returns": {"type": "string"}}, "later": True},
                ]
            },
            ["tools.returns", "tools.later"],
        ),
        ({"metadata": {"user_id": "u", "x": "y"}}, ["metadata"]),
        ({"stream_options": {"include_obfuscation": True}}, ["stream_options.include_obfuscation"]),
        (
            {"tools": [{"type": "web_search"}, {"type": "custom", "custom": {}}]},
            ["tools.0 (web_search)", "tools.1 (custom)"],
        ),
        ({"web_search_options": {}}, ["web_search_options"]),
    ],
)
def test_what_is_ignored_is_listed(fields, ignored):
    assert read(**fields).ignored == ignored


def test_what_is_ignored_of_messages_is_listed_once():
    request = read(
        [
            {**HI, "name": "bob"},
            {"role": "assistant", "content": "a", "reasoning_content": "t", "name": ""},
            {**HI, "name": "bob"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG, "detail": "high"}}]},
            {"role": "user", "content": [{**T, "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}]},
        ]
    )
    assert request.ignored == [
        "messages.name",
        "messages.reasoning_content",
        "messages.content.image_url.detail",
        "prompt_cache_breakpoint.ttl",
    ]


TOOL = {"type": "function", "function": {"name": "f"}}
F = {"name": "f", "input_schema": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    ("fields", "tools", "choice"),
    [
        ({"tools": [TOOL]}, [F], None),
        (
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "f",
                            "description": "d",
                            "parameters": {"properties": {"a": {}}, "$defs": {}, "additionalProperties": False},
                            "strict": True,
                        },
                        "cache_control": {"type": "ephemeral"},
                    }
                ]
            },
            [
                {
                    "name": "f",
                    "description": "d",
                    "input_schema": {
                        "type": "object",
                        "properties": {"a": {}},
                        "$defs": {},
                        "additionalProperties": False,
                    },
                    "strict": True,
                    "cache_control": {"type": "ephemeral"},
                }
            ],
            None,
        ),
        ({"tools": [TOOL], "tool_choice": "auto"}, [F], {"type": "auto"}),
        ({"tools": [TOOL], "tool_choice": "required"}, [F], {"type": "any"}),
        ({"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False}, [F], {"type": "none"}),
        ({"tools": [TOOL], "tool_choice": TOOL}, [F], {"type": "tool", "name": "f"}),
        ({"tools": [TOOL], "parallel_tool_calls": True}, [F], None),
        ({"tools": [TOOL], "parallel_tool_calls": False}, [F], {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tools": [TOOL], "parallel_tool_calls": False, "tool_choice": TOOL},
            [F],
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        ),
        (
            {
                "tools": [TOOL, {"type": "function", "function": {"name": "g"}}],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}},
            },
            [F],
            {"type": "any"},
        ),
        ({"functions": [{"name": "f"}]}, [F], {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
            [F],
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        ),
        ({"functions": [{"name": "f"}], "function_call": "none"}, [F], {"type": "none"}),
    ],
)
def test_tools(fields, tools, choice):
    request = read(**fields)
    assert request.body["tools"] == tools
    assert request.body.get("tool_choice") == choice
    assert request.ignored == []


def test_a_name_that_does_not_fit_is_replaced_alike_everywhere():
    name = "mcp.server/tool"
    request = read(
        [HI, assistant(call(name)), result()],
        tools=[
            {"type": "function", "function": {"name": name}},
            {"type": "function", "function": {"name": "mcp:server/tool"}},
        ],
        tool_choice={"type": "function", "function": {"name": name}},
    )
    fit, other = (tool["name"] for tool in request.body["tools"])
    assert fit.startswith("mcp_server_tool_") and len(fit) <= 128 and fit != other
    assert request.body["tool_choice"]["name"] == fit
    assert request.body["messages"][1]["content"][0]["name"] == fit


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n": 2}, "n: only one choice can be asked of this model"),
        ({"n": True}, "n: only one choice can be asked of this model"),
        ({"n": [1]}, "n: only one choice can be asked of this model"),
        ({"logprobs": True}, "logprobs: this model gives no log probabilities"),
        ({"top_logprobs": 3}, "top_logprobs: this model gives no log probabilities"),
        ({"modalities": ["text", "audio"]}, "modalities: this model answers with text or images only"),
        ({"max_completion_tokens": 0}, "max_completion_tokens: Input should be greater than 0"),
        ({"max_tokens": 1.5}, "max_tokens: Input should be a valid integer"),
        ({"metadata": []}, "metadata: Input should be a valid dictionary"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": -1}},
            "thinking.budget_tokens: Input should be greater than or equal to 0",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "description": 5}}]},
            "tools.0.function.description: Input should be a valid string",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": 5}}]},
            "tools.0.function.strict: Input should be a valid boolean",
        ),
        ({"tools": [TOOL], "tool_choice": 5}, "tool_choice: Input should be a valid dictionary"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
            "tool_choice.allowed_tools.tools: field required",
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [{"type": "mcp"}]}}},
            "tool_choice.allowed_tools.tools.0.function: field required",
        ),
        (
            {
                "tools": [TOOL],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [TOOL], "mode": "x"}},
            },
            "tool_choice.allowed_tools.mode: Input should be 'auto' or 'required'",
        ),
        (
            {
                "tools": [TOOL],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [], "mode": "required"}},
            },
            "tool_choice.allowed_tools.tools: there is no tool that could be called",
        ),
        ({"stop": 5}, "stop: Input should be a valid string or list of strings"),
        ({"stop": [5]}, "stop: Input should be a valid string or list of strings"),
        ({"temperature": "1"}, "temperature: Input should be a valid number"),
        ({"temperature": True}, "temperature: Input should be a valid number"),
        ({"top_k": 1.5}, "top_k: Input should be a valid integer"),
        ({"seed": "1"}, "seed: Input should be a valid integer"),
        (
            {"reasoning_effort": "huge"},
            "reasoning_effort: Input should be 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' or 'max'",
        ),
        (
            {"reasoning_effort": []},
            "reasoning_effort: Input should be 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' or 'max'",
        ),
        ({"thinking": {"type": "much"}}, "thinking.type: Input should be 'enabled', 'adaptive' or 'disabled'"),
        ({"thinking": {"type": []}}, "thinking.type: Input should be 'enabled', 'adaptive' or 'disabled'"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: Input should be a valid integer"),
        (
            {"response_format": {"type": "xml"}},
            "response_format.type: Input should be 'text', 'json_object' or 'json_schema'",
        ),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema: field required"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {}}},
            "response_format.json_schema.schema: Input should be a valid dictionary",
        ),
        ({"tools": {}}, "tools: Input should be a valid list"),
        ({"tools": [5]}, "tools.0: Input should be a valid dictionary"),
        ({"tools": [{"type": "function"}]}, "tools.0.function: field required"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name: field required"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools.0.function.parameters: Input should be a valid dictionary",
        ),
        ({"tools": [TOOL], "tool_choice": "some"}, "tool_choice: Input should be 'none', 'auto', 'required' or a tool"),
        ({"tool_choice": "required"}, "tool_choice: there is no tool that could be called"),
        (
            {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}},
            "tool_choice: web_search tools cannot be carried to this model",
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice.function.name: no such tool",
        ),
        ({"tools": [TOOL], "parallel_tool_calls": 1}, "parallel_tool_calls: Input should be a valid boolean"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id: Input should be a valid string"),
    ],
)
def test_fields_that_are_wrong_or_would_be_lost(fields, message):
    with pytest.raises(ProblemError) as error:
        read(**fields)
    assert error.value.problem.message == message
    assert error.value.problem.status == 400


RICH = {
    "model": "m",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}], "name": "bob"},
        {"role": "assistant", "content": [{"type": "text", "text": "t"}], "tool_calls": [call()], "refusal": None},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "t"}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "x"},
        {
            "role": "user",
            "content": [{"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "n"}}],
        },
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False},
        }
    ],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "thinking": {"type": "enabled", "budget_tokens": 5},
    "stop": ["a"],
    "reasoning_effort": "low",
    "metadata": {"user_id": "u"},
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "modalities": ["text"],
    "temperature": 0.5,
    "n": 1,
    "logit_bias": {},
    "stream_options": {"include_usage": True},
}

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda x: (
        st.lists(x, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(["type", "text", "name"]), x, max_size=3)
    ),
    max_leaves=5,
)


def paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths(item, (*path, key))


@given(st.sampled_from([path for path in paths(RICH) if path]), junk)
def test_a_wrong_value_anywhere_is_a_problem_at_most(path, value):
    body = copy.deepcopy(RICH)
    place = body
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    raw = json.dumps(body).encode()
    try:
        head = DIALECT.head(raw)
        request = DIALECT.read(head, raw, BIRTH).request
    except ProblemError:
        return
    roles = [turn["role"] for turn in request.body["messages"]]
    assert all(a != b for a, b in itertools.pairwise(roles))
    assert all(turn["content"] for turn in request.body["messages"])


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"m","messages":[{"role":"user","content":[' + b"[" * 50_000 + b"]" * 50_000 + b"]}]}",
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"seed":1e999}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":'
        + b'[{"a":' * 400
        + b"1"
        + b"}]" * 400
        + b"}",
    ],
)
def test_extreme_bodies(raw):
    with pytest.raises(ProblemError):
        DIALECT.read(DIALECT.head(raw), raw, BIRTH)


@pytest.mark.parametrize(
    ("fields", "cached"),
    [
        ({}, False),
        ({"prompt_cache_key": None}, False),
        ({"prompt_cache_key": ""}, False),
        ({"user": "u"}, False),
        ({"prompt_cache_key": "k"}, True),
        ({"prompt_cache_key": "k", "prompt_cache_options": None}, True),
        ({"prompt_cache_key": "k", "prompt_cache_options": {"mode": "implicit"}}, True),
        ({"prompt_cache_key": "k", "prompt_cache_options": {"mode": "explicit"}}, False),
    ],
)
def test_who_names_a_conversation_wants_its_beginning_cached(fields, cached):
    assert read(**fields).extras.cached is cached


def reading(**body):
    """Return the work of reading a request of these fields."""
    raw = json.dumps({"model": "m", **body}).encode()
    head = DIALECT.head(raw)
    return lambda: DIALECT.read(head, raw, BIRTH).request


def results_behind_words(count):
    """Make a talk in which each result comes after something that the user said, so all of them have to move."""
    calls = [call(key=f"c{n}") for n in range(count)]
    talk = [message for n in range(count) for message in (HI, result(key=f"c{n}"))]
    return reading(messages=[HI, assistant(*calls), *talk])


def test_results_behind_words_cost_no_more_the_more_there_are():
    turns = results_behind_words(400)().body["messages"]
    assert [block["tool_use_id"] for block in turns[2]["content"][:400]] == [f"c{n}" for n in range(400)]
    assert turns[2]["content"][400:] == [T] * 400
    assert growth(results_behind_words, 1_000) < LINEAR


def unknown_fields(count):
    parts = [{**T, f"part{n}": 1} for n in range(count)]
    tools = [{"type": "function", "function": {"name": f"f{n}", f"tool{n}": 1}} for n in range(count)]
    return reading(messages=[{"role": "user", "content": parts}], tools=tools)


def test_fields_that_nobody_knows_cost_no_more_the_more_there_are():
    assert len(unknown_fields(300)().ignored) == 600
    assert growth(unknown_fields, 2_000) < LINEAR


def results_for_functions(count):
    old = [{"role": "assistant", "function_call": {"name": f"f{n}", "arguments": "{}"}} for n in range(count)]
    told = [{"role": "function", "name": f"f{n}", "content": "r"} for n in reversed(range(count))]
    return reading(messages=[HI, *old, *told])


def test_results_for_functions_cost_no_more_the_more_there_are():
    turns = results_for_functions(300)().body["messages"]
    assert [block["tool_use_id"] for block in turns[2]["content"][:2]] == ["call_300_0", "call_299_0"]
    assert growth(results_for_functions, 2_000) < LINEAR


def test_results_for_one_function_go_to_its_calls_in_their_order():
    old = {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}
    told = {"role": "function", "name": "f", "content": "r"}
    turns = read([HI, old, old, told, told]).body["messages"]
    assert [block["tool_use_id"] for block in turns[2]["content"]] == ["call_1_0", "call_2_0"]
    with pytest.raises(ProblemError, match=r"messages\.5\.name: no call without a result"):
        read([HI, old, old, told, told, told])
    turns = read([HI, old, told, HI, old, told]).body["messages"]
    assert [turns[n]["content"][0]["tool_use_id"] for n in (2, 4)] == ["call_1_0", "call_4_0"]
