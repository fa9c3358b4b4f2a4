"""Canonical requests for Claude: each generation gets what it accepts, and what changes is said."""

from __future__ import annotations

import json
import re

import pytest

from penstock_edge import signatures
from penstock_edge.canonical import Extras, Request
from penstock_edge.errors import ProblemError
from penstock_edge.providers.anthropic import WIRE
from penstock_edge.providers.anthropic_turns import REDACTED
from penstock_edge.providers.claude_manners import manners
from penstock_edge.providers.wire import Addressee

OLD, TURNING, NEW, FIRST = "claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-5", "claude-3-5-haiku-20241022"
TOOL = {"name": "f", "input_schema": {"type": "object"}}
HI = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]


def write(model=OLD, most=64_000, extras=None, **body):
    request = Request({"messages": HI, **body}, extras or Extras())
    before = json.dumps(request.body)
    written = WIRE.write(request, Addressee("Anthropic", model, most), streamed=False)
    assert json.dumps(request.body) == before, "the request is for the next account too"
    return json.loads(written.body), written.ignored


@pytest.mark.parametrize(
    ("model", "adaptive", "budgeted", "sampling"),
    [
        (FIRST, False, False, True),
        ("claude-3-7-sonnet-20250219", False, True, True),
        ("claude-sonnet-4-20250514", False, True, True),
        ("claude-opus-4-1", False, True, True),
        ("claude-haiku-4-5-20251001", False, True, True),
        ("claude-opus-4-6", True, True, True),
        ("anthropic/claude-sonnet-4.6", True, True, True),
        ("claude-opus-4-8", True, False, False),
        ("claude-sonnet-5", True, False, False),
        ("claude-haiku-5-5", True, False, False),
        ("somebody-elses", True, False, False),
    ],
)
def test_manners_by_generation(model, adaptive, budgeted, sampling):
    known = manners(model)
    assert (known.adaptive, known.budgeted, known.sampling) == (adaptive, budgeted, sampling)


@pytest.mark.parametrize(
    ("asked", "most", "sent", "ignored"),
    [
        (None, 64_000, 32_000, []),
        (None, 8_192, 8_192, []),
        (None, 0, 32_000, []),
        (5, 8_192, 5, []),
        (100_000, 8_192, 8_192, ["max_tokens=8192"]),
    ],
)
def test_max_tokens(asked, most, sent, ignored):
    body, said = write(most=most, **({} if asked is None else {"max_tokens": asked}))
    assert (body["max_tokens"], said) == (sent, ignored)


@pytest.mark.parametrize(
    ("model", "asked", "sent", "ignored"),
    [
        (OLD, {"temperature": 1.7}, {"temperature": 1}, ["temperature=1"]),
        (OLD, {"temperature": 0.3, "top_p": 0.9}, {"temperature": 0.3}, ["top_p"]),
        (OLD, {"top_p": 0.9, "top_k": 5}, {"top_p": 0.9, "top_k": 5}, []),
        (NEW, {"temperature": 1, "top_p": 0.9}, {}, ["top_p"]),
        (NEW, {"temperature": 0, "top_p": 1, "top_k": 40}, {}, ["temperature", "top_k"]),
        (OLD, {"output_config": {"effort": "low"}}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}, []),
        (OLD, {"output_config": {"effort": "low"}, "max_tokens": 1000}, {}, ["thinking"]),
        (OLD, {"thinking": {"type": "adaptive"}}, {"thinking": {"type": "enabled", "budget_tokens": 8192}}, []),
        (FIRST, {"output_config": {"effort": "low"}}, {}, ["output_config.effort"]),
        (FIRST, {"thinking": {"type": "disabled"}}, {}, []),
        (FIRST, {"thinking": {"type": "enabled", "budget_tokens": 2000}}, {}, ["thinking"]),
        (FIRST, {"thinking": {"type": "adaptive"}}, {}, ["thinking"]),
        # Naming an effort asks for reasoning, and Claude does none without a word about it; the newest hide it.
        (
            NEW,
            {"output_config": {"effort": "max"}},
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}},
            [],
        ),
        (
            NEW,
            {"output_config": {"effort": "xhigh"}, "tools": [TOOL], "tool_choice": {"type": "any"}},
            {"output_config": {"effort": "xhigh"}, "tools": [TOOL], "tool_choice": {"type": "any"}},
            ["thinking"],
        ),
        (
            TURNING,
            {"output_config": {"effort": "xhigh"}, "temperature": 0.5},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            ["output_config.effort=high", "temperature=1"],
        ),
        (NEW, {"thinking": {"type": "adaptive"}}, {"thinking": {"type": "adaptive", "display": "summarized"}}, []),
        (
            NEW,
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            [],
        ),
        (OLD, {"thinking": {"type": "disabled", "display": "omitted"}}, {"thinking": {"type": "disabled"}}, []),
        (
            OLD,
            {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted", "depth": 1}},
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            ["thinking.depth"],
        ),
        (
            OLD,
            {"thinking": {"type": "enabled", "budget_tokens": 100}},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            ["thinking.budget_tokens=1024"],
        ),
        (
            OLD,
            {"thinking": {"type": "enabled", "budget_tokens": 9000}, "max_tokens": 5000},
            {"thinking": {"type": "enabled", "budget_tokens": 4999}},
            ["thinking.budget_tokens=4999"],
        ),
        (
            OLD,
            {"thinking": {"type": "adaptive"}, "max_tokens": 5000},
            {"thinking": {"type": "enabled", "budget_tokens": 4999}},
            [],
        ),
        (OLD, {"tool_choice": {"type": "auto"}, "tools": []}, {}, []),
        (NEW, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}, []),
        (
            NEW,
            {"thinking": {"type": "enabled", "budget_tokens": 3000}},
            {
                "thinking": {"type": "adaptive", "display": "summarized"},
                "output_config": {"effort": "medium"},
            },
            [],
        ),
        (
            TURNING,
            {"thinking": {"type": "enabled", "budget_tokens": 3000}, "temperature": 0.2},
            {"thinking": {"type": "enabled", "budget_tokens": 3000}},
            ["temperature=1"],
        ),
        (
            TURNING,
            {
                "thinking": {"type": "enabled", "budget_tokens": 3000},
                "tools": [TOOL],
                "tool_choice": {"type": "any"},
            },
            {"tools": [TOOL], "tool_choice": {"type": "any"}},
            ["thinking"],
        ),
        (OLD, {"stop_sequences": [" ", "END"]}, {"stop_sequences": ["END"]}, ["stop_sequences (white space only)"]),
        (OLD, {"stop_sequences": ["\n"]}, {}, ["stop_sequences (white space only)"]),
    ],
)
def test_what_a_generation_refuses_is_changed_and_said(model, asked, sent, ignored):
    body, said = write(model, **asked)
    assert {k: v for k, v in body.items() if k not in {"model", "messages", "max_tokens"}} == sent
    assert said == ignored


def test_structured_output_is_native_and_closed():
    inner = {"type": "object"}
    schema = {"type": "object", "properties": {"a": inner, "default": inner}, "required": ["a"], "default": inner}
    body, _ = write(output_config={"format": {"type": "json_schema", "schema": schema}})
    sent = body["output_config"]["format"]["schema"]
    assert sent["additionalProperties"] is False
    assert sent["properties"]["a"]["additionalProperties"] is False
    assert sent["properties"]["default"]["additionalProperties"] is False, "a name, not the keyword"
    assert sent["default"] == inner
    with pytest.raises(ProblemError):
        write(FIRST, output_config={"format": {"type": "json_schema", "schema": schema}})


def test_a_json_object_is_asked_for_in_words():
    body, ignored = write(extras=Extras(json_object=True, seed=5), system=[{"type": "text", "text": "s"}])
    assert body["system"][0]["text"] == "s"
    assert "JSON object" in body["system"][1]["text"]
    assert ignored == ["seed"]


def test_only_thinking_that_claude_signed_goes_back():
    mine, redacted = signatures.tag("sig", "Anthropic"), signatures.tag(REDACTED + "blob", "Anthropic")
    foreign = signatures.tag("sig", "Gemini")
    content = [
        {"type": "thinking", "thinking": "a", "signature": foreign},
        {"type": "thinking", "thinking": "b", "signature": mine},
        {"type": "thinking", "thinking": "", "signature": redacted},
        {"type": "thinking", "thinking": "c", "signature": ""},
        {"type": "text", "text": "so"},
    ]
    body, ignored = write(messages=[*HI, {"role": "assistant", "content": content}, *HI])
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "b", "signature": "sig"},
        {"type": "redacted_thinking", "data": "blob"},
        {"type": "text", "text": "so"},
    ]
    assert ignored == [
        "messages.1.content.0 (thinking signed by Gemini)",
        "messages.1.content.3 (unsigned thinking)",
    ]


@pytest.mark.parametrize(("signed", "thinks"), [("Anthropic", True), ("OpenAI", False)])
def test_a_budget_needs_thinking_before_the_tool_call_that_goes_on(signed, thinks):
    """The API refuses a tool call without thinking before it, while thinking with a budget is on."""
    thought = {"type": "thinking", "thinking": "b", "signature": signatures.tag("sig", signed)}
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "1"}
    body, ignored = write(
        messages=[*HI, {"role": "assistant", "content": [thought, call]}, {"role": "user", "content": [result]}],
        thinking={"type": "enabled", "budget_tokens": 2000},
    )
    assert ("thinking" in body) is thinks
    assert ("thinking" in ignored) is not thinks


def test_tools_get_the_type_that_the_api_wants():
    body, _ = write(tools=[{"name": "f", "input_schema": {"properties": {"a": {}}}}, {"name": "g", "strict": True}])
    assert body["tools"] == [
        {"name": "f", "input_schema": {"properties": {"a": {}}, "type": "object"}},
        {"name": "g", "strict": True, "input_schema": {"type": "object", "additionalProperties": False}},
    ]


def test_counting_sends_only_what_counts():
    request = Request({"messages": HI, "temperature": 2, "max_tokens": 5, "stop_sequences": ["x"]})
    written = WIRE.write_count(request, Addressee("Anthropic", OLD, 64_000))
    assert json.loads(written.body) == {"model": OLD, "messages": HI}


def test_ids_of_tool_calls_that_claude_refuses_are_replaced_by_the_same_ones():
    call = {"type": "tool_use", "id": "functions.f:0", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "functions.f:0", "content": "1"}
    good = {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
    asked = [*HI, {"role": "assistant", "content": [call, good]}, {"role": "user", "content": [result]}]
    body, _ = write(messages=asked)
    _, assistant, user = body["messages"]
    replaced = assistant["content"][0]["id"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", replaced)
    assert user["content"][0]["tool_use_id"] == replaced
    assert assistant["content"][1] == good
    again, _ = write(messages=asked)
    assert again["messages"][1] == assistant


def said(role, *texts):
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


@pytest.mark.parametrize(
    ("messages", "sent", "ignored"),
    [
        (
            [said("user", "hi", " \n")],
            [said("user", "hi")],
            ["messages.0.content.1 (white space only)"],
        ),
        (
            [*HI, said("assistant", "\t"), said("user", "well?")],
            [*HI, said("user", "well?")],
            ["messages.1.content.0 (white space only)"],
        ),
        (
            [said("assistant", "welcome"), *HI],
            [said("user", "(The assistant speaks first.)"), said("assistant", "welcome"), *HI],
            ["messages (a first turn of the user was added)"],
        ),
        (
            [*HI, said("assistant", "so", "the answer: \n")],
            [*HI, said("assistant", "so", "the answer:")],
            ["messages (white space at the end)"],
        ),
        ([*HI, said("assistant", "{")], [*HI, said("assistant", "{")], []),
    ],
)
def test_turns_that_the_api_refuses_are_mended(messages, sent, ignored):
    body, listed = write(messages=messages)
    assert (body["messages"], listed) == (sent, ignored)


def test_texts_that_say_nothing_are_left_out_everywhere():
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    inner = [{"type": "text", "text": ""}, {"type": "text", "text": " "}, {"type": "text", "text": "1"}]
    result = {"type": "tool_result", "tool_use_id": "t", "content": inner}
    body, listed = write(
        messages=[*HI, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}],
        system=[{"type": "text", "text": "\n"}],
    )
    assert body["messages"][2]["content"][0]["content"] == inner[2:]
    assert "system" not in body
    assert listed == ["messages.2.content.0.content.1 (white space only)", "system.0 (white space only)"]
    with pytest.raises(ProblemError):
        write(messages=[said("user", " ")])


EPHEMERAL = {"type": "ephemeral"}


@pytest.mark.parametrize(
    ("extras", "body", "asked"),
    [
        (Extras(cached=True), {}, True),
        (Extras(), {}, False),
        (Extras(cached=True), {"system": [{"type": "text", "text": "s", "cache_control": EPHEMERAL}]}, False),
        (Extras(cached=True), {"tools": [{"name": "f", "input_schema": {}, "cache_control": EPHEMERAL}]}, False),
        (
            Extras(cached=True),
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": EPHEMERAL}]}]},
            False,
        ),
        (Extras(cached=True), {"system": [{"type": "text", "text": '"cache_control":{'}]}, True),
    ],
)
def test_a_cache_is_asked_for_where_the_client_counts_on_one_and_marks_nothing(extras, body, asked):
    sent, ignored = write(extras=extras, **body)
    assert (sent.get("cache_control") == EPHEMERAL) is asked
    assert ignored == []


def test_counting_asks_for_no_cache():
    written = WIRE.write_count(Request({"messages": HI}, Extras(cached=True)), Addressee("Anthropic", OLD, 64_000))
    assert b"cache_control" not in written.body


def test_of_many_marks_the_latest_four_are_kept():
    def marked(**block):
        return {**block, "cache_control": EPHEMERAL}

    call = marked(type="tool_use", id="t", name="f", input={"cache_control": {"kept": 1}})
    inner = marked(type="text", text="b")
    result = marked(type="tool_result", tool_use_id="t", content=[inner])
    body, ignored = write(
        tools=[marked(name="f", input_schema={"type": "object"})],
        system=[marked(type="text", text="s")],
        messages=[
            {"role": "user", "content": [marked(type="text", text="a")]},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result, marked(type="text", text="c")]},
        ],
    )
    plain, calls, results = (message["content"] for message in body["messages"])
    assert not any("cache_control" in one for one in (body["tools"][0], body["system"][0], plain[0]))
    assert calls == [call]
    assert results == [result, marked(type="text", text="c")]
    assert ignored == ["cache_control (all but the last 4)"]


