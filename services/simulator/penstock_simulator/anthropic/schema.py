"""Checks a JSON schema that the model is to keep to: of a strict tool, or of structured output."""

from __future__ import annotations

from typing import Any

from penstock_simulator.anthropic.errors import invalid

_TABLES = ("properties", "$defs", "definitions")
_UNIONS = ("anyOf", "oneOf", "allOf")


def check_enforced(schema: dict[str, Any], at: str) -> None:
    """Check that all objects in it are closed; raises RefusalError."""
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, dict):
            continue
        kind = part.get("type")
        objects = kind == "object" or (isinstance(kind, list) and "object" in kind)
        if objects and part.get("additionalProperties") is not False:
            raise invalid(f"{at}: For 'object' type, 'additionalProperties' must be explicitly set to false")
        waiting += _inside(part)


def _inside(schema: dict[str, Any]) -> list[Any]:
    found: list[Any] = [schema.get("items"), schema.get("additionalProperties")]
    for name in _TABLES:
        table = schema.get(name)
        found += table.values() if isinstance(table, dict) else ()
    for name in _UNIONS:
        union = schema.get(name)
        found += union if isinstance(union, list) else ()
    return found
