"""Canonical requests, written for OpenAI."""

from __future__ import annotations

import json

import pytest

from penstock_edge import signatures
from penstock_edge.canonical import Extras, Request
from penstock_edge.errors import ProblemError
from penstock_edge.providers.openai_responses import WIRE
from penstock_edge.providers.wire import Addressee

HI = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
LOOSE = {"type": "object", "properties": {"a": {"type": "string"}}}
LOOK = {"name": "look", "description": "d", "input_schema": LOOSE}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
PART = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,AA=="}
REASONING, TALKING = "gpt-5.2", "gpt-4.1"


def write(body, extras=None, model=REASONING, most=0, *, streamed=False):
    request = Request({"messages": [HI]} | body, extras or Extras())
    before = json.dumps(request.body)
    written = WIRE.write(request, Addressee("OpenAI", model, most), streamed=streamed)
    assert json.dumps(request.body) == before
    return json.loads(written.body), written.ignored


def items(*messages):
    body, ignored = write({"messages": list(messages)})
    return body["input"], ignored


def user(*content):
    return {"role": "user", "content": list(content)}


def assistant(*content):
    return {"role": "assistant", "content": list(content)}


def message(role, *parts):
    return {"type": "message", "role": role, "content": list(parts)}


def test_the_least():
    assert write({}, model=TALKING) == (
        {
            "model": "gpt-4.1",
            "input": [message("user", {"type": "input_text", "text": "hi"})],
            "stream": False,
            "store": False,
        },
        [],
    )
    assert write({}, streamed=True)[0]["stream"] is True
    assert write({})[0]["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize(
    ("turns", "expected", "left_out"),
    [
        (
            [HI, assistant({"type": "text", "text": "a"}, {"type": "text", "text": "b"}), user(PNG, HI["content"][0])],
            [
                message("user", {"type": "input_text", "text": "hi"}),
                message("assistant", {"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}),
                message("user", PART, {"type": "input_text", "text": "hi"}),
            ],
            [],
        ),
        (
            [
                assistant(
                    {"type": "text", "text": "a"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}
                ),
                user({"type": "tool_result", "tool_use_id": "t", "content": "ok"}, HI["content"][0]),
            ],
            [
                message("assistant", {"type": "output_text", "text": "a"}),
                {"type": "function_call", "call_id": "t", "name": "f", "arguments": '{"x":1}'},
                {"type": "function_call_output", "call_id": "t", "output": "ok"},
                message("user", {"type": "input_text", "text": "hi"}),
            ],
            [],
        ),
        (
            [
                user(
                    {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "a"}, PNG]},
                    {"type": "tool_result", "tool_use_id": "2", "content": [{"type": "text", "text": "a"}]},
                    {"type": "tool_result", "tool_use_id": "3", "is_error": True},
                    {"type": "tool_result", "tool_use_id": "4", "content": []},
                )
            ],
            [
                {
                    "type": "function_call_output",
                    "call_id": "1",
                    "output": [{"type": "input_text", "text": "a"}, PART],
                },
                {"type": "function_call_output", "call_id": "2", "output": "a"},
                {"type": "function_call_output", "call_id": "3", "output": ""},
                {"type": "function_call_output", "call_id": "4", "output": ""},
            ],
            ["is_error"],
        ),
        (
            [
                user(
                    {"type": "image", "source": {"type": "url", "url": "https://x.example/a"}},
                    {"type": "document", "source": {"type": "url", "url": "https://x.example/b"}},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}},
                    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "c"}]}},
                    {
                        "type": "document",
                        "title": "x.pdf",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                    },
                    {"type": "search_result", "source": "x"},
                )
            ],
            [
                message(
                    "user",
                    {"type": "input_image", "detail": "auto", "image_url": "https://x.example/a"},
                    {"type": "input_file", "file_url": "https://x.example/b"},
                    {"type": "input_text", "text": "t"},
                    {"type": "input_text", "text": "c"},
                    {"type": "input_file", "filename": "x.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
                )
            ],
            ["messages.0.content.5 (search_result)"],
        ),
        (
            [
                assistant(
                    {
                        "type": "thinking",
                        "thinking": "hm",
                        "signature": signatures.tag('{"id":"rs_1","encrypted_content":"E"}', "OpenAI"),
                    },
                    {
                        "type": "thinking",
                        "thinking": "",
                        "signature": signatures.tag('{"encrypted_content":"F"}', "OpenAI"),
                    },
                    {"type": "thinking", "thinking": "x", "signature": signatures.tag("s", "Anthropic")},
                    {"type": "thinking", "thinking": "x", "signature": ""},
                    {"type": "thinking", "thinking": "x", "signature": signatures.tag("nonsense", "OpenAI")},
                    {"type": "thinking", "thinking": "x", "signature": 5},
                    {"type": "text", "text": "a"},
                )
            ],
            [
                {
                    "type": "reasoning",
                    "id": "rs_1",
                    "summary": [{"type": "summary_text", "text": "hm"}],
                    "encrypted_content": "E",
                },
                {"type": "reasoning", "summary": [], "encrypted_content": "F"},
                message("assistant", {"type": "output_text", "text": "a"}),
            ],
            [
                "messages.0.content.2 (thinking signed by Anthropic)",
                "messages.0.content.3 (unsigned thinking)",
                "messages.0.content.4 (unsigned thinking)",
                "messages.0.content.5 (unsigned thinking)",
            ],
        ),
    ],
)
def test_messages(turns, expected, left_out):
    assert items(*turns) == (expected, left_out)


