"""Schemas that Claude is to keep to."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.providers.claude_schemas import enforced, is_open


def written(schema):
    before, in_words = copy.deepcopy(schema), set()
    kept = enforced(schema, in_words)
    assert schema == before, "the request is for the next account too"
    return kept, in_words


@pytest.mark.parametrize(
    ("schema", "kept", "in_words"),
    [
        (
            {"type": "object", "properties": {"a": {"type": "object"}}, "required": ["a"]},
            {
                "type": "object",
                "properties": {"a": {"type": "object", "additionalProperties": False}},
                "required": ["a"],
                "additionalProperties": False,
            },
            set(),
        ),
        (
            {"type": ["object", "null"], "properties": {"a": {"type": ["string", "null"]}}},
            {
                "type": ["object", "null"],
                "properties": {"a": {"type": ["string", "null"]}},
                "additionalProperties": False,
            },
            set(),
        ),
        (
            {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
            {
                "type": "object",
                "properties": {"a": {}},
                "additionalProperties": False,
                "description": "additionalProperties: true",
            },
            {"additionalProperties"},
        ),
        (
            {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "string"}},
            {
                "type": "object",
                "properties": {"a": {}},
                "additionalProperties": False,
                "description": 'additionalProperties: {"type":"string"}',
            },
            {"additionalProperties"},
        ),
        *(
            (
                {"type": "object", "additionalProperties": open_},
                {"type": "object", "additionalProperties": open_},
                set(),
            )
            for open_ in (True, {"type": "string"})
        ),
        (
            {"type": "integer", "minimum": 1, "maximum": 10, "description": "How many"},
            {"type": "integer", "description": "How many (minimum: 1, maximum: 10)"},
            {"minimum", "maximum"},
        ),
        (
            {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 2, "default": [{"minimum": 1}]},
            {
                "type": "array",
                "items": {"type": "string", "description": "maxLength: 3"},
                "default": [{"minimum": 1}],
                "description": "minItems: 2",
            },
            {"maxLength", "minItems"},
        ),
        ({"type": "array", "minItems": 1}, {"type": "array", "minItems": 1}, set()),
        ({"type": "string", "format": "uuid"}, {"type": "string", "format": "uuid"}, set()),
        ({"type": "string", "format": "ssn"}, {"type": "string", "description": 'format: "ssn"'}, {"format"}),
        ({"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "^a"}, set()),
        (
            {"oneOf": [{"type": "null"}, {"type": "number", "multipleOf": 2}]},
            {"anyOf": [{"type": "null"}, {"type": "number", "description": "multipleOf: 2"}]},
            {"multipleOf"},
        ),
        (
            {"properties": {"minimum": {"type": "number"}, "enum": {"type": "object"}}, "enum": [{"minimum": 3}]},
            {
                "properties": {
                    "minimum": {"type": "number"},
                    "enum": {"type": "object", "additionalProperties": False},
                },
                "enum": [{"minimum": 3}],
            },
            set(),
        ),
        (
            {"$ref": "#/$defs/x", "$defs": {"x": {"type": "object", "maxProperties": 2}}},
            {
                "$ref": "#/$defs/x",
                "$defs": {"x": {"type": "object", "additionalProperties": False, "description": "maxProperties: 2"}},
            },
            {"maxProperties"},
        ),
    ],
)
def test_what_cannot_be_enforced_is_asked_for_in_words(schema, kept, in_words):
    assert written(schema) == (kept, in_words)


MAP = {"type": "object", "additionalProperties": {"type": "string"}}


@pytest.mark.parametrize(
    ("schema", "open_"),
    [
        (MAP, True),
        ({"type": ["object", "null"], "additionalProperties": True}, True),
        ({"type": "object", "properties": {"a": {"type": "array", "items": MAP}}}, True),
        ({"type": "object", "$defs": {"enum": MAP}}, True),
        ({"type": "object", "properties": {"a": {"anyOf": [{"type": "null"}, MAP]}}}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": MAP}, False),
        ({"type": "object", "properties": {"a": {"enum": [MAP], "default": MAP}}}, False),
        ({"type": "string"}, False),
    ],
)
def test_objects_that_may_have_members_of_any_name(schema, open_):
    assert is_open(written(schema)[0]) is open_


KEYWORDS = st.sampled_from(["type", "properties", "items", "anyOf", "oneOf", "minimum", "minItems", "format", "enum"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just("object"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS | st.text(max_size=2), inner, max_size=4),
)


@given(JSON)
def test_any_json_is_a_schema_here(schema):
    is_open(written(schema)[0])
