"""Canonical requests as Gemini models read them."""

from __future__ import annotations

import copy
import json

import pytest
from google.genai import types

from penstock_edge import signatures
from penstock_edge.canonical import Extras, Request
from penstock_edge.errors import ProblemError
from penstock_edge.providers.gemini import WIRE
from penstock_edge.providers.wire import Addressee

OLD, NEW = "gemini-2.5-flash", "gemini-3.1-pro-preview"
OWN = signatures.tag("c2ln", "Gemini")
UNSIGNED = signatures.tag("", "Gemini")
FOREIGN = signatures.tag("c2ln", "Anthropic")
DUMMY = "skip_thought_signature_validator"


def text(words, **more):
    return {"type": "text", "text": words, **more}


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def thinking(words, signature):
    return {"type": "thinking", "thinking": words, "signature": signature}


def use(given="one", name="f", arguments=None):
    return {"type": "tool_use", "id": given, "name": name, "input": arguments or {}}


def result(content, given="one", **more):
    return {"type": "tool_result", "tool_use_id": given, "content": content, **more}


HI = [user(text("hi"))]


def write(messages=HI, *, model=OLD, most=0, extras=None, **body):
    request = Request({"messages": messages, **body}, extras or Extras())
    before = copy.deepcopy(request)
    written = WIRE.write(request, Addressee("Gemini", model, most), streamed=True)
    assert request == before
    return json.loads(written.body), written.ignored


def refused(messages=HI, **body):
    with pytest.raises(ProblemError) as error:
        write(messages, **body)
    assert error.value.problem.status == 400
    return error.value.problem.message


def test_a_whole_request_is_one_that_googles_sdk_knows():
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "string"}}}
    body, ignored = write(
        model=NEW,
        system=[text("s")],
        max_tokens=9,
        temperature=1,
        top_p=0.5,
        top_k=3,
        stop_sequences=["x"],
        tools=[{"name": "f", "description": "d", "input_schema": schema}, {"type": "custom", "name": "g"}],
        tool_choice={"type": "any"},
        output_config={"format": {"type": "json_schema", "schema": schema}},
        extras=Extras(seed=5, schema_name="n"),
    )
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "systemInstruction": {"parts": [{"text": "s"}]},
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "f", "description": "d", "parametersJsonSchema": schema},
                    {"name": "g"},
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {
            "topP": 0.5,
            "topK": 3,
            "stopSequences": ["x"],
            "maxOutputTokens": 9,
            "temperature": 1,
            "seed": 5,
            "responseMimeType": "application/json",
            "responseJsonSchema": schema,
        },
    }
    assert ignored == []
    types.GenerationConfig.model_validate(body["generationConfig"])
    types.Tool.model_validate(body["tools"][0])
    types.ToolConfig.model_validate(body["toolConfig"])
    types.Content.model_validate(body["contents"][0])


def test_little_is_asked_where_nothing_is_said():
    assert write() == ({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}, [])


def test_a_count_counts_tools_and_system_text_too():
    request = Request({"messages": HI, "system": [text("s")], "tools": [{"name": "f"}], "max_tokens": 5, "top_k": 1})
    for model in ("gemini-x", "models/gemini-x"):
        written = WIRE.write_count(request, Addressee("Gemini", model, 0))
        assert json.loads(written.body) == {
            "generateContentRequest": {
                "model": "models/gemini-x",
                "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
                "systemInstruction": {"parts": [{"text": "s"}]},
                "tools": [{"functionDeclarations": [{"name": "f"}]}],
            }
        }