def test_a_document_keeps_its_title():
    source = {"type": "text", "media_type": "text/plain", "data": "t"}
    pieces = {"type": "content", "content": [{"type": "text", "text": "c"}]}
    link = {"type": "url", "url": "https://x.example/b"}
    documents = [{"type": "document", "title": "T", "source": each} for each in (source, pieces, link)]
    body, ignored = write({"messages": [user(*documents)]})
    assert body["input"][0]["content"] == [
        {"type": "input_text", "text": "T\n\nt"},
        {"type": "input_text", "text": "T\n\nc"},
        {"type": "input_file", "file_url": "https://x.example/b"},
    ]
    assert ignored == ["messages.content.title"]


def test_what_no_item_or_tool_has_room_for_is_named_once():
    hint = {"cache_control": {"type": "ephemeral"}}
    pieces = {"type": "content", "content": [{"type": "text", "text": "c", "citations": [{}]}]}
    document = {"type": "document", "source": pieces, "context": "x", "citations": {"enabled": False}}
    image = PNG | {"transformations": {"oversized_image": "error"}}
    call = {"type": "tool_use", "id": "1", "name": "look", "input": {}, "caller": {"type": "direct"}}
    result = {"type": "tool_result", "tool_use_id": "1", "toolset_name": "t", **hint}
    tool = LOOK | {"input_examples": [{}], "defer_loading": True, "eager_input_streaming": False}
    asked = {"messages": [user(document, image), assistant(call), user(result, document)], "tools": [tool, tool]}
    assert write(asked)[1] == [
        "messages.content.context",
        "messages.content.citations",
        "messages.content.transformations",
        "cache_control",
        "messages.content.toolset_name",
        "tools.input_examples",
        "tools.defer_loading",
    ]


def test_thinking_that_led_to_nothing_is_left_out():
    thinking = {"type": "thinking", "thinking": "", "signature": signatures.tag('{"encrypted_content":"F"}', "OpenAI")}
    found, ignored = items(HI, assistant(thinking), HI)
    assert [item["role"] for item in found] == ["user", "user"]
    assert ignored == ["messages.1 (thinking that led to nothing)"]


def test_models_that_do_not_think_get_no_thinking():
    thinking = {"type": "thinking", "thinking": "", "signature": signatures.tag('{"encrypted_content":"F"}', "OpenAI")}
    turns = [HI, assistant(thinking, {"type": "text", "text": "a"}), HI]
    body, ignored = write({"messages": turns}, model=TALKING)
    assert [item["type"] for item in body["input"]] == ["message"] * 3
    assert ignored == ["messages.1.content.0 (thinking)"]


