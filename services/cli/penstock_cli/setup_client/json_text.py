"""JSON as people keep it: one value changes, while formatting, order and comments stay."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock_cli.setup_client.json_scan import scan
from penstock_cli.setup_client.syntax import UnreadableError

if TYPE_CHECKING:
    from penstock_cli.setup_client.json_scan import Value
    from penstock_cli.setup_client.syntax import Path

_MARK = "\ufeff"
_UNIT = "  "


@dataclass(frozen=True, slots=True)
class Json:
    """JSON; with `comments` also what is called JSONC."""

    comments: bool = False

    def get(self, text: str, path: Path) -> Any:
        """Return the value at a path; None when there is none. Raises UnreadableError."""
        value = self._root(text)
        for name in path:
            member = value.member(name)
            if member is None:
                return None
            value = member.value
        return value.data

    def put(self, text: str, path: Path, value: Any) -> str:
        """Return the text with this value at a path. Raises UnreadableError."""
        if _blank(text):
            text = text.rstrip() + "{}\n"
        place = self._root(text)
        for depth, name in enumerate(path):
            if place.members is None:
                raise UnreadableError(f"{'.'.join(path[:depth])} is not an object")
            member = place.member(name)
            if member is None:
                for outer in reversed(path[depth + 1 :]):
                    value = {outer: value}
                return _insert(text, place, name, value)
            place = member.value
        return text[: place.start] + _dump(value, text, place.start) + text[place.end :]

    def drop(self, text: str, path: Path) -> str:
        """Return the text without what is at a path. Raises UnreadableError."""
        while True:
            place: Value | None = self._root(text)
            for name in path[:-1]:
                member = place.member(name) if place else None
                place = member.value if member else None
            if place is None or place.member(path[-1]) is None:
                return text
            text = _remove(text, place, path[-1])

    def empty(self, text: str) -> bool:
        """Say whether a text holds nothing at all."""
        return "".join(text.removeprefix(_MARK).split()) in {"", "{}"}

    def _root(self, text: str) -> Value:
        if _blank(text):
            text = "{}"
        try:
            # A byte order mark counts as a blank, so that places stay the same.
            root = scan(text.replace(_MARK, " ", 1) if text.startswith(_MARK) else text, comments=self.comments)
        except json.JSONDecodeError as error:
            message = f"not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}"
            raise UnreadableError(message) from error
        if root.members is None:
            raise UnreadableError("not a JSON object")
        return root


def _blank(text: str) -> bool:
    return not text.removeprefix(_MARK).strip()


def _indent(text: str, at: int) -> str:
    """Return the blanks at the beginning of the line that holds a place."""
    line = text[text.rfind("\n", 0, at) + 1 : at].removeprefix(_MARK)
    return line[: len(line) - len(line.lstrip(" \t"))]


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _dump(value: Any, text: str, at: int) -> str:
    return (
        _newline(text)
        .join(json.dumps(value, ensure_ascii=False, indent=2).split("\n"))
        .replace("\n", "\n" + _indent(text, at))
    )


def _insert(text: str, place: Value, name: str, value: Any) -> str:
    """Return the text with one more member at the end of an object."""
    close = place.end - 1
    members = place.members or ()
    last = members[-1] if members else None
    before = text[place.start + 1 : close] if last is None else text[last.value.end : close]
    head = text[: place.start + 1] if last is None else text[: last.value.end]
    if last is not None and last.comma < 0:
        head += ","
    written = f"{json.dumps(name, ensure_ascii=False)}: "
    if last is not None and "\n" not in text[place.start : close]:
        trail = before[len(before.rstrip()) :]
        return f"{head}{before.rstrip()} {written}{json.dumps(value, ensure_ascii=False)}{trail}{text[close:]}"
    outer = _indent(text, place.start)
    inner = outer + _UNIT
    if last is not None and not text[text.rfind("\n", 0, last.start) + 1 : last.start].strip():
        inner = _indent(text, last.start)
    newline = _newline(text)
    start = f"{head}{before.rstrip()}{newline}{inner}"
    return f"{start}{written}{_dump(value, start, len(start))}{newline}{outer}{text[close:]}"


def _remove(text: str, place: Value, name: str) -> str:
    """Return the text without one member, and without the line that it leaves empty."""
    members = place.members or ()
    index = max(index for index, member in enumerate(members) if member.name == name)
    member = members[index]
    before = members[index - 1].comma if index else -1
    if member.comma >= 0:
        text = text[: member.comma] + text[member.comma + 1 :].lstrip(" \t")
        text = text[: member.start] + text[member.value.end :]
    elif before >= 0 and not text[before + 1 : member.start].strip():
        return text[:before] + text[member.value.end :]
    else:
        text = text[: member.start] + text[member.value.end :]
        if before >= 0:
            text = text[:before] + text[before + 1 :]
    return _without_empty_line(text, member.start - 1 if member.comma < 0 <= before else member.start)


def _without_empty_line(text: str, at: int) -> str:
    begin = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    if begin and end >= 0 and not text[begin:end].strip():
        return text[:begin] + text[end + 1 :]
    return text