@pytest.mark.parametrize(
    ("body", "config", "ignored"),
    [
        ({"temperature": 5}, {"temperature": 2}, ["temperature=2"]),
        ({"max_tokens": 100, "most": 50}, {"maxOutputTokens": 50}, ["max_tokens=50"]),
        ({"max_tokens": 40, "most": 50}, {"maxOutputTokens": 40}, []),
        ({"extras": Extras(json_object=True)}, {"responseMimeType": "application/json"}, []),
        ({"extras": Extras(seed=2**31 + 5)}, {"seed": 5}, []),
        ({"extras": Extras(seed=-7)}, {"seed": -7}, []),
        ({"metadata": {"user_id": "u"}, "future": 1}, None, ["metadata", "future"]),
        ({"output_config": {"new": 1}}, None, ["output_config.new"]),
    ],
)
def test_configuration(body, config, ignored):
    written, listed = write(**body)
    assert (written.get("generationConfig"), listed) == (config, ignored)


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
            {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://a.example/b.webp?c=d.e"}},
            {"fileData": {"fileUri": "https://a.example/b.webp?c=d.e", "mimeType": "image/webp"}},
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://a.example/b"}},
            {"fileData": {"fileUri": "https://a.example/b"}},
        ),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}},
            {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}},
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://a.example/b"}},
            {"fileData": {"fileUri": "https://a.example/b", "mimeType": "application/pdf"}},
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
            {"text": "words"},
        ),
        ({"type": "document", "source": {"type": "content", "content": "words"}}, {"text": "words"}),
    ],
)
def test_media(block, part):
    assert write([user(text("see"), block)])[0]["contents"][0]["parts"] == [{"text": "see"}, part]
    # In a function's result as well, where a response has no place for them.
    messages = [user(text("go")), assistant(use()), user(result([text("see"), block]), text("and"))]
    response = {"functionResponse": {"id": "one", "name": "f", "response": {"result": "see"}}}
    assert write(messages)[0]["contents"][2]["parts"] == [response, part, {"text": "and"}]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "image", "source": 5},
        {"type": "document"},
        {"type": ["text"]},
        {},
    ],
)
def test_what_google_cannot_read_is_refused(block):
    assert refused([user(text("a"), block)]).startswith("messages.0.content.1")
    messages = [user(text("go")), assistant(use()), user(result([block]))]
    assert refused(messages).startswith("messages.2.content.0.content.0")


def test_what_only_its_own_provider_knows_is_refused_among_a_users_words():
    assert refused([user(text("a"), {"type": "container_upload", "file_id": "x"})]).startswith("messages.0.content.1")


@pytest.mark.parametrize(
    ("content", "more", "response"),
    [
        ("words", {}, {"result": "words"}),
        ("", {}, {"result": ""}),
        (None, {}, {"result": ""}),
        ('{"a": [1, {"b": "é"}]}', {}, {"a": [1, {"b": "é"}]}),
        (' \n{"a": 1}', {}, {"a": 1}),
        ("[1]", {}, {"result": "[1]"}),
        ("{not json}", {}, {"result": "{not json}"}),
        ("{" * 5000, {}, {"result": "{" * 5000}),
        ([text("a"), text("b")], {}, {"result": "a\nb"}),
        ('{"a": 1}', {"is_error": True}, {"error": '{"a": 1}'}),
        ("bad", {"is_error": False}, {"result": "bad"}),
    ],
)
def test_results(content, more, response):
    contents = write([user(text("go")), assistant(use()), user(result(content, **more))])[0]["contents"]
    assert contents[1]["parts"] == [{"functionCall": {"id": "one", "name": "f", "args": {}}}]
    assert contents[2]["parts"] == [{"functionResponse": {"id": "one", "name": "f", "response": response}}]
    types.Content.model_validate(contents[2])


def test_a_result_finds_its_call_by_id():
    messages = [user(text("go")), assistant(use("a", "f"), use("b", "g")), user(result("1", "b"), result("2", "a"))]
    parts = write(messages)[0]["contents"][2]["parts"]
    assert [part["functionResponse"]["name"] for part in parts] == ["g", "f"]
    assert refused([user(result("1"))]) == ("messages.0.content.0.tool_use_id: there is no tool_use that this answers")


# Thinking


@pytest.mark.parametrize(
    ("blocks", "parts", "ignored"),
    [
        (
            [thinking("T", OWN), text("a")],
            [{"text": "T", "thought": True, "thoughtSignature": "c2ln"}, {"text": "a"}],
            [],
        ),
        ([thinking("T", UNSIGNED), text("a")], [{"text": "T", "thought": True}, {"text": "a"}], []),
        ([thinking("", OWN), text("a")], [{"text": "a", "thoughtSignature": "c2ln"}], []),
        ([thinking("", UNSIGNED), text("a")], [{"text": "a"}], []),
        ([text("a"), thinking("", OWN)], [{"text": "a"}, {"text": "", "thoughtSignature": "c2ln"}], []),
        (
            [thinking("", OWN), thinking("", OWN), text("a")],
            [{"text": "", "thoughtSignature": "c2ln"}, {"text": "a", "thoughtSignature": "c2ln"}],
            [],
        ),
        (
            [thinking("T", FOREIGN), text("a")],
            [{"text": "a"}],
            ["messages.1.content.0 (thinking signed by Anthropic)"],
        ),
        ([thinking("T", ""), text("a")], [{"text": "a"}], ["messages.1.content.0 (unsigned thinking)"]),
        ([thinking("T", "junk"), text("a")], [{"text": "a"}], ["messages.1.content.0 (unsigned thinking)"]),
    ],
)
def test_thinking_goes_back_to_who_signed_it(blocks, parts, ignored):
    body, listed = write([*HI, assistant(*blocks), user(text("go on"))])
    assert (body["contents"][1]["parts"], listed) == (parts, ignored)


