"""Finds where things stand in a JSON text, with comments and trailing commas where they are allowed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

_BLANK = re.compile(r"[ \t\r\n]*")
_BLANK_OR_COMMENT = re.compile(r"(?:[ \t\r\n]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Value:
    """A value: `text[start:end]`; `members` is None where it is no object."""

    start: int
    end: int
    data: Any
    members: tuple[Member, ...] | None = None

    def member(self, name: str) -> Member | None:
        """Return a member; of several with one name the last, which is the one that counts."""
        return next((member for member in reversed(self.members or ()) if member.name == name), None)


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object; `comma` is where the comma behind it stands, -1 for none."""

    name: str
    start: int
    value: Value
    comma: int


def scan(text: str, *, comments: bool) -> Value:
    """Return the outermost value. Raises json.JSONDecodeError."""
    scanner = _Scanner(text, comments=comments)
    try:
        value, rest = scanner.value(scanner.skip(0))
    except RecursionError:
        raise json.JSONDecodeError("Too deep", text, 0) from None
    rest = scanner.skip(rest)
    if rest != len(text):
        raise json.JSONDecodeError("Extra data", text, rest)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


class _Scanner:
    def __init__(self, text: str, *, comments: bool) -> None:
        self._text = text
        self._comments = comments
        self._blank = _BLANK_OR_COMMENT if comments else _BLANK
        self._scalar = json.JSONDecoder(parse_constant=_no_constant)

    def skip(self, at: int) -> int:
        found = self._blank.match(self._text, at)
        return found.end() if found else at

    def value(self, at: int) -> tuple[Value, int]:
        """Return the value that begins here, and where it ends."""
        first = self._text[at : at + 1]
        if first == "{":
            value = self._object(at)
        elif first == "[":
            value = self._array(at)
        else:
            try:
                data, end = self._scalar.raw_decode(self._text, at)
            except json.JSONDecodeError:
                raise
            except ValueError:
                self._wrong("Expecting value", at)
            value = Value(at, end, data)
        return value, value.end

    def _object(self, begin: int) -> Value:
        members: list[Member] = []
        at = self.skip(begin + 1)
        while self._text[at : at + 1] != "}":
            if members and members[-1].comma < 0:
                self._wrong("Expecting ',' delimiter", at)
            if self._text[at : at + 1] != '"':
                self._wrong("Expecting property name enclosed in double quotes", at)
            name, rest = self.value(at)
            colon = self.skip(rest)
            if self._text[colon : colon + 1] != ":":
                self._wrong("Expecting ':' delimiter", colon)
            inner, rest = self.value(self.skip(colon + 1))
            comma, rest = self._comma(rest)
            members.append(Member(name.data, at, inner, comma))
            at = rest
        self._no_trailing_comma(members[-1].comma if members else -1)
        return Value(begin, at + 1, {member.name: member.value.data for member in members}, tuple(members))

    def _array(self, begin: int) -> Value:
        items: list[Any] = []
        comma = -1
        at = self.skip(begin + 1)
        while self._text[at : at + 1] != "]":
            if items and comma < 0:
                self._wrong("Expecting ',' delimiter", at)
            item, rest = self.value(at)
            items.append(item.data)
            comma, at = self._comma(rest)
        self._no_trailing_comma(comma)
        return Value(begin, at + 1, items)

    def _comma(self, at: int) -> tuple[int, int]:
        """Return where the next comma stands, if that is what comes next, and where the text goes on."""
        at = self.skip(at)
        return (at, self.skip(at + 1)) if self._text[at : at + 1] == "," else (-1, at)

    def _no_trailing_comma(self, at: int) -> None:
        if at >= 0 and not self._comments:
            self._wrong("Illegal trailing comma", at)

    def _wrong(self, what: str, at: int) -> NoReturn:
        raise json.JSONDecodeError(what, self._text, min(at, len(self._text)))
