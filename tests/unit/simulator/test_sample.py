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
    ],
)
def test_sample(schema, value):
    assert sample(schema) == value


def test_a_schema_within_itself_ends():
    schema = {"type": "object", "properties": {}}
    schema["properties"]["again"] = schema
    assert sample(schema)["again"]