def test_a_message_of_foreign_thinking_alone_is_left_out():
    contents = write([*HI, assistant(thinking("T", FOREIGN)), user(text("b"))])[0]["contents"]
    assert contents == [{"role": "user", "parts": [{"text": "hi"}, {"text": "b"}]}]
    assert refused([assistant(thinking("T", FOREIGN))]).startswith("messages: nothing is left")


def signed(contents):
    """Which calls of a written request bear which signature."""
    calls = [part for content in contents for part in content["parts"] if "functionCall" in part]
    return {part["functionCall"]["id"]: part.get("thoughtSignature") for part in calls}


TURNS = [
    user(text("first")),
    assistant(use("a")),
    user(result("1", "a")),
    assistant(text("done")),
    user(text("second")),
    assistant(thinking("", OWN), use("b"), use("c")),
    user(result("1", "b"), result("1", "c"), text("by the way")),
    assistant(text("so"), use("d"), use("e")),
    user(result("1", "d"), result("1", "e")),
]


@pytest.mark.parametrize("model", [NEW, "gemini-3-flash-preview", "gemini-4-argon", "gemini-flash-latest"])
def test_the_first_call_of_each_step_of_the_current_turn_is_signed(model):
    found = signed(write(TURNS, model=model)[0]["contents"])
    assert found == {"a": None, "b": "c2ln", "c": None, "d": DUMMY, "e": None}


@pytest.mark.parametrize("model", [OLD, "gemini-2.0-flash", "gemma-3-27b-it"])
def test_older_models_ask_for_no_signatures(model):
    found = signed(write(TURNS, model=model)[0]["contents"])
    assert found == {"a": None, "b": "c2ln", "c": None, "d": None, "e": None}


ENABLED = {"type": "enabled", "budget_tokens": 5000}
LOTS = {"type": "enabled", "budget_tokens": 10**6}
FEW = {"type": "enabled", "budget_tokens": 50}
ADAPTIVE, DISABLED = {"type": "adaptive"}, {"type": "disabled"}


@pytest.mark.parametrize(
    ("model", "thinking", "effort", "config", "ignored"),
    [
        (OLD, None, None, None, []),
        (OLD, ENABLED, None, {"thinkingBudget": 5000, "includeThoughts": True}, []),
        (OLD, LOTS, None, {"thinkingBudget": 24_576, "includeThoughts": True}, ["thinking.budget_tokens=24576"]),
        (OLD, ENABLED, "low", {"thinkingBudget": 5000, "includeThoughts": True}, []),
        (OLD, ADAPTIVE, None, {"thinkingBudget": -1, "includeThoughts": True}, []),
        (OLD, {**ADAPTIVE, "display": "omitted"}, None, {"thinkingBudget": -1}, []),
        (OLD, ADAPTIVE, "medium", {"thinkingBudget": 8192, "includeThoughts": True}, []),
        (
            OLD,
            {**ADAPTIVE, "block_binding": {"x": 1}},
            None,
            {"thinkingBudget": -1, "includeThoughts": True},
            ["thinking.block_binding"],
        ),
        (OLD, {"type": "between_tools"}, None, None, ["thinking"]),
        (OLD, {"type": "between_tools"}, "low", {"thinkingBudget": 2048}, ["thinking"]),
        (OLD, DISABLED, None, {"thinkingBudget": 0}, []),
        (OLD, None, "low", {"thinkingBudget": 2048}, []),
        (OLD, None, "max", {"thinkingBudget": 24_576}, []),
        (OLD, None, "hardest", None, ["output_config.effort"]),
        (OLD, {"type": "enabled", "budget_tokens": "x"}, None, {"thinkingBudget": -1, "includeThoughts": True}, []),
        (
            "gemini-2.5-pro",
            LOTS,
            None,
            {"thinkingBudget": 32_768, "includeThoughts": True},
            ["thinking.budget_tokens=32768"],
        ),
        ("gemini-2.5-pro", DISABLED, None, {"thinkingBudget": 128}, ["thinking.budget_tokens=128"]),
        (
            "gemini-2.5-flash-lite",
            FEW,
            None,
            {"thinkingBudget": 512, "includeThoughts": True},
            ["thinking.budget_tokens=512"],
        ),
        (NEW, None, None, None, []),
        (NEW, None, "low", {"thinkingLevel": "LOW"}, []),
        (NEW, ADAPTIVE, "medium", {"thinkingLevel": "MEDIUM", "includeThoughts": True}, []),
        (NEW, ADAPTIVE, None, {"includeThoughts": True}, []),
        (NEW, None, "xhigh", {"thinkingLevel": "HIGH"}, ["output_config.effort=high"]),
        (NEW, ENABLED, None, {"thinkingBudget": 5000, "includeThoughts": True}, []),
        (NEW, ENABLED, "low", {"thinkingLevel": "LOW", "includeThoughts": True}, ["thinking.budget_tokens"]),
        (NEW, DISABLED, None, {"thinkingLevel": "LOW"}, ["thinking=low"]),
        ("gemini-3-pro-preview", None, "medium", {"thinkingLevel": "HIGH"}, ["output_config.effort=high"]),
        ("gemini-3-flash-preview", DISABLED, None, {"thinkingLevel": "MINIMAL"}, ["thinking=minimal"]),
        ("gemini-2.0-flash", ENABLED, "low", None, ["thinking", "output_config.effort"]),
        ("gemini-2.0-flash", DISABLED, None, None, []),
        ("gemma-3-27b-it", ADAPTIVE, None, None, ["thinking"]),
    ],
)
def test_how_much_to_think(model, thinking, effort, config, ignored):
    asked = {} if thinking is None else {"thinking": thinking}
    if effort is not None:
        asked["output_config"] = {"effort": effort}
    body, listed = write(model=model, **asked)
    assert (body.get("generationConfig", {}).get("thinkingConfig"), listed) == (config, ignored)
    if config is not None:
        types.ThinkingConfig.model_validate(config)


