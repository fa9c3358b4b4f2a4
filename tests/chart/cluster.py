"""What an API server makes of a custom resource: unknown fields, defaults, the structural schema, list types, rules.

It speaks as the API server does, so that one table of cases serves here and against a real one.
"""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any

import jsonschema_rs

from tests.chart import cel_rules
from tests.chart.custom_resources import SCHEMAS

Json = Any

# A value with one of these faults is not shown to the rules.
_BLOCKING = frozenset({"required", "enum", "type", "maxLength", "maxItems"})
_WORDS: Mapping[str, str] = {
    "minimum": "should be greater than or equal to {}",
    "maximum": "should be less than or equal to {}",
    "minLength": "should be at least {} chars long",
    "maxLength": "may not be more than {} bytes",
    "minItems": "should have at least {} items",
    "maxItems": "must have at most {} items",
    "pattern": "should match '{}'",
}


def admitted(document: Json) -> Json:
    """The resource as it would be stored: without nulls and with the defaults."""
    return _complete(SCHEMAS[document["kind"]], deepcopy(document))


def answers(document: Json, before: Json = None) -> list[str]:
    """Every fault that an API server would name on `kubectl apply`; none when it takes the resource."""
    schema = SCHEMAS[document["kind"]]
    found = [f'unknown field "{path}"' for path in _unknown(schema, document)]
    stored = admitted(document)
    faults = list(_validator(document["kind"]).iter_errors(stored))
    found += [_in_words(schema, fault) for fault in faults]
    if not any(fault.schema_path[-1] in _BLOCKING for fault in faults):
        found += _repeated(schema, stored)
        found += cel_rules.broken(schema, stored, admitted(before) if before is not None else None)
    return found


@lru_cache
def _validator(kind: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(SCHEMAS[kind])


def _complete(schema: Json, value: Json) -> Json:
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for name in [name for name in value if value[name] is None and name in properties]:
            del value[name]
        for name, below in properties.items():
            if name not in value and "default" in below:
                value[name] = deepcopy(below["default"])
            if name in value:
                value[name] = _complete(below, value[name])
    elif isinstance(value, list) and "items" in schema:
        return [_complete(schema["items"], item) for item in value]
    return value


def _unknown(schema: Json, value: Json, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and "properties" in schema:
        for name, below in value.items():
            here = f"{path}.{name}".removeprefix(".")
            if name not in schema["properties"]:
                yield here
            elif here != "metadata":
                yield from _unknown(schema["properties"][name], below, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(schema.get("items", {}), item, f"{path}[{index}]")


def _repeated(schema: Json, value: Json, path: str = "") -> Iterator[str]:
    """Items of sets and of maps in list form that are given twice."""
    if isinstance(value, dict):
        for name, below in schema.get("properties", {}).items():
            if name in value:
                yield from _repeated(below, value[name], f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys")
        unique = keys is not None or schema.get("x-kubernetes-list-type") == "set"
        seen = set()
        for index, item in enumerate(value):
            key = json.dumps([item.get(name) for name in keys] if keys else item)
            if unique and key in seen:
                yield f"{path}[{index}]: Duplicate value: {json.dumps(item)}"
            seen.add(key)
            yield from _repeated(schema["items"], item, f"{path}[{index}]")


def _in_words(schema: Json, fault: jsonschema_rs.ValidationError) -> str:
    keyword, field = fault.schema_path[-1], _field(fault.instance_path)
    bound = schema
    for step in fault.schema_path:
        bound = bound[step]
    if keyword == "required":
        return f"{field}.{fault.kind.property}: Required value".removeprefix(".")
    if keyword == "enum":
        supported = ", ".join(f'"{word}"' for word in bound)
        return f"{field}: Unsupported value: {json.dumps(fault.instance)}: supported values: {supported}"
    if keyword == "type":
        fraction = bound == "integer" and isinstance(fault.instance, float)
        wanted = _format(schema, fault.schema_path) if fraction else bound
        return f"{field}: Invalid value: {field} in body must be of type {wanted}"
    return f"{field}: Invalid value: {field} in body {_WORDS[keyword].format(bound)}"


def _format(schema: Json, path: list[str | int]) -> str:
    for step in path[:-1]:
        schema = schema[step]
    return str(schema["format"])


def _field(path: list[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
