"""Makes up a value that follows a JSON schema, for tool calls and structured outputs."""

from __future__ import annotations

import math
from typing import Any

# Below this depth only what must be there is made, so that a schema within itself ends.
_DEPTH = 8
_FLOOR = 3 * _DEPTH
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "P1D",
    "email": "keeper@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "uuid": "12345678-1234-4234-8234-123456789012",
}


def sample(schema: Any, seed: int = 0, depth: int = 0, root: Any = None) -> Any:
    """Return a value that a schema accepts; what it does not understand becomes a text."""
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > _FLOOR:
        return "value"
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][seed % len(schema["enum"])]
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return sample(_branch(schema[union], depth, root), seed, depth + 1, root)
    match _kind(schema, depth):
        case "object":
            return _object(schema, seed, depth, root)
        case "array":
            return _array(schema, seed, depth, root)
        case "integer":
            return _number(schema, seed, 1)
        case "number":
            return _number(schema, seed, 0.5)
        case "boolean":
            return seed % 2 == 0
        case "null":
            return None
    return _string(schema, seed)


def _resolved(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    """Follow `$ref` within the document, and put `allOf` together."""
    for _ in range(_DEPTH):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            break
        target = _pointed(root, reference)
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**target, **beside} if isinstance(target, dict) else beside
    if not schema.get("allOf"):
        return schema
    merged: dict[str, Any] = {name: value for name, value in schema.items() if name != "allOf"}
    for part in schema["allOf"]:
        inner = _resolved(part, root) if isinstance(part, dict) else {}
        properties = {**inner.get("properties", {}), **merged.get("properties", {})}
        merged = {**inner, **merged}
        if properties:
            merged["properties"] = properties
    return merged


def _pointed(root: Any, reference: str) -> Any:
    target = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            name = step.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, dict) else None
    return target


def _branch(branches: list[Any], depth: int, root: Any) -> Any:
    """Return the first branch; deep down, the first that holds nothing."""
    if depth > _DEPTH:
        for branch in branches:
            if isinstance(branch, dict) and _resolved(branch, root).get("type") not in {"object", "array"}:
                return branch
    return branches[0]


def _kind(schema: dict[str, Any], depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        plain = [one for one in kind if one not in {"object", "array"}] if depth > _DEPTH else kind
        return (plain or kind or [None])[0]
    return "object" if kind is None and "properties" in schema else kind


def _object(schema: dict[str, Any], seed: int, depth: int, root: Any) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = schema.get("required") or ()
    return {
        name: sample(inner, seed + index, depth + 1, root)
        for index, (name, inner) in enumerate(properties.items())
        if depth <= _DEPTH or name in required
    }


def _array(schema: dict[str, Any], seed: int, depth: int, root: Any) -> list[Any]:
    least = schema.get("minItems", 0 if depth > _DEPTH else 1)
    size = min(least if depth > _DEPTH else max(1, least), schema.get("maxItems", least + 1))
    return [sample(schema.get("items"), seed, depth + 1, root) for _ in range(size)]


def _number(schema: dict[str, Any], seed: int, step: float) -> Any:
    whole = step == 1
    low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf))
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + step)
    high = schema.get("maximum", math.inf)
    if "exclusiveMaximum" in schema:
        high = min(high, schema["exclusiveMaximum"] - step)
    value = min(max(seed % 100 + (0 if whole else 0.5), low), high)
    multiple = schema.get("multipleOf")
    if multiple:
        value = math.ceil(max(low, 0) / multiple) * multiple if value % multiple else value
    return math.ceil(value) if whole else value


def _string(schema: dict[str, Any], seed: int) -> str:
    text = _FORMATS.get(str(schema.get("format")), f"value {seed % 100}")
    least, most = schema.get("minLength", 0), schema.get("maxLength", len(text) + 64)
    return text.ljust(least, "x")[: max(most, least)] if "maxLength" in schema or len(text) < least else text
