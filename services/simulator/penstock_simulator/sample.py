"""Makes up a value that follows a JSON schema, for tool calls and structured outputs."""

from __future__ import annotations

import math
from typing import Any

# Below this depth only what must be there is made, so that a schema within itself ends.
_DEPTH = 5
_FLOOR = 32
_MOST = 10_000
# So near to an excluded bound a number goes.
_NEAR = 1e-6
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
    if _listed(schema, "enum"):
        return schema["enum"][seed % len(schema["enum"])]
    for union in ("anyOf", "oneOf"):
        if _listed(schema, union):
            return sample(_branch(schema[union], depth, root), seed, depth + 1, root)
    match _kind(schema, depth):
        case "object":
            return _object(schema, seed, depth, root)
        case "array":
            return _array(schema, seed, depth, root)
        case "integer":
            return _number(schema, seed, 1)
        case "number":
            return _number(schema, seed, _NEAR)
        case "boolean":
            return seed % 2 == 0
        case "null":
            return None
    return _string(schema, seed)


def _listed(schema: dict[str, Any], name: str) -> list[Any]:
    value = schema.get(name)
    return value if isinstance(value, list) else []


def _bound(schema: dict[str, Any], name: str, default: Any) -> Any:
    value = schema.get(name, default)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default


def _size(schema: dict[str, Any], name: str, default: int) -> int:
    """Return a bound of a size; never more than what a test can bear."""
    return max(0, min(int(_bound(schema, name, default)), _MOST))


def _resolved(schema: dict[str, Any], root: Any, level: int = 0) -> dict[str, Any]:
    """Follow `$ref` within the document, and put `allOf` together."""
    for _ in range(_DEPTH):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            break
        target = _pointed(root, reference)
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**target, **beside} if isinstance(target, dict) else beside
    if not _listed(schema, "allOf") or level > _DEPTH:
        return schema
    merged: dict[str, Any] = {name: value for name, value in schema.items() if name != "allOf"}
    for part in schema["allOf"]:
        inner = _resolved(part, root, level + 1) if isinstance(part, dict) else {}
        properties = {**_properties(inner), **_properties(merged)}
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


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _object(schema: dict[str, Any], seed: int, depth: int, root: Any) -> dict[str, Any]:
    properties, required = _properties(schema), _listed(schema, "required")
    return {
        name: sample(inner, seed + index, depth + 1, root)
        for index, (name, inner) in enumerate(properties.items())
        if depth <= _DEPTH or name in required
    }


def _array(schema: dict[str, Any], seed: int, depth: int, root: Any) -> list[Any]:
    least = _size(schema, "minItems", 0)
    size = min(least if depth > _DEPTH else max(1, least), _size(schema, "maxItems", least + 1))
    return [sample(schema.get("items"), seed, depth + 1, root) for _ in range(size)]


def _number(schema: dict[str, Any], seed: int, step: float) -> Any:
    whole = step == 1
    low = max(_bound(schema, "minimum", -math.inf), _bound(schema, "exclusiveMinimum", -math.inf) + step)
    high = min(_bound(schema, "maximum", math.inf), _bound(schema, "exclusiveMaximum", math.inf) - step)
    value = min(max(seed % 100 + (0 if whole else 0.5), low), high)
    multiple = _bound(schema, "multipleOf", 0)
    if multiple > _NEAR / 1000:
        value = math.floor(value / multiple) * multiple
        value += multiple if value < low else 0
    return math.ceil(value) if whole else value


def _string(schema: dict[str, Any], seed: int) -> str:
    text = _FORMATS.get(str(schema.get("format")), f"value {seed % 100}")
    text = text.ljust(_size(schema, "minLength", 0), "x")
    return text[: _size(schema, "maxLength", _MOST)]
