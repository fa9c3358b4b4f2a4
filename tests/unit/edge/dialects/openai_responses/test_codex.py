"""Codex talks to a model of another provider: what it sends, what it gets, and what it sends next."""

from __future__ import annotations

import json

from penstock_edge import signatures
from penstock_edge.canonical import Message
from tests.unit.edge.dialects.openai_responses.conversations import CODEX, of
from tests.unit.edge.dialects.openai_responses.sdk import response

NAMES = [
    "exec_command",
    "multi_agent_v1__close_agent",
    "multi_agent_v1__wait_agent",
    "apply_patch",
    "tool_search",
    "functions__exec",
    "functions__wait",
    "mcp__github__list_issues",
]


def test_everything_it_says_is_understood():
    request = of(CODEX).request
    body = request.body
    assert [tool["name"] for tool in body["tools"]] == NAMES
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in body["messages"][1]["content"]] == ["thinking", "text"] + ["tool_use"] * 4
    assert [block["name"] for block in body["messages"][1]["content"][2:]] == [
        "exec_command",
        "apply_patch",
        "multi_agent_v1__close_agent",
        "tool_search",
    ]
    assert body["messages"][1]["content"][3]["input"]["input"].startswith("*** Begin Patch\n")
    assert [block["tool_use_id"] for block in body["messages"][2]["content"]] == [f"toolu_{n}" for n in (2, 3, 4, 5)]
    assert len(body["system"]) == 3
    assert body["thinking"] == {"type": "adaptive"}
    assert request.extras.cached
    assert "grammar" in body["tools"][3]["description"]
    assert set(request.ignored) == {
        "client_metadata",
        "phase",
        "reasoning.context",
        "text.verbosity",
        "tools.4 (web_search)",
        "tools.defer_loading",
    }


def test_the_next_turn_brings_back_what_was_said():
    thinking = {"type": "thinking", "thinking": "hm", "signature": signatures.tag("SIG", "Anthropic")}
    said = [
        thinking,
        {"type": "text", "text": "Now."},
        {"type": "tool_use", "id": "toolu_6", "name": "functions__exec", "input": {"input": "text(1)"}},
        {"type": "tool_use", "id": "toolu_7", "name": "mcp__github__list_issues", "input": {"repo": "x"}},
        {"type": "tool_use", "id": "toolu_8", "name": "tool_search", "input": {"query": "y"}},
    ]
    body = of(CODEX).answer(Message("m", "claude", said, "tool_use"))
    response(body)
    output = json.loads(body)["output"]
    assert [(item.get("namespace"), item.get("name")) for item in output[2:4]] == [
        ("functions", "exec"),
        ("mcp__github__", "list_issues"),
    ]
    results = [
        {"type": "custom_tool_call_output", "call_id": "toolu_6", "output": "1"},
        {"type": "function_call_output", "call_id": "toolu_7", "output": "[]"},
        {"type": "tool_search_output", "call_id": "toolu_8", "execution": "client", "tools": []},
    ]
    grown = json.loads(CODEX)
    grown["input"] += output + results
    turns = of(json.dumps(grown).encode()).request.body["messages"]
    assert turns[-2] == {"role": "assistant", "content": said}
    assert [block["content"] for block in turns[-1]["content"]] == ["1", "[]", "[]"]
