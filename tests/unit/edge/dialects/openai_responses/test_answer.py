"""Unary answers, as the SDK reads them."""

from __future__ import annotations

import json

import pytest

from penstock_edge import signatures
from penstock_edge.canonical import Message
from penstock_edge.usage_report import OutputDetails, UsageReport
from tests.unit.edge.dialects.openai_responses.conversations import DIGITS, FUNCTION, conversation
from tests.unit.edge.dialects.openai_responses.sdk import response

TOOLS = [
    FUNCTION,
    {"type": "custom", "name": "patch"},
    {"type": "namespace", "name": "agents", "description": "", "tools": [{"type": "function", "name": "open"}]},
    {"type": "tool_search", "execution": "client"},
    {"type": "local_shell"},
    {"type": "shell"},
    {"type": "apply_patch"},
]
USAGE = UsageReport(
    input_tokens=10,
    output_tokens=7,
    cache_creation_input_tokens=3,
    cache_read_input_tokens=5,
    output_tokens_details=OutputDetails(thinking_tokens=4),
)


def text(words):
    return {"type": "text", "text": words}


def use(name, given):
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": given}


def answer(*content, stop_reason="end_turn", **fields):
    message = Message("m", "upstream", list(content), stop_reason, usage=USAGE)
    body = conversation(**fields).answer(message)
    response(body)
    return json.loads(body)


def test_a_whole_answer():
    tools = [{**FUNCTION, "future": 1}]
    body = answer(
        {"type": "thinking", "thinking": "hm", "signature": signatures.tag("s", "Anthropic")},
        text("a"),
        text("b"),
        use("look", {"x": [1]}),
        stop_reason="tool_use",
        instructions="be brief",
        tools=tools,
        temperature=0.5,
        metadata={"order": "5"},
    )
    output = body.pop("output")
    assert output == [
        {
            "id": f"rs_{DIGITS}00",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": signatures.tag("s", "Anthropic"),
        },
        {
            "id": f"msg_{DIGITS}01",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "annotations": [], "logprobs": [], "text": "a"},
                {"type": "output_text", "annotations": [], "logprobs": [], "text": "b"},
            ],
        },
        {
            "id": f"fc_{DIGITS}02",
            "type": "function_call",
            "status": "completed",
            "call_id": "toolu_1",
            "name": "look",
            "arguments": '{"x":[1]}',
        },
    ]
    assert body.pop("usage") == {
        "input_tokens": 18,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 25,
    }
    assert body == {
        "id": f"resp_{DIGITS}",
        "object": "response",
        "created_at": 1_795_000_000,
        "background": False,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": "be brief",
        "max_output_tokens": None,
        "metadata": {"order": "5"},
        "model": "claude",
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": 0.5,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": tools,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }


@pytest.mark.parametrize(
    ("name", "given", "item"),
    [
        ("look", {}, {"type": "function_call", "name": "look", "arguments": "{}"}),
        ("made_up", {}, {"type": "function_call", "name": "made_up", "arguments": "{}"}),
        ("patch", {"input": 'a"b'}, {"type": "custom_tool_call", "name": "patch", "input": 'a"b'}),
        ("agents__open", {}, {"type": "function_call", "name": "open", "namespace": "agents", "arguments": "{}"}),
        (
            "tool_search",
            {"query": "q"},
            {"type": "tool_search_call", "execution": "client", "arguments": {"query": "q"}},
        ),
        (
            "local_shell",
            {"command": ["ls"], "timeout_ms": 5},
            {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"], "env": {}, "timeout_ms": 5}},
        ),
        (
            "local_shell",
            {"command": "ls", "env": 5},
            {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"], "env": {}}},
        ),
        (
            "shell",
            {"commands": ["ls", 5]},
            {"type": "shell_call", "action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None}},
        ),
        (
            "apply_patch",
            {"type": "delete_file", "path": "a", "more": 1},
            {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a"}},
        ),
    ],
)
def test_calls_come_back_as_the_client_knows_them(name, given, item):
    (call,) = answer(use(name, given), stop_reason="tool_use", tools=TOOLS)["output"]
    call.pop("id")
    assert call == item | {"call_id": "toolu_1", "status": "completed"}


def test_calls_have_ids_of_their_own():
    earlier = [
        {"type": "function_call", "name": "look", "call_id": "toolu_1", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "toolu_1", "output": "ok"},
    ]
    told = answer(use("look", {}), use("patch", {"input": ""}), input=earlier, tools=TOOLS)
    assert [item["call_id"] for item in told["output"]] == ["toolu_1_2", "toolu_1_3"]


@pytest.mark.parametrize(
    ("stop_reason", "status", "details"),
    [
        ("end_turn", "completed", None),
        ("stop_sequence", "completed", None),
        ("pause_turn", "completed", None),
        ("max_tokens", "incomplete", {"reason": "max_output_tokens"}),
        ("model_context_window_exceeded", "incomplete", {"reason": "max_output_tokens"}),
        ("refusal", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_how_it_ended(stop_reason, status, details):
    body = answer(text("a"), stop_reason=stop_reason)
    assert (body["status"], body["incomplete_details"]) == (status, details)
    assert body["output"][0]["status"] == status


def test_a_refusal_of_everything_is_an_answer():
    body = answer(stop_reason="refusal")
    assert body["status"] == "completed"
    assert body["output"][0]["content"] == [{"type": "refusal", "refusal": "The model declined to answer."}]


def test_blocks_of_a_providers_own_tools_are_not_told():
    assert answer({"type": "server_tool_use", "id": "x", "name": "web_search", "input": {}})["output"] == []


def test_a_count():
    assert json.loads(conversation().counted(7)) == {"object": "response.input_tokens", "input_tokens": 7}