# Tools

SEARCH = {"type": "web_search_20250305", "name": "web_search"}
F = {"name": "f", "input_schema": {"type": "object", "properties": {"a": {}}}}


def test_tools_of_another_provider_are_left_out():
    body, ignored = write(tools=[SEARCH, {**F, "strict": True, "defer_loading": None}, {"type": "bash_1", "name": "b"}])
    assert [tool["name"] for tool in body["tools"][0]["functionDeclarations"]] == ["f"]
    assert ignored == ["tools.0 (web_search)", "tools.1.strict", "tools.2 (b)"]
    assert "tools" not in write(tools=[SEARCH])[0]


@pytest.mark.parametrize(
    ("choice", "config", "ignored"),
    [
        ({"type": "auto"}, None, []),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            {"mode": "ANY"},
            ["tool_choice.disable_parallel_tool_use"],
        ),
        ({"type": "none"}, {"mode": "NONE"}, []),
        ({"type": "tool", "name": "f"}, {"mode": "ANY", "allowedFunctionNames": ["f"]}, []),
    ],
)
def test_the_choice_of_a_tool(choice, config, ignored):
    body, listed = write(tools=[F, {"name": "g"}], tool_choice=choice)
    assert (body.get("toolConfig", {}).get("functionCallingConfig"), listed) == (config, ignored)


def test_a_choice_that_cannot_be_had():
    assert refused(tools=[SEARCH], tool_choice={"type": "any"}).startswith("tool_choice: ")
    assert refused(tools=[SEARCH, F], tool_choice={"type": "tool", "name": "web_search"}).startswith(
        "tool_choice.name: "
    )
    assert "toolConfig" not in write(tools=[SEARCH], tool_choice={"type": "none"})[0]


@pytest.mark.parametrize(
    ("schema", "kept"),
    [
        ({"type": "object"}, False),
        ({"type": "object", "properties": {}, "additionalProperties": False, "required": []}, False),
        ({"type": "object", "additionalProperties": True}, True),
        ({"type": "object", "properties": {}, "description": "d"}, True),
        ({"$ref": "#"}, True),
    ],
)
def test_a_schema_that_takes_nothing_is_left_out(schema, kept):
    (function,) = write(tools=[{"name": "f", "input_schema": schema}])[0]["tools"][0]["functionDeclarations"]
    assert (function.get("parametersJsonSchema") == schema) is kept


# What else is said


def test_caching_is_listed_once():
    cached = {"cache_control": {"type": "ephemeral"}}
    for more in (
        {"messages": [user(text("a", **cached), text("b", **cached))]},
        {"messages": [user(text("go")), assistant({**use(), **cached}), user(result([text("x", **cached)]))]},
        {"system": [text("s", **cached)]},
        {"tools": [{**F, **cached}]},
    ):
        assert write(**more)[1] == ["cache_control"]


