"""What an answer consists of."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.behaviour import Behaviour
from penstock_simulator.gemini.check import check
from penstock_simulator.gemini.message import compose
from penstock_simulator.gemini.messages import GENERATE
from penstock_simulator.gemini.models import Models
from penstock_simulator.gemini.proto import read
from penstock_simulator.gemini.signature import known
from penstock_simulator.text import tokens

FLASH, LITE, THIRD = "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-3-pro-preview"
WEATHER = {"name": "weather", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}}
FUNCTIONS = {"tools": [{"functionDeclarations": [WEATHER, {"name": "clock"}]}]}
ANSWER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def made(how=None, model=FLASH, seed=5, **fields):
    document = {"contents": [{"parts": [{"text": "hi"}]}], **fields}
    checked = check(read(GENERATE, document), Models().find(model))
    return compose(checked, how or Behaviour(), identity="id", seed=seed, default_tokens=10)


def config(**fields):
    return {"generationConfig": fields}


def mode(name, **fields):
    return FUNCTIONS | {"toolConfig": {"functionCallingConfig": {"mode": name, **fields}}}


def shape(message):
    return [(part.kind, part.name or part.text) for part in message.parts]


def test_text_is_the_same_for_the_same_seed():
    assert made(seed=5).parts == made(seed=5).parts != made(seed=6).parts
    assert made(Behaviour(tokens=7)).candidates_tokens == 7


@pytest.mark.parametrize(
    ("model", "thinking", "how", "thoughts", "shown"),
    [
        (FLASH, {}, Behaviour(), 32, False),
        (FLASH, {"includeThoughts": True}, Behaviour(), 32, True),
        (FLASH, {"includeThoughts": True}, Behaviour(thinking=0), 0, False),
        (FLASH, {"thinkingBudget": 0}, Behaviour(thinking=9), 0, False),
        (FLASH, {"thinkingBudget": 5}, Behaviour(), 5, False),
        (FLASH, {"thinkingBudget": -1}, Behaviour(thinking=99), 99, False),
        (LITE, {}, Behaviour(), 0, False),
        (LITE, {"thinkingBudget": -1, "includeThoughts": True}, Behaviour(), 32, True),
        ("gemini-2.0-flash", {}, Behaviour(thinking=9), 0, False),
        (THIRD, {"thinkingLevel": "LOW", "includeThoughts": True}, Behaviour(), 32, True),
        ("gemini-3-flash-preview", {"thinkingLevel": "MINIMAL"}, Behaviour(), 0, False),
    ],
)
def test_thinking(model, thinking, how, thoughts, shown):
    message = made(how, model, **config(thinkingConfig=thinking))
    assert message.thoughts_tokens == thoughts
    assert [part.kind for part in message.parts] == (["thought"] if shown else []) + ["text"]
    assert tokens(sum(len(part.text) for part in message.parts if part.kind == "thought")) == (thoughts if shown else 0)


@given(st.integers(1, 60), st.integers(-1, 80), st.integers(-1, 80))
def test_output_never_exceeds_its_limit(most, said, thought):
    how = Behaviour(tokens=said, thinking=thought)
    message = made(how, **config(maxOutputTokens=most, thinkingConfig={"includeThoughts": True}))
    assert message.candidates_tokens + message.thoughts_tokens <= most
    cut = message.candidates_tokens + message.thoughts_tokens == most
    assert (message.finish_reason == "STOP") or cut


def test_thinking_may_leave_no_room_for_words():
    message = made(**config(maxOutputTokens=20))
    assert (message.parts, message.finish_reason, message.thoughts_tokens) == ([], "MAX_TOKENS", 20)


@pytest.mark.parametrize(
    ("how", "fields", "names"),
    [
        (Behaviour(), FUNCTIONS, []),
        (Behaviour(tool="*"), FUNCTIONS, ["weather"]),
        (Behaviour(tool="clock", tools=2), FUNCTIONS, ["clock", "clock"]),
        (Behaviour(tool_bytes=9), FUNCTIONS, ["weather"]),
        (Behaviour(), mode("ANY"), ["weather"]),
        (Behaviour(), mode("ANY", allowedFunctionNames=["clock"]), ["clock"]),
        (Behaviour(tool="weather"), mode("ANY", allowedFunctionNames=["clock"]), ["clock"]),
        (Behaviour(), mode("VALIDATED"), []),
        (Behaviour(tool="*"), mode("VALIDATED"), ["weather"]),
        (Behaviour(tool="*"), mode("NONE"), []),
    ],
)
def test_which_functions_are_called(how, fields, names):
    message = made(how, **fields)
    assert [part.name for part in message.parts if part.kind == "call"] == names
    assert message.finish_reason == "STOP"


def test_functions_are_not_called_again_in_the_turn_that_brings_results():
    call = {"functionCall": {"name": "weather"}}
    result = {"functionResponse": {"name": "weather", "response": {}}}
    turns = [{"parts": [{"text": "hi"}]}, {"role": "model", "parts": [call]}, {"parts": [result]}]
    assert [part.kind for part in made(Behaviour(tool="*"), contents=turns, **FUNCTIONS).parts] == ["text"]
    assert [part.kind for part in made(contents=turns, **mode("ANY")).parts] == ["call"]
    later = [*turns, {"role": "model", "parts": [{"text": "ok"}]}, {"parts": [{"text": "again"}]}]
    assert [part.kind for part in made(Behaviour(tool="*"), contents=later, **FUNCTIONS).parts] == ["call"]


def test_arguments():
    assert set(json.loads(made(Behaviour(tool="weather"), **FUNCTIONS).parts[0].text)) == {"city"}
    assert json.loads(made(Behaviour(tool="clock"), **FUNCTIONS).parts[0].text) == {}
    assert len(json.loads(made(Behaviour(tool_bytes=999), **FUNCTIONS).parts[0].text)["city"]) == 999
    exact = made(Behaviour(tool="*", tool_input='{"city": "Bern"}'), **FUNCTIONS)
    assert exact.parts[0].text == '{"city": "Bern"}'
    odd = {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"anyOf": [{"type": "null"}]}}]}]}
    assert made(Behaviour(tool="*"), **odd).parts[0].text == "{}"
    small = made(Behaviour(tool_bytes=999, thinking=0), **FUNCTIONS, **config(maxOutputTokens=2))
    assert small.parts[0].text == "{}"
    short = made(
        Behaviour(tool="*", tools=9, tool_input='{"a":1}', thinking=0), **FUNCTIONS, **config(maxOutputTokens=4)
    )
    assert ([part.text for part in short.parts], short.finish_reason) == (['{"a":1}', '{"a":1}', "{}"], "MAX_TOKENS")


@pytest.mark.parametrize(
    ("model", "fields", "signed", "ids"),
    [
        (FLASH, {}, [True, False], False),
        (FLASH, config(thinkingConfig={"thinkingBudget": 0}), [False, False], False),
        ("gemini-2.0-flash", {}, [False, False], False),
        (THIRD, {}, [True, False], True),
    ],
)
def test_signatures_and_ids_of_calls(model, fields, signed, ids):
    message = made(Behaviour(tool="*", tools=2), model, **FUNCTIONS, **fields)
    assert [bool(part.signature) for part in message.parts] == signed
    assert all(known(base64.b64decode(part.signature)) for part in message.parts if part.signature)
    assert [bool(part.id) for part in message.parts] == [ids, ids]
    assert len({part.id for part in message.parts}) == (2 if ids else 1)


def test_text_is_signed_by_the_third_generation_only():
    assert known(base64.b64decode(made(model=THIRD).closing_signature))
    assert not made().closing_signature
    assert not made(Behaviour(tokens=0), THIRD).closing_signature


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"responseMimeType": "application/json", "responseJsonSchema": ANSWER}, {"n": 5}),
        (
            {"responseMimeType": "application/json", "responseSchema": {"type": "ARRAY", "items": {"type": "INTEGER"}}},
            [5],
        ),
        (
            {
                "responseMimeType": "application/json",
                "responseSchema": {"anyOf": [{"type": "INTEGER", "minimum": 7, "maximum": 7}, {"type": "STRING"}]},
            },
            7,
        ),
        (
            {
                "responseMimeType": "application/json",
                "responseSchema": {"type": "OBJECT", "properties": {"t": {"type": "STRING", "format": "date-time"}}},
            },
            {"t": "2026-01-31T12:00:00Z"},
        ),
    ],
)
def test_structured_output(fields, said):
    assert json.loads(made(**config(**fields)).parts[0].text) == said


def test_structured_output_without_a_schema_is_json_and_an_enum_is_bare():
    assert isinstance(json.loads(made(**config(responseMimeType="application/json")).parts[0].text), dict)
    colour = {"type": "STRING", "enum": ["red", "blue"]}
    assert made(**config(responseMimeType="text/x.enum", responseSchema=colour)).parts[0].text == "blue"
    assert made(Behaviour(say="so"), **config(responseMimeType="application/json")).parts[0].text == "so"


def test_stop_sequences():
    message = made(Behaviour(say="one two three"), **config(stopSequences=["three", " two"]))
    assert (shape(message), message.finish_reason) == ([("text", "one")], "STOP")


@pytest.mark.parametrize(
    ("stop", "reason"),
    [("SAFETY", "SAFETY"), ("max_tokens", "MAX_TOKENS"), ("end_turn", "STOP"), ("refusal", "SAFETY"), ("spii", "SPII")],
)
def test_finish_reasons_on_demand(stop, reason):
    assert made(Behaviour(stop=stop)).finish_reason == reason


def test_a_malformed_call_leaves_nothing():
    message = made(Behaviour(stop="MALFORMED_FUNCTION_CALL"), THIRD)
    assert (message.parts, message.closing_signature) == ([], "")


def test_a_blocked_prompt_has_no_answer():
    message = made(Behaviour(stop="blocked"))
    assert (message.blocked, message.parts, message.thoughts_tokens) == ("PROHIBITED_CONTENT", [], 0)
    assert made(Behaviour(stop="blocked:safety")).blocked == "SAFETY"


PAINTER, THIRD_PAINTER = "gemini-2.5-flash-image", "gemini-3-pro-image"


def test_a_model_that_makes_images_makes_one_beside_its_words():
    message = made(Behaviour(say="Here."), PAINTER)
    assert [part.kind for part in message.parts] == ["text", "image"]
    assert message.candidates_tokens == tokens(len("Here.")) + 1290
    assert base64.b64decode(message.parts[1].text).startswith(b"\x89PNG")
    assert not message.parts[1].signature
    third = made(Behaviour(say="Here.", thinking=0), THIRD_PAINTER)
    assert known(base64.b64decode(third.parts[-1].signature))


@pytest.mark.parametrize(
    ("modalities", "kinds"),
    [
        ([], ["text", "image"]),
        (["MODALITY_UNSPECIFIED"], ["text", "image"]),
        (["TEXT", "IMAGE"], ["text", "image"]),
        (["IMAGE"], ["image"]),
        (["TEXT"], ["text"]),
    ],
)
def test_what_it_makes_is_what_was_asked_for(modalities, kinds):
    message = made(Behaviour(say="Here."), PAINTER, **config(responseModalities=modalities))
    assert [part.kind for part in message.parts] == kinds


@pytest.mark.parametrize(
    ("room", "reason", "kinds"), [(1292, "STOP", ["text", "image"]), (1291, "MAX_TOKENS", ["text"])]
)
def test_an_image_needs_room(room, reason, kinds):
    message = made(Behaviour(say="12345"), PAINTER, **config(maxOutputTokens=room))
    assert (message.finish_reason, [part.kind for part in message.parts]) == (reason, kinds)
    assert message.candidates_tokens <= room


def test_an_image_is_as_large_as_it_is_told_to_be():
    small, large = (
        base64.b64decode(made(Behaviour(image_bytes=size), PAINTER).parts[-1].text) for size in (0, 1_000_000)
    )
    assert len(small) < 100
    assert len(large) == 1_000_000