@pytest.mark.parametrize(
    ("user_id", "kept"),
    [
        ("u-1", True),
        ("k" * 256, True),
        ("k" * 257, False),
        ("me@example.com", False),
        ("project of me@example.com", False),
        ("+49 170 1234567", False),
        ("0198c1c0-d1e2-7f3a-8b4c-5d6e7f809102", True),
    ],
)
def test_names_that_claude_refuses_are_replaced_by_the_same_ones(user_id, kept):
    body, ignored = write(metadata={"user_id": user_id})
    again, _ = write(metadata={"user_id": user_id})
    assert (body["metadata"] == {"user_id": user_id}) is kept
    assert body["metadata"] == again["metadata"]
    assert re.fullmatch(r"[a-zA-Z0-9-]{3,256}", body["metadata"]["user_id"])
    assert ignored == []


def test_limits_that_a_schema_sets_are_asked_for_in_words_and_told():
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    tools = [{"name": "f", "input_schema": schema}, {"name": "g", "input_schema": schema, "strict": True}]
    body, ignored = write(output_config={"format": {"type": "json_schema", "schema": schema}}, tools=tools)
    bounded = {"type": "integer", "description": "minimum: 1"}
    assert body["output_config"]["format"]["schema"]["properties"]["n"] == bounded
    assert [tool["input_schema"]["properties"]["n"] for tool in body["tools"]] == [schema["properties"]["n"], bounded]
    words = "(minimum: only asked for in words)"
    assert ignored == [f"tools.1.strict {words}", f"output_config.format {words}"]


def test_what_claude_cannot_keep_to_is_only_asked_for():
    schema = {"type": "object", "properties": {"n": {"type": "object", "additionalProperties": {"type": "integer"}}}}
    config = {"format": {"type": "json_schema", "schema": schema}}
    tool = {"name": "f", "input_schema": schema, "strict": True}
    for effort in ({}, {"effort": "low"}):
        body, ignored = write(
            output_config=effort | config, tools=[tool], system=[{"type": "text", "text": "a"}], model="claude-opus-5"
        )
        assert body.get("output_config", {}) == effort
        assert body["tools"] == [tool | {"strict": False}]
        assert [text["text"][:6] for text in body["system"]] == ["a", "Answer"]
        assert json.loads(body["system"][1]["text"].partition(": ")[2]) == schema
        assert ignored == ["tools.0.strict", "output_config.format (only asked for in words)"]


@pytest.mark.parametrize(
    ("model", "sent", "ignored"),
    [
        ("claude-haiku-4-5", {"thinking": {"type": "disabled"}}, []),
        ("claude-opus-5", {"thinking": {"type": "disabled"}}, []),
        ("claude-haiku-5-5", {"thinking": {"type": "disabled"}}, []),
        ("claude-sonnet-5", {"thinking": {"type": "disabled"}}, []),
        ("claude-sonnet-5-5", {"thinking": {"type": "between_tools"}}, ["thinking=between_tools"]),
        ("claude-opus-5-5", {"output_config": {"effort": "low"}}, ["thinking=adaptive"]),
        ("claude-fable-5-1", {"output_config": {"effort": "low"}}, ["thinking=adaptive"]),
        ("claude-3-5-haiku-20241022", {}, []),
    ],
)
def test_models_that_cannot_stop_thinking_think_as_little_as_they_can(model, sent, ignored):
    body, said = write(model, thinking={"type": "disabled"}, output_config={"effort": "max"})
    assert {name: body[name] for name in ("thinking", "output_config") if name in body} == sent
    assert said == ignored
