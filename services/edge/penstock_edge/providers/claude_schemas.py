"""JSON schemas as Claude takes them where it is to keep to them: what it cannot enforce it is asked for in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from penstock_edge.providers.request_json import encoded

if TYPE_CHECKING:
    from penstock_edge.canonical import Json

_IN_WORDS: Final = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
    }
)
_FORMATS: Final = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
# Tuples, because what is looked for may be of any type.
_LEAST_ITEMS: Final = (0, 1)
_DATA: Final = frozenset({"enum", "const", "default", "examples", "required"})
_TABLES: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})


def enforced(schema: Any, in_words: set[str]) -> Any:
    """Return a schema whose objects are closed; what had to go into descriptions is added to `in_words`."""
    if isinstance(schema, list):
        return [enforced(part, in_words) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept: Json = {}
    told: Json = {}
    for keyword, part in schema.items():
        if _is_beyond(keyword, part):
            told[keyword] = part
        else:
            # To a model that keeps to one of several the two are the same.
            kept["anyOf" if keyword == "oneOf" and "anyOf" not in schema else keyword] = _part(keyword, part, in_words)
    if _is_object(kept.get("type")):
        _close(kept, told)
    if told:
        in_words.update(told)
        words = ", ".join(f"{keyword}: {encoded(part).decode()}" for keyword, part in told.items())
        about = kept.get("description")
        kept["description"] = f"{about} ({words})" if isinstance(about, str) and about else words
    return kept


def is_open(schema: Any) -> bool:
    """Whether some object of it may have members of any name, to which Claude cannot be held."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            if _is_object(part.get("type")) and part.get("additionalProperties", False) is not False:
                return True
            for keyword, inner in part.items():
                if keyword in _TABLES and isinstance(inner, dict):
                    waiting += inner.values()
                elif keyword not in _DATA:
                    waiting.append(inner)
    return False


def _is_object(kind: Any) -> bool:
    return kind == "object" or (isinstance(kind, list) and "object" in kind)


def _close(kept: Json, told: Json) -> None:
    """See that an object has no members but those it names; one that names none stays as open as it says."""
    others = kept.setdefault("additionalProperties", False)
    if others is not False and kept.get("properties"):
        kept["additionalProperties"] = False
        told["additionalProperties"] = others


def _is_beyond(keyword: str, part: Any) -> bool:
    if keyword == "minItems":
        return part not in _LEAST_ITEMS
    if keyword == "format":
        return isinstance(part, str) and part not in _FORMATS
    return keyword in _IN_WORDS


def _part(keyword: str, part: Any, in_words: set[str]) -> Any:
    if keyword in _DATA:
        return part
    if keyword in _TABLES and isinstance(part, dict):
        # Their keys are names, whatever they look like.
        return {name: enforced(inner, in_words) for name, inner in part.items()}
    return enforced(part, in_words) if isinstance(part, (dict, list)) else part
