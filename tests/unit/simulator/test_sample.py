import pytest

from penstock_simulator.sample import sample


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}}}, {"a": True, "b": None}),
        ({"type": "array", "items": {"const": 3}, "minItems": 2}, [3, 3]),
        ({"type": "integer", "minimum": 7}, 7),
        ({"type": "number"}, 0.5),
        ({"enum": ["x", "y"]}, "x"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 0),
        ({"type": ["string", "null"]}, "value 0"),
        ({"type": "string"}, "value 0"),
        (None, "value"),
        ({"type": "string", "minLength": 9}, "value 0xx"),
        ({"type": "string", "maxLength": 3}, "val"),
        ({"type": "string", "format": "date"}, "2026-01-31"),
        ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
        ({"type": "integer", "exclusiveMinimum": 2, "maximum": 3}, 3),
        ({"type": "integer", "maximum": -7}, -7),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.1}, 0.1 - 1e-6),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 0}, []),
        ({"type": "array", "items": {"const": 1}, "minItems": 10**9}, [1] * 10_000),
        ({"properties": {"a": {"const": 1}}}, {"a": 1}),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 2}}}, 2),
        (
            {"allOf": [{"properties": {"a": {"const": 1}}}, {"type": "object", "properties": {"b": {"const": 2}}}]},
            {"b": 2, "a": 1},
        ),
        ({"type": "object", "properties": 3, "enum": 4, "required": 5}, {}),
        ({"allOf": [{"$ref": "#"}]}, "value 0"),
    ],
)
def test_sample(schema, value):
    assert sample(schema) == value


def depth(value):
    return 1 + max((depth(inner) for inner in value.values()), default=0) if isinstance(value, dict) else 0


@pytest.mark.parametrize("last", [{"type": "null"}, {"enum": ["end"]}])
def test_a_strict_schema_within_itself_ends_as_it_allows(last):
    node = {
        "type": "object",
        "properties": {"left": {"$ref": "#/$defs/next"}, "right": {"$ref": "#/$defs/next"}, "name": {"type": "string"}},
        "required": ["left", "right", "name"],
        "additionalProperties": False,
        "$defs": {"next": {"anyOf": [{"$ref": "#"}, last]}},
    }

    def check(value):
        assert set(value) == {"left", "right", "name"}
        for side in ("left", "right"):
            if isinstance(value[side], dict):
                check(value[side])
            else:
                assert value[side] in {None, "end"}

    made = sample(node)
    check(made)
    assert depth(made) < 6


def test_a_schema_within_itself_ends():
    schema = {"type": "object", "properties": {}}
    schema["properties"]["again"] = schema
    assert sample(schema)["again"]
