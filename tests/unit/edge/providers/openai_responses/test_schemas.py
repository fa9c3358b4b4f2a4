"""What OpenAI demands of JSON schemas."""

from __future__ import annotations

import pytest

from penstock_edge.providers.openai_responses.schemas import completed, is_strict

CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({**CLOSED, "$defs": {"b": CLOSED}, "description": "x"}, True),
        ({**CLOSED, "properties": {"a": {"anyOf": [CLOSED, {"type": "null"}]}}}, True),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": CLOSED}}}, True),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": {"type": "object"}}}}, False),
        ({**CLOSED, "properties": {"a": {"type": ["object", "null"]}}}, False),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "required": "a"}, False),
        ({**CLOSED, "additionalProperties": True}, False),
        ({**CLOSED, "properties": {"a": {"oneOf": []}}}, False),
        ({**CLOSED, "properties": 5}, False),
        ({**CLOSED, "anyOf": [CLOSED]}, False),
        ({**CLOSED, "$defs": [1]}, False),
        ({"type": "object"}, False),
        ({"type": "string"}, False),
        (5, False),
    ],
)
def test_strictness(schema, strict):
    assert is_strict(schema) is strict


def test_a_schema_that_names_very_many():
    names = [f"p{number}" for number in range(30_000)]
    schema = {**CLOSED, "properties": {name: {} for name in names}, "required": [5, [], *names]}
    assert is_strict(schema)
    assert not is_strict({**schema, "required": names[1:]})


def test_lists_say_what_is_in_them():
    bare = {"type": "object", "properties": {"a": {"type": "array"}, "b": {"anyOf": [{"type": ["array", "null"]}]}}}
    assert completed(bare)["properties"] == {
        "a": {"type": "array", "items": {}},
        "b": {"anyOf": [{"type": ["array", "null"], "items": {}}]},
    }
    assert bare["properties"]["a"] == {"type": "array"}


@pytest.mark.parametrize(
    "schema",
    [
        CLOSED,
        {"type": "array", "items": {"type": "string"}},
        {"enum": [{"type": "array"}], "default": {"type": "array"}},
        {"properties": {"type": 5}, "type": 5},
        True,
        5,
    ],
)
def test_a_schema_that_lacks_nothing_is_not_touched(schema):
    assert completed(schema) is schema
