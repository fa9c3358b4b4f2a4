"""Google's own schemas (a subset of OpenAPI's) as JSON Schema."""

from __future__ import annotations

from typing import Any, Final

from penstock_edge.dialects.gemini.spelling import members
from penstock_edge.errors import ProblemError, invalid

_MOST_DEEP: Final = 64
_COUNTS: Final = frozenset({"maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"})
_RENAMED: Final = {"defs": "$defs", "ref": "$ref"}


def json_schema(schema: Any, where: str, depth: int = 0) -> dict[str, Any]:
    """Return a Google schema as JSON Schema. Raises ProblemError for what is none."""
    if depth > _MOST_DEEP:
        raise ProblemError(invalid(f"{where}: the schema is nested too deeply"))
    result: dict[str, Any] = {}
    order: list[Any] = []
    nullable = False
    for name, path, value in members(schema, where):
        if name == "nullable":
            nullable = value is True
        elif name == "type":
            if isinstance(value, str) and value.upper() != "TYPE_UNSPECIFIED":
                result["type"] = value.lower()
            elif isinstance(value, list):
                # Not Google's own words, but they take a list of types all the same.
                result["type"] = [one.lower() if isinstance(one, str) else one for one in value]
        elif name == "propertyOrdering":
            order = value if isinstance(value, list) else []
        elif name == "example":
            result["examples"] = [value]
        elif name != "format" or _means_something(value):
            result[_RENAMED.get(name, name)] = _member(name, path, value, depth)
    if order and isinstance(result.get("properties"), dict):
        result["properties"] = _ordered(result["properties"], order)
    return _with_null(result) if nullable else result


def _member(name: str, path: str, value: Any, depth: int) -> Any:
    if name in {"items", "additionalProperties"} and isinstance(value, dict):
        return json_schema(value, path, depth + 1)
    if name == "anyOf" and isinstance(value, list):
        return [json_schema(item, f"{path}.{index}", depth + 1) for index, item in enumerate(value)]
    if name in {"properties", "defs"} and isinstance(value, dict):
        return {key: json_schema(item, f"{path}.{key[:64]}", depth + 1) for key, item in value.items()}
    if name in _COUNTS and isinstance(value, str) and value.isdecimal() and len(value) < 20:
        # An int64 stands in JSON as a text.
        return int(value)
    return value


def _means_something(word: Any) -> bool:
    """Whether a format restricts a text; `int32` and the like name machine types, `enum` says nothing."""
    return word not in ("int32", "int64", "float", "double", "enum")


def _ordered(properties: dict[str, Any], order: list[Any]) -> dict[str, Any]:
    first = {name: properties[name] for name in order if isinstance(name, str) and name in properties}
    return first | properties


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        schema["type"] = kinds if "null" in kinds else [*kinds, "null"]
    elif isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema
