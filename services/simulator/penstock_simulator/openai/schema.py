"""Checks a JSON schema as the real API does, for functions and for structured outputs. Pure; returns words."""

from __future__ import annotations

from typing import Any

_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
_NOT_AT_THE_TOP = ("oneOf", "anyOf", "allOf", "enum", "not")
# What a strict schema must not say.
_NOT_STRICT = (
    "allOf",
    "oneOf",
    "not",
    "dependentRequired",
    "dependentSchemas",
    "if",
    "then",
    "else",
    "patternProperties",
    "unevaluatedProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "contains",
    "uniqueItems",
    "default",
)
_UNIONS = ("anyOf", "oneOf", "allOf")
_MOST_LEVELS = 10
_MOST_PROPERTIES = 5_000

Path = tuple[str, ...]


class SchemaError(ValueError):
    """What is wrong with a schema."""


def check_schema(schema: Any, *, strict: bool) -> None:
    """Check the schema of a function or of an output. Raises SchemaError."""
    if not isinstance(schema, dict):
        raise SchemaError(f"{schema!r} is not of type 'object'.")
    kind = schema.get("type")
    if kind != "object":
        raise SchemaError(f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'.")
    if any(name in schema for name in _NOT_AT_THE_TOP):
        raise SchemaError(
            "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level."
        )
    if "properties" not in schema and not strict:
        raise SchemaError("In context=(), object schema missing properties.")
    _Walk(schema, strict=strict).visit(schema, (), 1)


class _Walk:
    """One way through a schema."""

    def __init__(self, root: dict[str, Any], *, strict: bool) -> None:
        self._root = root
        self._strict = strict
        self._properties = 0

    def visit(self, schema: Any, path: Path, level: int) -> None:
        if isinstance(schema, bool) and not self._strict:
            return
        if not isinstance(schema, dict):
            raise _at(path, f"{schema!r} is not of type 'object', 'boolean'.")
        self._type(schema, path)
        if self._strict:
            self._check_strict(schema, path, level)
        if "$ref" in schema:
            self._reference(schema["$ref"], path)
        kinds = schema.get("type")
        if (kinds == "array" or (isinstance(kinds, list) and "array" in kinds)) and "items" not in schema:
            raise _at(path, "array schema missing items.")
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise _at(path, f"{required!r} is not of type 'array'.")
        self._inner(schema, path, level)

    def _inner(self, schema: dict[str, Any], path: Path, level: int) -> None:
        for holder in ("properties", "$defs", "definitions"):
            inner = schema.get(holder, {})
            if not isinstance(inner, dict):
                raise _at(path, f"{inner!r} is not of type 'object'.")
            for name, one in inner.items():
                self.visit(one, (*path, holder, name), level + (holder == "properties"))
        items = schema.get("items")
        if items is not None:
            for one in items if isinstance(items, list) else [items]:
                self.visit(one, (*path, "items"), level + 1)
        for union in _UNIONS:
            for index, one in enumerate(schema.get(union) or ()):
                self.visit(one, (*path, union, str(index)), level)

    def _type(self, schema: dict[str, Any], path: Path) -> None:
        kind = schema.get("type")
        for one in kind if isinstance(kind, list) else [kind]:
            if one is not None and (not isinstance(one, str) or one not in _TYPES):
                raise _at(path, f"'{one}' is not valid under any of the given schemas.")
        for name in ("enum", *_UNIONS):
            if name in schema and not (isinstance(schema[name], list) and schema[name]):
                raise _at(path, f"{schema[name]!r} is not of type 'array' or is too short.")

    def _check_strict(self, schema: dict[str, Any], path: Path, level: int) -> None:
        if level > _MOST_LEVELS:
            raise SchemaError(f"nesting depth of the schema exceeds {_MOST_LEVELS} levels.")
        for name in _NOT_STRICT:
            if name in schema:
                raise _at(path, f"'{name}' is not permitted.")
        if not any(name in schema for name in ("type", "$ref", "anyOf", "enum", "const")):
            raise _at(path, "schema must have a 'type' key.")
        kinds = schema.get("type")
        if kinds != "object" and not (isinstance(kinds, list) and "object" in kinds):
            return
        properties = schema.get("properties") or {}
        self._properties += len(properties)
        if self._properties > _MOST_PROPERTIES:
            raise SchemaError(f"schema exceeds the limit of {_MOST_PROPERTIES} properties.")
        if schema.get("additionalProperties") is not False:
            raise _at(path, "'additionalProperties' is required to be supplied and to be false.")
        self._check_required(properties, schema.get("required"), path)

    def _check_required(self, properties: dict[str, Any], required: Any, path: Path) -> None:
        words = "'required' is required to be supplied and to be an array including every key in properties."
        if not isinstance(required, list):
            if properties:
                raise _at(path, f"{words} Missing '{next(iter(properties))}'.")
            return
        for name in properties:
            if name not in required:
                raise _at(path, f"{words} Missing '{name}'.")
        for name in required:
            if name not in properties:
                raise _at(path, f"{words} Extra required key '{name}' supplied.")

    def _reference(self, reference: Any, path: Path) -> None:
        target: Any = self._root if isinstance(reference, str) and reference.startswith("#") else None
        for step in str(reference).removeprefix("#").strip("/").split("/"):
            if step:
                target = target.get(step) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise _at(
                path, f"reference can only point to definitions defined at the top level of the schema: {reference}."
            )


def _at(path: Path, words: str) -> SchemaError:
    inside = ", ".join(f"'{step}'" for step in path)
    if len(path) == 1:
        inside += ","
    return SchemaError(f"In context=({inside}), {words}")