def test_instructions_stay_apart():
    system = [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}]
    body, ignored = write({"system": system})
    assert body["input"][0] == message(
        "developer", {"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}
    )
    assert ignored == ["cache_control"]


def test_ids_that_are_too_long_are_shortened_alike():
    name = "t" * 65
    found, _ = items(
        assistant({"type": "tool_use", "id": name, "name": "f", "input": {}}),
        user({"type": "tool_result", "tool_use_id": name, "content": "x"}),
    )
    assert found[0]["call_id"] == found[1]["call_id"]
    assert len(found[0]["call_id"]) <= 64


@pytest.mark.parametrize(
    ("tool", "written", "left_out"),
    [
        (LOOK, {"name": "look", "description": "d", "parameters": LOOSE, "strict": False}, []),
        ({"name": "f"}, {"name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}, []),
        (
            {"name": "f", "type": "custom", "input_schema": SCHEMA, "strict": True},
            {"name": "f", "parameters": SCHEMA, "strict": True},
            [],
        ),
        (
            {"name": "f", "input_schema": LOOSE, "strict": True, "cache_control": {"type": "ephemeral"}},
            {"name": "f", "parameters": LOOSE, "strict": False},
            ["cache_control", "tools.0.strict"],
        ),
    ],
)
def test_tools(tool, written, left_out):
    body, ignored = write({"tools": [tool]})
    assert body["tools"] == [{"type": "function"} | written]
    assert ignored == left_out


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "look"}, {"tool_choice": {"type": "function", "name": "look"}}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
)
def test_choices(choice, written):
    body, _ = write({"tools": [LOOK], "tool_choice": choice})
    assert {name: body[name] for name in ("tool_choice", "parallel_tool_calls") if name in body} == written


@pytest.mark.parametrize(
    ("body", "model", "reasoning", "left_out"),
    [
        ({}, REASONING, None, []),
        ({"thinking": {"type": "adaptive"}}, REASONING, {"effort": "medium", "summary": "auto"}, []),
        ({"thinking": {"type": "adaptive"}}, "o3", {"summary": "auto"}, []),
        ({"output_config": {"effort": "xhigh"}}, REASONING, {"effort": "xhigh"}, []),
        ({"output_config": {"effort": "max"}}, REASONING, {"effort": "xhigh"}, ["output_config.effort=xhigh"]),
        ({"output_config": {"effort": "max"}}, "gpt-6-sol", {"effort": "max"}, []),
        ({"output_config": {"effort": "max"}}, "o4-mini", {"effort": "high"}, ["output_config.effort=high"]),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, REASONING, {"effort": "low", "summary": "auto"}, []),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 8000}},
            REASONING,
            {"effort": "medium", "summary": "auto"},
            [],
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 9000}},
            REASONING,
            {"effort": "high", "summary": "auto"},
            [],
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 30000}},
            REASONING,
            {"effort": "xhigh", "summary": "auto"},
            [],
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, "o3", {"summary": "auto"}, []),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            REASONING,
            {"effort": "low", "summary": "auto"},
            [],
        ),
        (
            {"thinking": {"type": "adaptive", "display": "summarized", "block_binding": {"x": 1}}},
            "o3",
            {"summary": "auto"},
            ["thinking.block_binding"],
        ),
        ({"thinking": {"type": "between_tools"}}, "o3", {"summary": "auto"}, ["thinking=adaptive"]),
        ({"thinking": {"type": "disabled"}}, REASONING, {"effort": "none"}, []),
        ({"thinking": {"type": "disabled"}}, "gpt-5-mini", {"effort": "minimal"}, ["reasoning.effort=minimal"]),
        ({"thinking": {"type": "disabled"}}, "gpt-5-codex", {"effort": "low"}, ["reasoning.effort=low"]),
        ({"thinking": {"type": "disabled"}}, TALKING, None, []),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            TALKING,
            None,
            ["thinking", "output_config.effort"],
        ),
    ],
)
def test_reasoning(body, model, reasoning, left_out):
    written, ignored = write(body, model=model)
    assert written.get("reasoning") == reasoning
    assert ignored == left_out


@pytest.mark.parametrize(
    ("body", "model", "most", "expected", "left_out"),
    [
        ({"temperature": 1.5, "top_p": 0.5}, TALKING, 0, {"temperature": 1.5, "top_p": 0.5}, []),
        ({"temperature": 3}, TALKING, 0, {"temperature": 2}, ["temperature=2"]),
        ({"temperature": 0, "top_p": 0.5}, REASONING, 0, {}, ["temperature", "top_p"]),
        ({"temperature": 0, "thinking": {"type": "disabled"}}, REASONING, 0, {"temperature": 0}, []),
        ({"max_tokens": 100}, REASONING, 0, {"max_output_tokens": 100}, []),
        ({"max_tokens": 100}, REASONING, 50, {"max_output_tokens": 50}, ["max_tokens=50"]),
        ({"max_tokens": 0}, REASONING, 50, {"max_output_tokens": 16}, ["max_tokens=16"]),
        (
            {"top_k": 5, "stop_sequences": ["x"], "future": {"a": 1}},
            REASONING,
            0,
            {},
            ["top_k", "stop_sequences", "future"],
        ),
        ({"metadata": {"user_id": "u"}}, REASONING, 0, {"prompt_cache_key": "u"}, []),
        ({"metadata": {"user_id": 5}}, REASONING, 0, {}, []),
        (
            {"output_config": {"effort": "low", "more": 1}},
            TALKING,
            0,
            {},
            ["output_config.effort", "output_config.more"],
        ),
    ],
)
def test_the_rest(body, model, most, expected, left_out):
    written, ignored = write(body, model=model, most=most)
    names = ("temperature", "top_p", "max_output_tokens", "prompt_cache_key")
    assert {name: written[name] for name in names if name in written} == expected
    assert ignored == left_out