def test_what_blocks_say_beyond_the_usual_is_listed():
    source = {"type": "base64", "media_type": "application/pdf", "data": "AA=="}
    document = {"type": "document", "source": source, "title": "t", "context": None}
    direct = use() | {"caller": {"type": "direct"}}
    messages = [user(document), assistant(text("b", citations=[{}]), text("b", citations=[]), document, direct)]
    _, listed = write(messages, system=[text("s", citations=[{}])], tools=[F | {"strict": False, "x": 1}])
    assert listed == [
        "messages.0.content.0.title",
        "messages.1.content.0.citations",
        "messages.1.content.2 (document)",
        "system.0.citations",
        "tools.0.x",
    ]


def test_a_text_keeps_its_title():
    pieces = {"type": "content", "content": [text("c")]}
    documents = [
        {"type": "document", "source": source, "title": "T"} for source in ({"type": "text", "data": "a"}, pieces)
    ]
    body, listed = write([user(*documents)])
    assert body["contents"][0]["parts"] == [{"text": "T\n\na"}, {"text": "T\n\nc"}]
    assert listed == []


def test_nesting_beyond_all_bounds_is_refused():
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    request = Request({"messages": [user(text("a")), assistant(use(arguments=deep))]})
    with pytest.raises(ProblemError, match="the request body is nested too deeply"):
        WIRE.write(request, Addressee("Gemini", OLD, 0), streamed=False)


@pytest.mark.parametrize(
    ("model", "config", "listed"),
    [
        ("gemini-2.0-flash", {"frequencyPenalty": 0.5, "presencePenalty": 0}, []),
        (OLD, None, ["frequency_penalty"]),
        (NEW, None, ["frequency_penalty"]),
    ],
)
def test_models_that_think_take_no_penalties(model, config, listed):
    body, ignored = write(model=model, extras=Extras(frequency_penalty=0.5, presence_penalty=0))
    assert (body.get("generationConfig"), ignored) == (config, listed)


@pytest.mark.parametrize(
    ("asked", "config", "listed"),
    [
        ({"stop_sequences": ["", *"abcde"]}, {"stopSequences": list("abcde")}, []),
        ({"stop_sequences": list("abcdefg")}, {"stopSequences": list("abcde")}, ["stop_sequences (all but 5)"]),
        ({"stop_sequences": [""]}, None, []),
        ({"max_tokens": 0}, {"maxOutputTokens": 1}, ["max_tokens=1"]),
        ({"top_k": 0}, {"topK": 1}, ["top_k=1"]),
    ],
)
def test_values_that_google_refuses_are_changed_and_said(asked, config, listed):
    body, ignored = write(**asked)
    assert (body.get("generationConfig"), ignored) == (config, listed)


SHAPE = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize("extras", [None, Extras(json_object=True)])
def test_a_shape_beside_tools_is_asked_for_in_words_where_google_refuses_both(extras):
    tools = [{"name": "f", "input_schema": SHAPE}]
    config = {} if extras else {"output_config": {"format": {"type": "json_schema", "schema": SHAPE}}}
    body, ignored = write(system=[text("s")], tools=tools, extras=extras, **config)
    assert "generationConfig" not in body
    first, last = body["systemInstruction"]["parts"]
    assert first == {"text": "s"}
    assert "JSON" in last["text"]
    assert (json.dumps(SHAPE, separators=(",", ":")) in last["text"]) is (extras is None)
    assert ignored == ["output_config.format (beside tools it is only asked for in words)"]
    assert "responseMimeType" in write(model=NEW, tools=tools, extras=extras, **config)[0]["generationConfig"]


def test_a_conversation_does_not_begin_with_a_call():
    body, ignored = write([assistant(use()), user(result("a"))])
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]
    assert ignored == ["messages (a first turn of the user was added)"]
    assert write([assistant(text("hello")), *HI])[0]["contents"][0]["role"] == "model"


def test_the_current_turn_is_found_after_what_was_left_out():
    """Foreign thinking alone is no turn: the user's words behind it then stand with results, and the turn goes on."""
    call, answered = assistant(use()), user(result("a"))
    body, _ = write([*HI, call, answered, assistant(thinking("T", FOREIGN)), user(text("on"))], model=NEW)
    assert body["contents"][1]["parts"][0]["thoughtSignature"] == DUMMY
    body, _ = write([*HI, call, answered, assistant(text("so")), user(text("on"))], model=NEW)
    assert "thoughtSignature" not in body["contents"][1]["parts"][0]


def test_what_only_its_own_provider_understands_in_a_result_is_left_out_and_said():
    inner = [{"type": "tool_reference", "tool_name": "f"}, text("a")]
    body, ignored = write([*HI, assistant(use()), user(result(inner))])
    assert body["contents"][2]["parts"][0]["functionResponse"]["response"] == {"result": "a"}
    assert ignored == ["messages.2.content.0.content.0 (tool_reference)"]
