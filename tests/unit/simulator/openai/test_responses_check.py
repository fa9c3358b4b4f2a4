"""What Responses refuses, with its words."""

import pytest

from penstock_simulator.openai.stored import Stored
from penstock_simulator.refusal import RefusalError

from .conftest import CITY, FLAT_TOOL, STRICT, read_responses, respond


def tool(**fields):
    return respond(tools=[FLAT_TOOL | fields])


def formatted(**form):
    return respond(text={"format": form})


NAMESPACE = {
    "type": "namespace",
    "name": "crm",
    "description": "d",
    "tools": [FLAT_TOOL, {"type": "custom", "name": "c"}],
}
FINE = [
    respond(),
    respond(instructions="be brief", store=False, metadata={"a": "b"}, prompt_cache_key="k", user="u"),
    respond(reasoning={"effort": "high", "summary": "auto"}, include=["reasoning.encrypted_content"]),
    respond(model="gpt-4o", temperature=0.3, top_p=0.2, include=["message.output_text.logprobs"], top_logprobs=3),
    respond(model="gpt-5.2", temperature=0.3, reasoning={"effort": "none"}),
    respond(max_output_tokens=16, truncation="auto", service_tier="auto", client_metadata={"x": "y"}, max_tool_calls=1),
    respond(stream=True, stream_options={"include_obfuscation": False}),
    respond(model="gpt-5.3-codex", tools=[NAMESPACE, {"type": "web_search", "external_web_access": False}]),
    respond(tools=[{"type": "some_new_tool", "x": 1}], parallel_tool_calls=True),
    respond(tools=[]),
    tool(parameters=None, strict=None),
    tool(parameters=STRICT, strict=True),
    respond(tools=[FLAT_TOOL], tool_choice={"type": "function", "name": "weather"}),
    respond(tools=[{"type": "web_search_preview"}], tool_choice={"type": "web_search_preview"}),
    respond(
        tools=[FLAT_TOOL],
        tool_choice={"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]},
    ),
    formatted(type="text"),
    formatted(type="json_schema", name="s", schema=STRICT, strict=True),
    formatted(type="json_schema", name="s", schema=CITY),
    respond("in json please", text={"format": {"type": "json_object"}, "verbosity": "low"}),
    respond(input=[{"role": "user", "content": "x"}], background=False, conversation=None, previous_response_id=None),
]


@pytest.mark.parametrize("document", FINE)
def test_what_is_fine(document):
    assert read_responses(document).document is document


REFUSED = [
    (respond(model=...), 400, "model", "missing_required_parameter", "Missing required parameter: 'model'."),
    (respond(model="nope"), 400, "model", "model_not_found", "The requested model 'nope' does not exist."),
    (
        respond(model="text-embedding-3-small"),
        400,
        "model",
        "unsupported_model",
        "cannot be used with the Responses API",
    ),
    (respond(model="gpt-4o-audio-preview"), 400, "model", "unsupported_model", "cannot be used with the Responses API"),
    ([], 400, None, None, "expected an object"),
    (respond(input=...), 400, "input", "missing_required_parameter", 'One of "input" or "previous_response_id"'),
    (respond(input=[]), 400, "input", "missing_required_parameter", 'One of "input"'),
    (respond(input=3), 400, "input", "invalid_type", "one of a string or array of objects, but got an integer"),
    (respond(xyz=1), 400, "xyz", "unknown_parameter", "Unknown parameter: 'xyz'."),
    (respond(seed=1), 400, "seed", "unknown_parameter", "Unknown parameter: 'seed'."),
    (respond(messages=[]), 400, "messages", "unsupported_parameter", "this parameter has moved to 'input'"),
    (respond(max_tokens=9), 400, "max_tokens", "unsupported_parameter", "has moved to 'max_output_tokens'"),
    (respond(response_format={}), 400, "response_format", "unsupported_parameter", "has moved to 'text.format'"),
    (respond(max_output_tokens=15), 400, "max_output_tokens", "integer_below_min_value", "Expected a value >= 16"),
    (respond(max_output_tokens=128_001), 400, "max_output_tokens", "integer_above_max_value", "<= 128000"),
    (respond(instructions=[]), 400, "instructions", "invalid_type", "expected a string, but got an array"),
    (respond(temperature=0.5), 400, "temperature", "unsupported_value", "Only the default (1) value"),
    (respond(top_p=0.5), 400, "top_p", "unsupported_parameter", "'top_p' is not supported with this model"),
    (respond(reasoning={"effort": "xhigh"}), 400, "reasoning.effort", "unsupported_value", "does not support 'xhigh'"),
    (respond(reasoning={"effort": "big"}), 400, "reasoning.effort", "invalid_value", "Invalid value: 'big'"),
    (
        respond(reasoning={"summary": "yes"}),
        400,
        "reasoning.summary",
        "invalid_value",
        "'auto', 'concise', and 'detailed'",
    ),
    (respond(reasoning={"x": 1}), 400, "reasoning.x", "unknown_parameter", "Unknown parameter"),
    (
        respond(model="gpt-4o", reasoning={"effort": "low"}),
        400,
        "reasoning.effort",
        "unsupported_parameter",
        "not supp",
    ),
    (
        respond(model="gpt-4o", reasoning={"summary": "auto"}),
        400,
        "reasoning.summary",
        "unsupported_parameter",
        "not supp",
    ),
    (respond(include=["x"]), 400, "include[0]", "invalid_value", "Invalid value: 'x'"),
    (respond(include=[3]), 400, "include[0]", "invalid_type", "expected a string"),
    (respond(include=["message.output_text.logprobs"]), 400, "include", "unsupported_parameter", "not supported"),
    (
        respond(model="gpt-4o", include=["reasoning.encrypted_content"]),
        400,
        "include",
        None,
        "Encrypted content is not supported with this model.",
    ),
    (
        respond(stream=True, stream_options={"include_usage": True}),
        400,
        "stream_options.include_usage",
        "unknown_parameter",
        "",
    ),
    (respond(truncation="yes"), 400, "truncation", "invalid_value", "'auto' and 'disabled'"),
    (respond(background=True), 400, "background", "unsupported_parameter", "Background mode"),
    (respond() | {"prompt": {"id": "pmpt_1"}}, 404, "prompt", None, "Prompt with id 'pmpt_1' not found."),
    (respond(conversation="conv_1"), 404, "conversation", None, "Conversation with id 'conv_1' not found."),
    (respond(conversation={"id": "conv_1"}), 404, "conversation", None, "Conversation with id 'conv_1' not found."),
    (
        respond(previous_response_id="resp_1"),
        400,
        "previous_response_id",
        "previous_response_not_found",
        "Previous response with id 'resp_1' not found.",
    ),
    (
        respond(previous_response_id="resp_1", conversation="conv_1"),
        400,
        "previous_response_id",
        "mutually_exclusive_parameters",
        "Mutually exclusive",
    ),
    # tools
    (respond(tools=[{"name": "x"}]), 400, "tools[0].type", "missing_required_parameter", "Missing required parameter"),
    (tool(name=...), 400, "tools[0].name", "missing_required_parameter", "Missing required parameter"),
    (tool(function={}), 400, "tools[0].function", "unknown_parameter", "Unknown parameter"),
    (tool(strict=True), 400, "tools[0].parameters", "invalid_function_parameters", "additionalProperties"),
    (
        respond(tools=[NAMESPACE | {"tools": [FLAT_TOOL | {"name": "a b"}]}]),
        400,
        "tools[0].tools[0].name",
        "invalid_value",
        "does not match pattern",
    ),
    (respond(tools=[NAMESPACE | {"tools": []}]), 400, "tools[0].tools", "empty_array", "empty array"),
    (respond(tool_choice="required"), 400, "tool_choice", None, "must be specified with 'tools' parameter"),
    (respond(tool_choice="any"), 400, "tool_choice", "invalid_value", "Invalid value: 'any'"),
    (respond(tool_choice={"type": "function", "name": "x"}), 400, "tool_choice", None, "'x' not found in 'tools'"),
    (respond(tool_choice={"type": "web_search"}), 400, "tool_choice", None, "'web_search' not found in 'tools'"),
    # text
    (formatted(type="xml"), 400, "text.format.type", "invalid_value", "Invalid value: 'xml'"),
    (formatted(type="json_object"), 400, "input", None, "must contain the word 'json' in some form"),
    (formatted(type="json_schema", schema=CITY), 400, "text.format.name", "missing_required_parameter", "Missing"),
    (formatted(type="json_schema", name="s"), 400, "text.format.schema", "missing_required_parameter", "Missing"),
    (
        formatted(type="json_schema", name="s", schema=CITY, strict=True),
        400,
        "text.format.schema",
        "invalid_json_schema",
        "Invalid schema for response_format 's': In context=()",
    ),
    (
        formatted(type="json_schema", json_schema={}),
        400,
        "text.format.json_schema",
        "unknown_parameter",
        "Unknown parameter",
    ),
    (respond(model="gpt-4o", text={"verbosity": "high"}), 400, "text.verbosity", "unsupported_value", "'medium'"),
]


@pytest.mark.parametrize(("document", "status", "param", "code", "words"), REFUSED)
def test_what_is_refused(document, status, param, code, words):
    if isinstance(document, dict) and document.get("tools"):
        document["tools"] = [{n: v for n, v in one.items() if v is not ...} for one in document["tools"]]
    with pytest.raises(RefusalError) as refused:
        read_responses(document)
    error = refused.value
    assert words in error.message
    assert (error.status, error.kind, error.param, error.code) == (status, "invalid_request_error", param, code)


def test_counting_knows_fewer_fields():
    assert read_responses({"input": "hi"}, counting=True).model.name == "gpt-4o"
    assert read_responses(respond(personality="friendly"), counting=True).model.name == "gpt-5"
    for name, value in (("max_output_tokens", 99), ("stream", True), ("store", False)):
        with pytest.raises(RefusalError, match=f"Unknown parameter: '{name}'"):
            read_responses(respond(**{name: value}), counting=True)


def test_tools_that_are_read():
    asked = read_responses(respond(tools=[FLAT_TOOL, NAMESPACE, {"type": "web_search"}, {"type": "file_search"}]))
    assert [(tool.name, tool.kind, tool.namespace) for tool in asked.tools] == [
        ("weather", "function", ""),
        ("weather", "function", "crm"),
        ("c", "custom", "crm"),
        ("web_search", "web_search", ""),
    ]
    inside = [{"type": "additional_tools", "role": "developer", "tools": [FLAT_TOOL]}, {"role": "user", "content": "x"}]
    assert [tool.name for tool in read_responses(respond(input=inside)).tools] == ["weather"]


def test_an_earlier_response_goes_on():
    stored = Stored()
    stored.add("resp_1", [{"type": "message", "role": "user", "content": "a"}], [], 1)
    asked = read_responses(respond("b", previous_response_id="resp_1"), stored)
    assert [item["content"] for item in asked.items] == ["a", "b"]
    assert len(read_responses(respond(previous_response_id="resp_1", input=...), stored).items) == 1


def test_what_is_read():
    asked = read_responses(respond(reasoning={"effort": "low"}, max_output_tokens=99, parallel_tool_calls=False))
    assert (asked.effort, asked.max_tokens, asked.parallel, asked.choice) == ("low", 99, False, "auto")
    assert read_responses(respond()).effort == "medium"
    assert read_responses(respond(model="gpt-5.1")).effort == "none"
    logprobs = respond(model="gpt-4o", include=["message.output_text.logprobs"])
    assert read_responses(logprobs).top_logprobs == 0
    assert read_responses(respond(model="gpt-4o", top_logprobs=2)).top_logprobs is None