def test_what_only_other_formats_have():
    assert write({}, Extras(seed=1, frequency_penalty=0.5, presence_penalty=0))[1] == [
        "seed",
        "frequency_penalty",
        "presence_penalty",
    ]


def test_a_long_name_of_a_user_is_shortened():
    key = write({"metadata": {"user_id": "u" * 65}})[0]["prompt_cache_key"]
    assert len(key) == 32
    assert key == write({"metadata": {"user_id": "u" * 65}})[0]["prompt_cache_key"]


@pytest.mark.parametrize(
    "schema",
    [{"type": "array", "items": LOOSE}, {"type": "string"}, {}, {"type": "object", "properties": {}, "anyOf": [LOOSE]}],
)
def test_an_answer_that_is_no_object_is_asked_for_in_words(schema):
    body, ignored = write({"output_config": {"format": {"type": "json_schema", "schema": schema}}})
    assert "text" not in body
    assert json.dumps(schema, separators=(",", ":")) in body["input"][0]["content"][0]["text"]
    assert body["input"][0]["role"] == "developer"
    assert ignored == ["output_config.format (only asked for in words)"]


def test_an_object_without_properties_gets_them():
    body, _ = write({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}})
    assert body["text"]["format"]["schema"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(("schema", "strict"), [(SCHEMA, True), (LOOSE, False)])
def test_structured_output(schema, strict):
    wanted = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    form = {"type": "json_schema", "name": "answer", "schema": schema, "strict": strict}
    assert write(wanted)[0]["text"] == {"format": form}
    assert write(wanted, Extras(schema_name="n" * 65))[0]["text"]["format"]["name"] == "n" * 64


@pytest.mark.parametrize(("words", "added"), [("hi", 1), ("as JSON please", 0)])
def test_any_json(words, added):
    asked = {"messages": [user({"type": "text", "text": words})]}
    body, _ = write(asked, Extras(json_object=True))
    assert body["text"] == {"format": {"type": "json_object"}}
    assert len(body["input"]) == 1 + added


def test_a_count():
    request = Request({"messages": [HI], "tools": [LOOK], "max_tokens": 5, "metadata": {"user_id": "u"}})
    written = json.loads(WIRE.write_count(request, Addressee("OpenAI", REASONING, 0)).body)
    assert set(written) == {"model", "input", "tools"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            {"tools": [{"type": "web_search_20250305", "name": "w"}], "tool_choice": {"type": "tool", "name": "w"}},
            "tool_choice: the chosen tool cannot be carried to this model",
        ),
        ({"tool_choice": {"type": "any"}}, "tool_choice: none of the tools can be carried to this model"),
        ({"tools": [LOOK], "tool_choice": {"type": ["auto"]}}, "tool_choice.type: Input should be"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort: Input should be"),
        ({"output_config": {"effort": ["low"]}}, "output_config.effort: Input should be"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: field required"),
        (
            {"messages": [user({"type": "image", "source": {"type": "file", "file_id": "f"}})]},
            "messages.0.content.0.source.type: only base64 and url",
        ),
        (
            {"messages": [user({"type": "image", "source": {"type": "base64", "media_type": "image/tiff"}})]},
            "messages.0.content.0.source.media_type: an image should be",
        ),
        ({"messages": [user({"type": "image", "source": {"type": "url"}})]}, "messages.0.content.0.source.url: field"),
        (
            {"messages": [user({"type": "document", "source": {"type": "base64", "media_type": "text/html"}})]},
            "messages.0.content.0.source.media_type: a document should be a PDF",
        ),
        (
            {"messages": [user({"type": "document", "source": {"type": "content", "content": [PNG]}})]},
            "messages.0.content.0.source.content: only text",
        ),
        (
            {"messages": [user({"type": "tool_result", "tool_use_id": "1", "content": 5})]},
            "messages.0.content.0.content: Input should be a text or a valid list",
        ),
        (
            {"messages": [user({"type": "tool_result", "tool_use_id": "1", "content": ["x"]})]},
            "messages.0.content.0.content.0: Input should be a content block",
        ),
    ],
)
def test_what_is_refused(body, reason):
    with pytest.raises(ProblemError) as error:
        write(body)
    assert error.value.problem.message.startswith(reason)
    assert error.value.problem.status == 400


def test_tools_of_other_providers_are_listed():
    body, ignored = write({"tools": [{"type": "web_search_20250305", "name": "w"}, LOOK]})
    assert [tool["name"] for tool in body["tools"]] == ["look"]
    assert ignored == ["tools.0 (web_search_20250305)"]
