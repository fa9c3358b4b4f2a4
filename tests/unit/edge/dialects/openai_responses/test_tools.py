"""Tools of Responses requests, and the names they go by elsewhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.dialects.openai_responses.tool_book import Tool, ToolBook
from penstock_edge.errors import ProblemError
from tests.unit.edge.dialects.openai_responses.conversations import FUNCTION, request

LOOK = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
CUSTOM = {"type": "custom", "name": "patch", "description": "Patches."}
NAMESPACE = {
    "type": "namespace",
    "name": "agents",
    "description": "About agents.",
    "tools": [{"type": "function", "name": "open", "description": "Opens."}, {"type": "custom", "name": "run"}],
}
INPUT = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole input, as plain text."}},
    "required": ["input"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("tool", "canonical"),
    [
        (FUNCTION, [LOOK]),
        ({**FUNCTION, "strict": True, "description": "d"}, [{**LOOK, "strict": True, "description": "d"}]),
        ({**FUNCTION, "strict": False, "description": None}, [LOOK]),
        (
            {"type": "function", "name": "look", "parameters": None},
            [{"name": "look", "input_schema": {"type": "object"}}],
        ),
        (
            {"type": "function", "name": "look", "parameters": {"$defs": {}}},
            [{"name": "look", "input_schema": {"type": "object", "$defs": {}}}],
        ),
        (CUSTOM, [{"name": "patch", "description": "Patches.", "input_schema": INPUT}]),
        (
            {**CUSTOM, "format": {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}},
            [
                {
                    "name": "patch",
                    "description": "Patches.\n\nThe input must match this lark grammar:\nstart: /a/",
                    "input_schema": INPUT,
                }
            ],
        ),
        ({**CUSTOM, "format": {"type": "text"}}, [{"name": "patch", "description": "Patches.", "input_schema": INPUT}]),
        (
            NAMESPACE,
            [
                {
                    "name": "agents__open",
                    "description": "agents: About agents.\n\nOpens.",
                    "input_schema": {"type": "object"},
                },
                {"name": "agents__run", "input_schema": INPUT},
            ],
        ),
    ],
)
def test_definitions(tool, canonical):
    read = request(tools=[tool])
    assert read.body["tools"] == canonical
    assert read.ignored == []


def test_tools_that_the_client_runs_by_type():
    read = request(tools=[{"type": "local_shell"}, {"type": "shell"}, {"type": "apply_patch"}])
    assert [tool["name"] for tool in read.body["tools"]] == ["local_shell", "shell", "apply_patch"]
    assert all(tool["description"] and tool["input_schema"]["required"] for tool in read.body["tools"])


def test_tools_that_the_provider_runs_are_listed():
    tools = [
        FUNCTION,
        {"type": "web_search", "external_web_access": True},
        {"type": "tool_search"},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {**NAMESPACE, "tools": [{"type": "mcp"}]},
    ]
    read = request(tools=tools)
    assert read.body["tools"] == [LOOK]
    assert read.ignored == ["tools.1 (web_search)", "tools.2 (tool_search)", "tools.3 (shell)", "tools.4.tools.0 (mcp)"]


@pytest.mark.parametrize(
    ("choice", "canonical"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "name": "look"}, {"type": "tool", "name": "look"}),
        ({"type": "custom", "name": "patch"}, {"type": "tool", "name": "patch"}),
        ({"type": "function", "name": "open"}, {"type": "tool", "name": "agents__open"}),
        ({"type": "function", "name": "open", "namespace": "agents"}, {"type": "tool", "name": "agents__open"}),
        ({"type": "apply_patch"}, {"type": "tool", "name": "apply_patch"}),
    ],
)
def test_choices(choice, canonical):
    tools = [FUNCTION, CUSTOM, NAMESPACE, {"type": "apply_patch"}]
    assert request(tools=tools, tool_choice=choice).body["tool_choice"] == canonical


def test_a_choice_among_some():
    allowed = {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "look"}, {"type": "web_search"}],
    }
    read = request(tools=[FUNCTION, CUSTOM], tool_choice=allowed)
    assert read.body["tools"] == [LOOK]
    assert read.body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice: the chosen tool"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice: none of the tools can be"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice: the chosen tool"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "custom", "name": "look"}}, "tool_choice: the chosen tool"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice: the chosen tool"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function"}}, "tool_choice.name: field required"),
        ({"tools": [FUNCTION], "tool_choice": "any"}, "tool_choice: Input should be 'auto'"),
        ({"tools": [FUNCTION], "tool_choice": 5}, "tool_choice: Input should be a valid dictionary"),
        (
            {"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools", "mode": ["auto"], "tools": []}},
            "tool_choice.mode: Input should be",
        ),
        ({"tools": ["look"]}, "tools.0: Input should be a valid dictionary"),
        ({"tools": [{"name": "look"}]}, "tools.0.type: field required"),
        ({"tools": [{"type": "function"}]}, "tools.0.name: field required"),
        ({"tools": [{"type": "function", "name": ""}]}, "tools.0.name: String should have at least 1 character"),
        ({"tools": [{**FUNCTION, "parameters": []}]}, "tools.0.parameters: Input should be a valid dictionary"),
        ({"tools": [{**NAMESPACE, "tools": [5]}]}, "tools.0.tools.0: Input should be a valid dictionary"),
    ],
)
def test_what_is_refused(fields, message):
    with pytest.raises(ProblemError) as error:
        request(**fields)
    assert error.value.problem.message.startswith(message)


TOOLS = st.builds(
    Tool,
    st.sampled_from(["function", "custom", "apply_patch"]),
    st.one_of(st.sampled_from(["a", "b", "n__a", "ä", "x" * 200]), st.text(min_size=1, max_size=8)),
    st.sampled_from(["", "n", "n__", "é"]),
)


@given(st.lists(TOOLS))
def test_every_name_fits_and_leads_back(tools):
    book = ToolBook()
    names = [book.enter(tool) for tool in tools]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", name) for name in names)
    assert [book.tool(name) for name in names] == tools
    again = ToolBook()
    assert [again.enter(tool) for tool in tools] == names


def test_plain_names_stay():
    book = ToolBook()
    assert book.enter(Tool("function", "exec_command")) == "exec_command"
    assert book.enter(Tool("function", "list", "mcp__github__")) == "mcp__github__list"
    assert book.enter(Tool("custom", "exec_command")) != "exec_command"
    assert book.tool("made_up") == Tool("function", "made_up")
