"""What OpenAI demands of JSON schemas, beyond what others do."""

from __future__ import annotations

from typing import Any, Final

_UNKNOWN: Final = frozenset(
    {
        "allOf",
        "not",
        "oneOf",
        "if",
        "then",
        "else",
        "dependentRequired",
        "dependentSchemas",
        "patternProperties",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
        "contains",
        "prefixItems",
        "uniqueItems",
    }
)
_DATA: Final = ("enum", "const", "default", "examples", "required")
_NOT_AT_THE_TOP: Final = ("anyOf", "oneOf", "allOf", "enum", "not")
_TABLES: Final = ("properties", "$defs", "definitions")


def completed(schema: Any) -> Any:
    """Return a schema whose lists say what is in them, which no list need say elsewhere; the same if nothing lacks."""
    if isinstance(schema, list):
        parts = [completed(part) for part in schema]
        return parts if any(new is not old for new, old in zip(parts, schema, strict=True)) else schema
    if not isinstance(schema, dict):
        return schema
    changed = {
        name: new
        for name, part in schema.items()
        if isinstance(part, (dict, list)) and name not in _DATA and (new := completed(part)) is not part
    }
    kind = schema.get("type")
    if "items" not in schema and (kind == "array" or (isinstance(kind, list) and "array" in kind)):
        changed["items"] = {}
    return schema | changed if changed else schema


def is_an_answers(schema: dict[str, Any]) -> bool:
    """Whether an answer may be asked to follow it: an object, and at the top one of a kind."""
    return schema.get("type") == "object" and not any(name in schema for name in _NOT_AT_THE_TOP)


def is_strict(schema: Any) -> bool:
    """Whether all objects in it are closed, all their properties required, and all its keywords known."""
    return isinstance(schema, dict) and schema.get("type") == "object" and "anyOf" not in schema and _holds(schema)


def _holds(schema: Any) -> bool:
    if not isinstance(schema, dict) or not _UNKNOWN.isdisjoint(schema):
        return False
    if not _closed(schema):
        return False
    for name in _TABLES:
        table = schema.get(name, {})
        if not isinstance(table, dict) or not all(map(_holds, table.values())):
            return False
    if "items" in schema and not _holds(schema["items"]):
        return False
    choices = schema.get("anyOf", [])
    return isinstance(choices, list) and all(map(_holds, choices))


def _closed(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind) and "properties" not in schema:
        return True
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
        return False
    # A set, because schemas may name many; what is no text names nothing.
    return isinstance(required, list) and properties.keys() <= {name for name in required if type(name) is str}
