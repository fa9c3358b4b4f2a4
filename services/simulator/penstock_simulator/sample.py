"""Makes up a value that follows a JSON schema, for tool calls and structured outputs."""

from __future__ import annotations

from typing import Any

_DEPTH = 8


def sample(schema: Any, seed: int = 0, depth: int = 0) -> Any:
    """Return a value that a simple schema accepts; what it does not understand becomes a text."""
    if not isinstance(schema, dict) or depth > _DEPTH:
        return "value"
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][seed % len(schema["enum"])]
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return sample(schema[union][0], seed, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            return {
                name: sample(inner, seed + index, depth + 1) for index, (name, inner) in enumerate(properties.items())
            }
        case "array":
            return [sample(schema.get("items"), seed, depth + 1)] * max(1, schema.get("minItems", 1))
        case "integer":
            return max(seed % 100, schema.get("minimum", 0))
        case "number":
            return max(seed % 100 + 0.5, schema.get("minimum", 0))
        case "boolean":
            return seed % 2 == 0
        case "null":
            return None
    return f"value {seed % 100}"
