"""Schemas that the real API refuses, with its words."""

import pytest

from penstock_simulator.openai.schema import SchemaError, check_schema


def one(inner, **more):
    return {"type": "object", "properties": {"a": inner}, **more}


def strict(inner, **more):
    return one(inner, **{"required": ["a"], "additionalProperties": False} | more)


LEAF = {"type": "string"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {}},
        one(LEAF),
        one({"type": "object"}),
        one({}),
        one(True),
        one({"type": ["string", "null"]}),
        one({"type": "array", "items": LEAF}),
        one({"anyOf": [LEAF, {"type": "null"}]}),
        one({"$ref": "#/$defs/b"}, **{"$defs": {"b": LEAF}}),
        one(LEAF, **{"$schema": "http://json-schema.org/draft-07/schema#"}),
    ],
)
def test_schemas_that_are_fine(schema):
    check_schema(schema, strict=False)


@pytest.mark.parametrize(
    "schema",
    [
        strict(LEAF),
        strict({"type": "array", "items": strict(LEAF)}),
        strict({"anyOf": [LEAF, {"type": "null"}]}),
        strict({"enum": [1, 2]}),
        strict({"$ref": "#"}),
        {"type": "object", "properties": {}, "additionalProperties": False},
    ],
)
def test_strict_schemas_that_are_fine(schema):
    check_schema(schema, strict=True)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("text", "is not of type 'object'"),
        ({}, "got 'type: \"None\"'"),
        ({"type": "string"}, "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"string\"'."),
        ({"type": "object"}, r"In context=\(\), object schema missing properties."),
        (one(LEAF, anyOf=[LEAF]), "not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level"),
        (one({"type": "array"}), r"In context=\('properties', 'a'\), array schema missing items."),
        (one({"type": ["array", "null"]}), "array schema missing items"),
        (one({"type": "text"}), "'text' is not valid under any of the given schemas"),
        (one({"type": {}}), "is not valid under any of the given schemas"),
        (one("text"), "'text' is not of type 'object', 'boolean'"),
        (one(LEAF, required="a"), "'a' is not of type 'array'"),
        (one({"type": "object", "properties": []}), r"\[\] is not of type 'object'"),
        (one({"enum": []}), "is not of type 'array' or is too short"),
        (one({"anyOf": 3}), "is not of type 'array' or is too short"),
        (one({"$ref": "#/$defs/b"}), "reference can only point to definitions"),
        (one({"type": "array", "items": {"type": "array"}}), r"\('properties', 'a', 'items'\), array schema missing"),
    ],
)
def test_schemas_that_are_refused(schema, words):
    with pytest.raises(SchemaError, match=words):
        check_schema(schema, strict=False)


DEEP = LEAF
for _ in range(11):
    DEEP = strict(DEEP)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (one(LEAF), r"In context=\(\), 'additionalProperties' is required to be supplied and to be false."),
        (strict(LEAF, additionalProperties=True), "'additionalProperties' is required"),
        (strict(LEAF, required=...), "including every key in properties. Missing 'a'."),
        (strict(LEAF, required=[]), "Missing 'a'"),
        (strict(LEAF, required=["a", "b"]), "Extra required key 'b' supplied"),
        (strict(one(LEAF)), r"In context=\('properties', 'a'\), 'additionalProperties'"),
        (strict({"description": "any"}), "schema must have a 'type' key"),
        (strict({**LEAF, "default": "x"}), "'default' is not permitted"),
        (strict({"allOf": [LEAF]}), "'allOf' is not permitted"),
        (strict({"oneOf": [LEAF]}), "'oneOf' is not permitted"),
        (strict(True), "is not of type 'object'"),
        (DEEP, "nesting depth"),
    ],
)
def test_strict_schemas_that_are_refused(schema, words):
    schema = {name: value for name, value in schema.items() if value is not ...}
    with pytest.raises(SchemaError, match=words):
        check_schema(schema, strict=True)


def test_too_many_properties():
    names = [f"p{index}" for index in range(5_001)]
    schema = {
        "type": "object",
        "properties": dict.fromkeys(names, LEAF),
        "required": names,
        "additionalProperties": False,
    }
    with pytest.raises(SchemaError, match="limit of 5000 properties"):
        check_schema(schema, strict=True)
