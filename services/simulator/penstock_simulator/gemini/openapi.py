"""The subset of OpenAPI schemas that Gemini reads: checks them, and turns them into JSON schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock_simulator.gemini.complaints import Complaints

_FORMATS = {"enum", "date-time"}
_SAME = (
    "title",
    "description",
    "pattern",
    "enum",
    "required",
    "minimum",
    "maximum",
    "default",
)
_RENAMED = {
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
}


def check_schema(schema: dict[str, Any], at: str, complaints: Complaints) -> None:
    """Complain about a schema, and about those within it."""
    kind = schema.get("type", "TYPE_UNSPECIFIED")
    if kind == "TYPE_UNSPECIFIED" and "any_of" not in schema:
        complaints.add(f"{at}.type", "must be specified when not using one_of, any_of or all_of fields")
    _check_object(schema, kind, at, complaints)
    _check_string(schema, kind, at, complaints)
    if kind == "ARRAY" and "items" not in schema:
        complaints.add(f"{at}.items", "missing field.")
    if kind != "ARRAY" and "items" in schema:
        complaints.add(f"{at}.items", "field predicate failed: $type == Type.ARRAY")
    if "items" in schema:
        check_schema(schema["items"], f"{at}.items", complaints)
    for name, inner in schema.get("properties", {}).items():
        check_schema(inner, f"{at}.properties[{name}]", complaints)
    for index, inner in enumerate(schema.get("any_of", ())):
        check_schema(inner, f"{at}.any_of[{index}]", complaints)


def _check_object(schema: dict[str, Any], kind: str, at: str, complaints: Complaints) -> None:
    if kind != "OBJECT":
        for name in ("properties", "required"):
            if schema.get(name):
                complaints.add(f"{at}.{name}", "only allowed for OBJECT type")
        return
    if not schema.get("properties"):
        complaints.add(f"{at}.properties", "should be non-empty for OBJECT type")
    for index, name in enumerate(schema.get("required", ())):
        if name not in schema.get("properties", {}):
            complaints.add(f"{at}.required[{index}]", "property is not defined")


def _check_string(schema: dict[str, Any], kind: str, at: str, complaints: Complaints) -> None:
    if schema.get("enum") and kind != "STRING":
        complaints.add(f"{at}.enum", "only allowed for STRING type")
    for index, value in enumerate(schema.get("enum", ())):
        if not value:
            complaints.add(f"{at}.enum[{index}]", "cannot be empty")
    if kind == "STRING" and schema.get("format") and schema["format"] not in _FORMATS:
        complaints.add(f"{at}.format", "only 'enum' and 'date-time' are supported for STRING type")


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the same as a JSON schema; an empty one stays empty."""
    result = {name: schema[name] for name in _SAME if name in schema}
    result |= {new: schema[old] for old, new in _RENAMED.items() if old in schema}
    kind = schema.get("type", "TYPE_UNSPECIFIED").lower()
    if kind != "type_unspecified":
        result["type"] = [kind, "null"] if schema.get("nullable") else kind
    if schema.get("format") == "date-time":
        result["format"] = "date-time"
    if "items" in schema:
        result["items"] = json_schema(schema["items"])
    if "properties" in schema:
        result["properties"] = {name: json_schema(inner) for name, inner in schema["properties"].items()}
    if "any_of" in schema:
        result["anyOf"] = [json_schema(inner) for inner in schema["any_of"]]
    return result
