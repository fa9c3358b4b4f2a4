"""How Google reads JSON into a message."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.gemini.messages import BATCH_EMBED, COUNT, GENERATE
from penstock_simulator.gemini.proto import Message, Scalar, camel, read, unbase64
from penstock_simulator.refusal import RefusalError

PACKAGE = "type.googleapis.com/google.ai.generativelanguage.v1beta."
FUNCTION = "tools[0].function_declarations[0]"


def part(**fields):
    return {"contents": [{"parts": [fields]}]}


def declared(**fields):
    return {"tools": [{"functionDeclarations": [{"name": "f", **fields}]}]}


def unknown(name, at="", words="Cannot find field."):
    where = f" at '{at}'" if at else ""
    return f'Invalid JSON payload received. Unknown name "{name}"{where}: {words}'


def bad(path, kind, value):
    return f"Invalid value at '{path}' ({kind}), {value}"


REFUSED = [
    ({"x": 1}, [unknown("x")]),
    ({"labels": {"a": "b"}}, [unknown("labels")]),
    ({"messages": [], "stream": True}, [unknown("messages"), unknown("stream")]),
    ({"contents": [{"parts": [], "name": "n"}]}, [unknown("name", "contents[0]")]),
    (part(text="t", type="text"), [unknown("type", "contents[0].parts[0]")]),
    (part(functionCall={"name": "f", "arguments": {}}), [unknown("arguments", "contents[0].parts[0].function_call")]),
    ({"generationConfig": {"max_tokens": 1}}, [unknown("max_tokens", "generation_config")]),
    ({"generationConfig": {"audioTimestamp": True}}, [unknown("audioTimestamp", "generation_config")]),
    # schemas
    (declared(parameters={"$schema": "s"}), [unknown("$schema", f"{FUNCTION}.parameters")]),
    (declared(parameters={"additionalProperties": False}), [unknown("additionalProperties", f"{FUNCTION}.parameters")]),
    (declared(parameters={"$defs": {}, "$ref": "#"}), [unknown(x, f"{FUNCTION}.parameters") for x in ("$defs", "$ref")]),
    (
        declared(parameters={"properties": {"a": {}, "b": {"anyOf": [{"const": 1}]}}}),
        [unknown("const", f"{FUNCTION}.parameters.properties[1].value.any_of[0]")],
    ),
    (
        declared(parameters={"type": ["string", "null"]}),
        [unknown("type", f"{FUNCTION}.parameters", "Proto field is not repeating, cannot start list.")],
    ),
    (declared(parameters={"enum": [1]}), [bad(f"{FUNCTION}.parameters.enum[0]", "TYPE_STRING", 1)]),
    # types
    ([], ['Invalid JSON payload received. Unknown name "": Root element must be a message.']),
    ({"contents": "hi"}, [bad("contents", f"{PACKAGE}Content", '"hi"')]),
    ({"contents": ["hi"]}, [bad("contents[0]", f"{PACKAGE}Content", '"hi"')]),
    ({"contents": [["hi"]]}, [bad("contents[0]", f"{PACKAGE}Content", '["hi"]')]),
    (declared(parameters={"properties": []}), [bad(f"{FUNCTION}.parameters.properties", "Map", "[]")]),
    ({"systemInstruction": "s"}, [bad("system_instruction", f"{PACKAGE}Content", '"s"')]),
    (part(text=5), [bad("contents[0].parts[0].text", "TYPE_STRING", 5)]),
    (
        part(text={}),
        [unknown("text", "contents[0].parts[0]", "Starting an object on a scalar field.")],
    ),
    (part(functionResponse={"name": "f", "response": "ok"}),
     [bad("contents[0].parts[0].function_response.response", "type.googleapis.com/google.protobuf.Struct", '"ok"')]),
    ({"generationConfig": {"maxOutputTokens": "many"}}, [bad("generation_config.max_output_tokens", "TYPE_INT32", '"many"')]),
    ({"generationConfig": {"maxOutputTokens": 1.5}}, [bad("generation_config.max_output_tokens", "TYPE_INT32", 1.5)]),
    ({"generationConfig": {"seed": 2**31}}, [bad("generation_config.seed", "TYPE_INT32", 2**31)]),
    ({"generationConfig": {"temperature": True}}, [bad("generation_config.temperature", "TYPE_FLOAT", "true")]),
    (
        {"toolConfig": {"functionCallingConfig": {"mode": "SOME"}}},
        [bad("tool_config.function_calling_config.mode", f"{PACKAGE}FunctionCallingConfig.Mode", '"SOME"')],
    ),
    (
        {"safetySettings": [{"category": "HARM_CATEGORY_X"}]},
        [bad("safety_settings[0].category", f"{PACKAGE}HarmCategory", '"HARM_CATEGORY_X"')],
    ),
    (
        part(inlineData={"mimeType": "image/png", "data": "?"}),
        ["Invalid value at 'contents[0].parts[0].inline_data.data' (TYPE_BYTES), Base64 decoding failed for \"?\""],
    ),
    (
        part(text="t", inlineData={}),
        [bad("contents[0].parts[0]", "oneof", "oneof field 'data' is already set. Cannot set 'inlineData'")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("document", "words"), REFUSED)
def test_what_it_cannot_be_is_told_with_its_place(document, words):
    with pytest.raises(RefusalError) as caught:
        read(GENERATE, document)
    refusal = caught.value
    assert (refusal.status, refusal.kind, refusal.message.split("\n")) == (400, "INVALID_ARGUMENT", words)
    (details,) = refusal.details
    assert details["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert [one["description"] for one in details["fieldViolations"]] == words
    for one in details["fieldViolations"]:
        assert ("field" in one) == (" at '" in one["description"])


def test_everything_wrong_is_told_at_once():
    with pytest.raises(RefusalError) as caught:
        read(GENERATE, {"a": 1, "contents": [{"b": 2, "parts": [{"c": 3}, {"text": 4}]}]})
    assert len(caught.value.message.split("\n")) == len(caught.value.details[0]["fieldViolations"]) == 4


@pytest.mark.parametrize(
    ("document", "result"),
    [
        ({}, {}),
        ({"contents": None, "cachedContent": None}, {}),
        # a value that stands alone is a list of one
        ({"contents": {"parts": {"text": "t"}}}, {"contents": [{"parts": [{"text": "t"}]}]}),
        # numbers may be texts, enums in any case
        ({"generationConfig": {"maxOutputTokens": "5", "topK": 4.0, "temperature": "0.5"}},
         {"generation_config": {"max_output_tokens": 5, "top_k": 4, "temperature": 0.5}}),
        (declared(parameters={"type": "object", "minItems": "2"}),
         {"tools": [{"function_declarations": [{"name": "f", "parameters": {"type": "OBJECT", "min_items": 2}}]}]}),
        # null is a value only where any value may be
        (declared(parametersJsonSchema=None, parameters=None),
         {"tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": None}]}]}),
        # what is free inside keeps its names
        (declared(parametersJsonSchema={"minItems": 1, "$defs": {}}),
         {"tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": {"minItems": 1, "$defs": {}}}]}]}),
        (part(functionCall={"name": "f", "args": {"maxTokens": 1}}),
         {"contents": [{"parts": [{"function_call": {"name": "f", "args": {"maxTokens": 1}}}]}]}),
        (part(text="", thoughtSignature="_-8"), {"contents": [{"parts": [{"text": "", "thought_signature": b"\xff\xef"}]}]}),
        ({"tools": [{"googleSearch": {}}, {"code_execution": {}}]}, {"tools": [{"google_search": {}}, {"code_execution": {}}]}),
    ],
)  # fmt: skip
def test_what_it_reads(document, result):
    assert read(GENERATE, document) == result


def test_a_schema_without_end_is_refused():
    schema = {"type": "OBJECT"}
    for _ in range(2000):
        schema = {"type": "ARRAY", "items": schema}
    with pytest.raises(RefusalError, match="Message too deep"):
        read(GENERATE, declared(parameters=schema))


def written(message, spell):
    """A document that sets every field of a message, in a spelling."""
    found = {one.name: one for one in message.fields.values()}
    taken, result = set(), {}
    for name, one in found.items():
        if one.oneof in taken - {""}:
            continue
        taken.add(one.oneof)
        result[spell(name)] = value_of(one, spell)
    return result


def value_of(one, spell):
    if isinstance(one.kind, Message):
        value = {} if one.kind.name == "Schema" else written(one.kind, spell)
    elif isinstance(one.kind, Scalar):
        value = {"TYPE_STRING": "s", "TYPE_BOOL": True, "TYPE_BYTES": "AAAA"}.get(one.kind.value, 1)
        value = {"n": 1} if one.kind is Scalar.STRUCT else value
    else:
        value = min(one.kind.values)
    return [value] if one.repeated else {"k": value} if one.mapped else value


@pytest.mark.parametrize("message", [GENERATE, COUNT, BATCH_EMBED], ids=lambda message: message.name)
def test_either_spelling_of_every_name(message):
    snake, other = written(message, str), written(message, camel)
    assert snake != other
    assert read(message, snake) == read(message, other)


@given(st.binary(), st.booleans(), st.booleans())
def test_base64_of_either_alphabet(data, urlsafe, padded):
    text = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(data).decode()
    assert unbase64(text if padded else text.rstrip("=")) == data


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
keys = st.sampled_from([*sorted(GENERATE.fields), "parts", "text", "items"])


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner)))
def test_nothing_breaks_the_reader(document):
    with contextlib.suppress(RefusalError):
        assert isinstance(read(GENERATE, document), dict)
