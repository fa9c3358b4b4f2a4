"""The texts of environment variables as values of a type, and words for what a type takes. No value is ever quoted."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import msgspec

from penstock_chassis.secret import Secret

# What stands in a variable may be a secret that was meant for another one: it is not repeated.
_QUOTED: Final = re.compile(r"Invalid (?:enum )?value .*(?= - at)|Invalid (?:enum )?value .*", re.DOTALL)
_SPELLED: Final = {"yes": "true", "y": "true", "t": "true", "on": "true"} | {
    "no": "false",
    "n": "false",
    "f": "false",
    "off": "false",
}
_PATHS: Final = (Path, Path | None)
_KINDS: Final = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list as JSON",
}
_BOUNDS: Final = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
    "minLength": "of at least {} characters",
    "pattern": "that {} fits",
}


class UnfitError(ValueError):
    """A text stands for no value of its type; the message says what else is known about that, and may be empty."""


def value(text: str, kind: Any) -> Any:
    """Return what `text` stands for: a list is written as JSON, all else as it is. Raises UnfitError."""
    if not (text.isascii() or kind in _PATHS or _is_unicode(text)):
        raise UnfitError("it is not UTF-8")
    try:
        if get_origin(kind) is tuple:
            return msgspec.convert(msgspec.json.decode(text), kind, strict=False, dec_hook=_made)
    except msgspec.DecodeError as error:
        raise UnfitError(_QUOTED.sub("not one of its values", str(error))) from None
    if kind is bool:
        text = _SPELLED.get(text.strip().lower(), text)
    if not _takes_text(kind):
        text = text.strip()
    try:
        found = msgspec.convert(text, kind, strict=False, dec_hook=_made)
    except msgspec.ValidationError:
        raise UnfitError from None
    if isinstance(found, float) and not math.isfinite(found):
        raise UnfitError("it is not finite")
    return found


def _made(kind: type, given: Any) -> Any:
    if kind in {Path, Secret} and isinstance(given, str):
        return kind(given)
    raise ValueError("a text is wanted")


def _is_unicode(text: str) -> bool:
    """Whether none of it stands for bytes that are no UTF-8, as only names of files may hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _takes_text(kind: Any) -> bool:
    """Whether blanks around a value are part of it."""
    return kind in {str, Path, Secret} or any(_takes_text(one) for one in get_args(kind))


def schema(kind: Any) -> dict[str, Any]:
    """Return a type's JSON schema; that of an optional one is the schema of what it may be beside nothing."""
    described = msgspec.json.schema(kind, schema_hook=lambda _: {"type": "string"})
    choices = [one for one in described.get("anyOf", ()) if one.get("type") != "null"]
    return choices[0] if choices else described


def wanted(kind: Any) -> str:
    """Say what a type takes: `a number above 0`."""
    described = schema(kind)
    if "enum" in described:
        return f"one of {', '.join(map(str, described['enum']))}"
    bounds = [words.format(described[name]) for name, words in _BOUNDS.items() if name in described]
    return " ".join([_KINDS.get(described.get("type", ""), "a text"), *bounds])
