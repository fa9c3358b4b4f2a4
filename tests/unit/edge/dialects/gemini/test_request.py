"""A whole Gemini request: tools, configuration, what is refused and what is listed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.gemini import DIALECT
from penstock_edge.errors import ProblemError
from penstock_edge.passage import TranslatedPassage
from penstock_edge.providers.wire import Addressee
from penstock_edge.providers.wires import wire_for
from tests.effort import examples


@pytest.fixture
def body(gemini):
    def body(**more):
        return gemini.conversation(gemini.asked(**more)).request.body

    return body


@pytest.mark.parametrize(
    ("system", "blocks"),
    [
        ({"parts": {"text": "a"}}, ["a"]),
        ({"role": "system", "parts": [{"text": "a"}, {"text": ""}, {"text": "b"}]}, ["a", "b"]),
        ("a", ["a"]),
        ({"parts": []}, None),
        ({"parts": [{"text": ""}]}, None),
        (None, None),
    ],
)
@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
def test_the_system_instruction(body, name, system, blocks):
    wanted = None if blocks is None else [{"type": "text", "text": one} for one in blocks]
    assert body(**{name: system}).get("system") == wanted


def test_sampling(body, gemini):
    config = {
        "temperature": 1.7,
        "topP": 0.5,
        "top_k": 40.0,
        "maxOutputTokens": "99",
        "stopSequences": ["a", "", "b"],
        "candidateCount": 1,
        "seed": 5,
        "presence_penalty": 0.25,
        "frequencyPenalty": -1,
        "responseModalities": ["Text"],
        "responseMimeType": "text/plain",
        "responseLogprobs": False,
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "speechConfig": {},
        "future": 1,
        "logprobs": None,
    }
    request = gemini.conversation(gemini.asked(generationConfig=config)).request
    assert {k: v for k, v in request.body.items() if k != "messages"} == {
        "temperature": 1.7,
        "top_p": 0.5,
        "top_k": 40,
        "max_tokens": 99,
        "stop_sequences": ["a", "b"],
    }
    extras = request.extras
    assert (extras.seed, extras.presence_penalty, extras.frequency_penalty) == (5, 0.25, -1)
    assert request.ignored == [
        "generationConfig.mediaResolution",
        "generationConfig.speechConfig",
        "generationConfig.future",
    ]


@pytest.mark.parametrize(
    ("config", "thinking", "effort", "shown"),
    [
        ({"thinkingBudget": 100}, {"type": "enabled", "budget_tokens": 100, "display": "omitted"}, None, False),
        ({"thinkingBudget": 9, "includeThoughts": True}, {"type": "enabled", "budget_tokens": 9}, None, True),
        ({"thinkingBudget": 0, "includeThoughts": True}, {"type": "disabled"}, None, True),
        ({"thinkingBudget": -1}, {"type": "adaptive", "display": "omitted"}, None, False),
        ({"thinking_budget": 0}, {"type": "disabled"}, None, False),
        ({"thinkingBudget": -1, "includeThoughts": True}, {"type": "adaptive"}, None, True),
        ({"include_thoughts": True}, {"type": "adaptive"}, None, True),
        ({"thinkingLevel": "minimal"}, {"type": "adaptive", "display": "omitted"}, "low", False),
        ({"thinkingLevel": "MEDIUM", "includeThoughts": True}, {"type": "adaptive"}, "medium", True),
        ({"thinking_level": "XHIGH"}, {"type": "adaptive", "display": "omitted"}, "xhigh", False),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None, None, False),
    ],
)
def test_thinking(gemini, config, thinking, effort, shown):
    conversation = gemini.conversation(gemini.asked(generationConfig={"thinkingConfig": config}))
    body = conversation.request.body
    assert (body.get("thinking"), body.get("output_config", {}).get("effort")) == (thinking, effort)
    assert conversation._thoughts is shown


def test_structured_output(body, gemini):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    google = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
    for config in (
        {"responseMimeType": "application/json", "responseSchema": google},
        {"response_mime_type": "application/json", "response_json_schema": schema},
        {"responseJsonSchema": schema},
    ):
        assert body(generationConfig=config)["output_config"] == wanted
    request = gemini.conversation(gemini.asked(generationConfig={"responseMimeType": "application/json"})).request
    assert request.extras.json_object
    assert "output_config" not in request.body


@pytest.mark.parametrize(
    ("google", "schema"),
    [
        ({"type": "INTEGER", "format": "int32"}, {"type": "integer"}),
        ({"type": "STRING", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "STRING", "format": "enum", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"type": "STRING", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"anyOf": [{"type": "NUMBER"}], "nullable": True}, {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        ({"any_of": [{"type": "BOOLEAN"}]}, {"anyOf": [{"type": "boolean"}]}),
        (
            {"type": "ARRAY", "items": {"type": "STRING", "maxLength": "9"}, "minItems": "1", "max_items": 3},
            {"type": "array", "items": {"type": "string", "maxLength": 9}, "minItems": 1, "maxItems": 3},
        ),
        ({"type": "TYPE_UNSPECIFIED", "title": "t", "example": 1}, {"title": "t", "examples": [1]}),
        (
            {"ref": "#/$defs/a", "defs": {"a": {"type": "NULL"}}},
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}},
        ),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        # A property may have the name of a keyword.
        ({"properties": {"type": {"type": "STRING"}}}, {"properties": {"type": {"type": "string"}}}),
    ],
)
def test_googles_schemas(body, google, schema):
    found = body(generationConfig={"responseSchema": google})["output_config"]["format"]["schema"]
    assert found == schema


def test_the_order_of_properties(body):
    google = {"properties": {n: {"type": "STRING"} for n in "abc"}, "propertyOrdering": ["c", "x", "a"]}
    found = body(generationConfig={"responseSchema": google})["output_config"]["format"]["schema"]
    assert list(found["properties"]) == ["c", "a", "b"]
    assert set(found) == {"properties"}


def test_tools(gemini):
    tools = [
        {
            "functionDeclarations": [
                {"name": "f", "description": "d", "parameters": {"type": "OBJECT", "properties": {}}, "behavior": "X"},
                {"name": "g", "parametersJsonSchema": {"properties": {"a": {"type": "null"}}, "$defs": {}}},
                {"name": "h", "response": {}},
            ],
            "google_search": {},
        },
        {"codeExecution": {}},
    ]
    request = gemini.conversation(gemini.asked(tools=tools)).request
    assert request.body["tools"] == [
        {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}},
        {"name": "g", "input_schema": {"type": "object", "properties": {"a": {"type": "null"}}, "$defs": {}}},
        {"name": "h", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert request.ignored == [
        "tools.0.functionDeclarations.0.behavior",
        "tools.0.functionDeclarations.2.response",
        "tools.0 (google_search)",
        "tools.1 (codeExecution)",
    ]
    assert "tools" not in gemini.conversation(gemini.asked(tools=[{"googleSearch": {}}])).request.body


@pytest.mark.parametrize(
    ("config", "choice", "names"),
    [
        ({"mode": "AUTO"}, None, "fg"),
        ({"mode": "mode_unspecified"}, None, "fg"),
        ({"mode": "NONE"}, {"type": "none"}, "fg"),
        ({"mode": "ANY"}, {"type": "any"}, "fg"),
        ({"mode": "any", "allowedFunctionNames": ["g"]}, {"type": "tool", "name": "g"}, "fg"),
        ({"mode": "ANY", "allowed_function_names": ["f", "g"]}, {"type": "any"}, "fg"),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["g"]}, None, "g"),
        ({}, None, "fg"),
    ],
)
def test_the_choice_of_a_tool(body, config, choice, names):
    found = body(
        tools=[{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}], toolConfig={"functionCallingConfig": config}
    )
    assert found.get("tool_choice") == choice
    assert "".join(tool["name"] for tool in found["tools"]) == names


def test_very_many_tools_may_be_allowed(body):
    names = [f"f{number}" for number in range(20_000)]
    config = {"mode": "ANY", "allowedFunctionNames": names[1:]}
    found = body(
        tools=[{"functionDeclarations": [{"name": name} for name in names]}],
        toolConfig={"functionCallingConfig": config},
    )
    assert [tool["name"] for tool in found["tools"]] == names[1:]


def test_a_validated_choice_is_listed(gemini):
    config = {"functionCallingConfig": {"mode": "VALIDATED"}, "retrievalConfig": {}}
    request = gemini.conversation(gemini.asked(tool_config=config)).request
    assert request.ignored == ["tool_config.functionCallingConfig.mode=AUTO", "tool_config.retrievalConfig"]


CARRY = ": this cannot be carried to the provider of this model"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cachedContent": "cachedContents/x"}, "cachedContent" + CARRY),
        ({"cached_content": "cachedContents/x"}, "cached_content" + CARRY),
        (
            {"generationConfig": {"candidateCount": 2}},
            "generationConfig.candidateCount: only one candidate can be had from the provider of this model",
        ),
        ({"generationConfig": {"responseLogprobs": True}}, "generationConfig.responseLogprobs" + CARRY),
        (
            {"generationConfig": {"responseModalities": ["TEXT", "AUDIO"]}},
            "generationConfig.responseModalities" + CARRY,
        ),
        ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "generationConfig.responseMimeType" + CARRY),
        *(
            (
                {"generationConfig": {"maxOutputTokens": most}},
                "generationConfig.maxOutputTokens: Input should be greater than 0",
            )
            for most in (0, "-5")
        ),
        ({"generationConfig": {"topK": 1.5}}, "generationConfig.topK: Input should be a valid integer"),
        ({"generationConfig": {"temperature": "1"}}, "generationConfig.temperature: Input should be a valid number"),
        ({"generationConfig": {"temperature": True}}, "generationConfig.temperature: Input should be a valid number"),
        (
            {"generationConfig": {"stopSequences": [1]}},
            "generationConfig.stopSequences: Input should be a valid string",
        ),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingLevel": "SOME"}}},
            "generationConfig.thinkingConfig.thinkingLevel: Input should be a level of thinking",
        ),
        (
            {"systemInstruction": {"parts": [{"inlineData": {}}]}},
            "systemInstruction.parts.0.inlineData: only text can be",
        ),
        ({"tools": ["f"]}, "tools.0: Input should be a valid dictionary"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools.0.functionDeclarations.0.name: field required"),
        (
            {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": 5}]}]},
            "tools.0.functionDeclarations.0.parametersJsonSchema: Input should be a valid dictionary",
        ),
        ({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "toolConfig.functionCallingConfig" + CARRY),
        (
            {"tools": [{"googleSearch": {}}], "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
            "toolConfig.functionCallingConfig" + CARRY,
        ),
        (
            {
                "tools": [{"functionDeclarations": [{"name": "f"}]}],
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}},
            },
            "toolConfig.functionCallingConfig: a function is allowed that is not declared",
        ),
    ],
)
def test_what_would_change_the_answer_is_refused(gemini, more, message):
    assert gemini.refusal(gemini.asked(**more)).startswith(message)


def test_what_changes_little_is_listed(gemini):
    more = {"safetySettings": [{}], "labels": {"a": "b"}, "serviceTier": "flex", "store": True, "model": "m", "x": None}
    assert gemini.conversation(gemini.asked(**more)).request.ignored == [
        "safetySettings",
        "labels",
        "serviceTier",
        "store",
    ]


def test_a_count_reads_either_form(gemini):
    whole = gemini.asked(systemInstruction={"parts": {"text": "s"}}, model="models/m", labels={"a": "b"})
    for body in ({"generateContentRequest": whole}, whole):
        request = gemini.conversation(body, counting=True).request
        assert request.body["system"] == [{"type": "text", "text": "s"}]
    assert gemini.conversation({"generateContentRequest": whole}, counting=True).request.ignored == [
        "generateContentRequest.labels"
    ]
    assert json.loads(gemini.conversation(whole, counting=True).counted(17)) == {"totalTokens": 17}


# Whatever comes

_KEYS = st.sampled_from(
    [
        *("contents", "parts", "role", "text", "thought", "thoughtSignature", "functionCall", "functionResponse"),
        *("name", "id", "args", "response", "inlineData", "fileData", "mimeType", "data", "fileUri", "tools"),
        *("functionDeclarations", "parameters", "parametersJsonSchema", "type", "properties", "items", "anyOf"),
        *("generationConfig", "thinkingConfig", "thinkingBudget", "thinkingLevel", "responseSchema", "candidateCount"),
        *("toolConfig", "functionCallingConfig", "mode", "allowedFunctionNames", "systemInstruction", "stopSequences"),
        *("generateContentRequest", "responseModalities", "maxOutputTokens", "system_instruction", "nullable", "x"),
    ]
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["user", "model", "f", "image/png", "aGk=", "https://a.example/a.png", "ANY", "OBJECT", "é\x00", ""]
    )
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=30,
)


def survives(raw, counting):
    try:
        head = DIALECT.head(raw, "m", streamed=False, counting=counting, sse=True)
        DIALECT.forwarded(head, raw, "n")
        DIALECT.read(head, raw, Birth("req_0", 0))
    except ProblemError as error:
        assert error.problem.status == 400  # noqa: PT017 -- either outcome is right


@settings(max_examples=examples(60))
@given(st.dictionaries(_KEYS, _VALUES, max_size=8), st.booleans())
def test_nothing_but_a_problem_comes_of_any_json(document, counting):
    survives(json.dumps(document).encode(), counting)


@settings(max_examples=examples(40))
@given(st.lists(st.dictionaries(_KEYS, _VALUES, max_size=4), max_size=4), st.booleans())
def test_nothing_but_a_problem_comes_of_any_parts(parts, model):
    contents = [{"role": "model" if model else "user", "parts": parts}]
    survives(json.dumps({"contents": contents}).encode(), counting=False)


@settings(max_examples=examples(40))
@given(st.binary(max_size=60), st.booleans())
def test_nothing_but_a_problem_comes_of_any_bytes(raw, counting):
    survives(raw, counting)


@pytest.mark.parametrize("depth", [50, 400, 900, 990, 2000])
@pytest.mark.parametrize(
    "where",
    [
        '{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"responseSchema":%s}}',
        '{"contents":[{"parts":[{"text":"a"}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":%s}]}]}',
        (
            '{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":%s}}]},'
            '{"parts":[{"functionResponse":{"name":"f","response":%s}}]}]}'
        ),
    ],
)
def test_deep_nesting(where, depth):
    deep = '{"items":' * depth + "{}" + "}" * depth
    survives((where.replace("%s", deep)).encode(), counting=False)


def test_lone_surrogates():
    survives(b'{"contents":[{"parts":[{"text":"\\ud800"}]}]}', counting=False)


@pytest.mark.parametrize(
    ("provider", "model", "config", "told"),
    [
        ("Anthropic", "claude-haiku-4-5", {"temperature": 2}, ["generationConfig.temperature=1"]),
        ("Anthropic", "claude-haiku-4-5", {"maxOutputTokens": 9000}, ["generationConfig.maxOutputTokens=8000"]),
        ("Anthropic", "claude-haiku-4-5", {"seed": 5}, ["generationConfig.seed"]),
        (
            "Anthropic",
            "claude-haiku-4-5",
            {"stopSequences": [" "]},
            ["generationConfig.stopSequences (white space only)"],
        ),
        (
            "Anthropic",
            "claude-haiku-4-5",
            {"thinkingConfig": {"thinkingLevel": "HIGH"}, "maxOutputTokens": 5},
            ["generationConfig.thinkingConfig"],
        ),
        ("OpenAI", "gpt-5-mini", {"topK": 5}, ["generationConfig.topK"]),
    ],
)
def test_what_an_account_cannot_be_told_is_named_as_google_names_it(gemini, provider, model, config, told):
    conversation = gemini.conversation(gemini.asked(generationConfig=config))
    wire, to = wire_for(provider, "generate", model), Addressee(provider, model, 8000)
    assert TranslatedPassage(conversation, wire, to, streamed=False, counting=False).ignored == told


def test_one_of_some_values_is_asked_for_in_words(gemini):
    config = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["red", 'b"']}}
    body = gemini.asked(generationConfig=config, systemInstruction={"parts": [{"text": "look"}]})
    request = gemini.conversation(body).request
    first, last = request.body["system"]
    assert first["text"] == "look"
    assert last["text"].endswith('unquoted: "red", "b\\""')
    assert "output_config" not in request.body
    assert request.ignored == ["generationConfig.responseMimeType (only asked for in words)"]


@pytest.mark.parametrize("schema", [None, {"type": "STRING"}, {"enum": []}, {"enum": [1]}])
def test_an_enum_without_values_is_refused(gemini, schema):
    config = {"responseMimeType": "text/x.enum"} | ({} if schema is None else {"responseSchema": schema})
    with pytest.raises(ProblemError) as refusal:
        gemini.conversation(gemini.asked(generationConfig=config))
    assert refusal.value.problem.message.startswith("generationConfig.responseMimeType: ")


def test_what_says_nothing_is_not_listed(gemini):
    assert gemini.conversation(gemini.asked(safetySettings=[], labels={}, store=False)).request.ignored == []
