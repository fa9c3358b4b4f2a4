"""Reads JSON into a message as Google's servers do: either spelling of a name, nothing unknown, all mistakes at once.

The result has snake_case names and lists for repeated fields. Null is the same as absent.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from penstock_simulator.gemini.errors import bad_payload

_PACKAGE = "type.googleapis.com/google.ai.generativelanguage.v1beta."
_MOST_DEEP = 100
_PAYLOAD = "Invalid JSON payload received."


class Scalar(Enum):
    """Kinds of a single value; the value is what Google calls it."""

    STRING = "TYPE_STRING"
    BOOL = "TYPE_BOOL"
    INT32 = "TYPE_INT32"
    INT64 = "TYPE_INT64"
    FLOAT = "TYPE_FLOAT"
    BYTES = "TYPE_BYTES"
    STRUCT = "type.googleapis.com/google.protobuf.Struct"
    """Any JSON object."""
    VALUE = "type.googleapis.com/google.protobuf.Value"
    """Any JSON."""


@dataclass(frozen=True, slots=True)
class Names:
    """An enum."""

    name: str
    values: frozenset[str]


@dataclass(eq=False, slots=True)
class Message:
    """A message; `fields` by both spellings of their names."""

    name: str
    fields: dict[str, Field] = field(default_factory=dict)

    def define(self, *fields: Field) -> None:
        """Give the message its fields; apart from its making, so that messages can hold each other."""
        for one in fields:
            self.fields[one.name] = one
            self.fields[camel(one.name)] = one


Kind = Scalar | Names | Message


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message; `name` in snake_case."""

    name: str
    kind: Kind
    repeated: bool = False
    mapped: bool = False
    oneof: str = ""
    """Of the fields with the same word here only one may be set."""


def camel(name: str) -> str:
    """Return the other spelling of a snake_case name."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def read(message: Message, document: Any) -> dict[str, Any]:
    """Return the message that a decoded body holds; raises RefusalError with everything that is wrong."""
    reader = _Reader()
    result: dict[str, Any] = {}
    if isinstance(document, dict):
        result = reader.message(message, document, "", 0)
    else:
        reader.violations.append(("", f'{_PAYLOAD} Unknown name "": Root element must be a message.'))
    if reader.violations:
        raise bad_payload(reader.violations)
    return result


def unbase64(value: str) -> bytes | None:
    """Decode base64 of either alphabet, padded or not; None for anything else."""
    plain = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


class _Reader:
    """Reads one document and gathers what is wrong with it."""

    def __init__(self) -> None:
        self.violations: list[tuple[str, str]] = []

    def message(self, message: Message, value: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        taken: dict[str, str] = {}
        if depth > _MOST_DEEP:
            self._name(path, path.rsplit(".", 1)[-1], "Message too deep. Max recursion depth reached.")
            return result
        for name, inner in value.items():
            found = message.fields.get(name)
            if found is None:
                self._name(path, name, "Cannot find field.")
                continue
            if inner is None and found.kind is not Scalar.VALUE:
                continue
            if found.oneof and taken.setdefault(found.oneof, found.name) != found.name:
                words = f"oneof field '{found.oneof}' is already set. Cannot set '{name}'"
                self.violations.append((path, f"Invalid value at '{path}' (oneof), {words}"))
                continue
            result[found.name] = self._field(found, inner, path, name, depth)
        return result

    def _field(self, found: Field, value: Any, path: str, name: str, depth: int) -> Any:
        where = f"{path}.{found.name}" if path else found.name
        if found.mapped:
            if not isinstance(value, dict):
                return self._value(where, "Map", value)
            return {
                key: self._single(found.kind, inner, f"{where}[{index}].value", depth)
                for index, (key, inner) in enumerate(value.items())
            }
        if found.repeated:
            # A value that stands alone is taken for a list of one.
            if not isinstance(value, list):
                return [self._single(found.kind, value, where, depth)]
            return [self._single(found.kind, inner, f"{where}[{index}]", depth) for index, inner in enumerate(value)]
        if isinstance(value, list) and found.kind is not Scalar.VALUE:
            return self._name(path, name, "Proto field is not repeating, cannot start list.")
        return self._single(found.kind, value, where, depth)

    def _single(self, kind: Kind, value: Any, where: str, depth: int) -> Any:
        if isinstance(kind, Message):
            if isinstance(value, dict):
                return self.message(kind, value, where, depth + 1)
            return self._value(where, _PACKAGE + kind.name, value)
        if isinstance(kind, Names):
            return self._enum(kind, value, where)
        if kind is Scalar.VALUE:
            return value
        if kind is Scalar.STRUCT:
            return value if isinstance(value, dict) else self._value(where, kind.value, value)
        if isinstance(value, dict):
            path, _, name = where.rpartition(".")
            return self._name(path, name, "Starting an object on a scalar field.")
        return self._scalar(kind, value, where)

    def _enum(self, kind: Names, value: Any, where: str) -> Any:
        if isinstance(value, str) and value.upper() in kind.values:
            return value.upper()
        return self._value(where, _PACKAGE + kind.name, value)

    def _scalar(self, kind: Scalar, value: Any, where: str) -> Any:
        match kind:
            case Scalar.STRING if isinstance(value, str):
                return value
            case Scalar.BOOL if isinstance(value, bool):
                return value
            case Scalar.INT32 | Scalar.INT64 if (number := _integer(value)) is not None:
                if abs(number) < 2 ** (31 if kind is Scalar.INT32 else 63):
                    return number
            case Scalar.FLOAT if (fraction := _float(value)) is not None:
                return fraction
            case Scalar.BYTES if isinstance(value, str):
                decoded = unbase64(value)
                if decoded is not None:
                    return decoded
                words = f"Invalid value at '{where}' (TYPE_BYTES), Base64 decoding failed for \"{value}\""
                self.violations.append((where, words))
                return None
        return self._value(where, kind.value, value)

    def _value(self, where: str, kind: str, value: Any) -> None:
        shown = f'"{value}"' if isinstance(value, str) else msgspec.json.encode(value).decode()
        self.violations.append((where, f"Invalid value at '{where}' ({kind}), {shown}"))

    def _name(self, path: str, name: str, words: str) -> None:
        at = f" at '{path}'" if path else ""
        self.violations.append((path, f'{_PAYLOAD} Unknown name "{name}"{at}: {words}'))


def _integer(value: Any) -> int | None:
    """Return a whole number; texts of numbers are numbers too."""
    if isinstance(value, str):
        value = _float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value)


def _float(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value) if value.strip() == value else None
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
