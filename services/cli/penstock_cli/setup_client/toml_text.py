"""TOML as people keep it: one value changes, while formatting, order and comments stay."""

from __future__ import annotations

import copy
import tomllib
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from penstock_cli.setup_client.syntax import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tomlkit import TOMLDocument

    from penstock_cli.setup_client.syntax import Path


class Toml:
    """TOML; values are strings, or tables of strings."""

    def get(self, text: str, path: Path) -> Any:
        """Return the value at a path; None when there is none. Raises UnreadableError."""
        value: Any = _load(text)
        for name in path:
            if not isinstance(value, dict) or name not in value:
                return None
            value = value[name]
        return value

    def put(self, text: str, path: Path, value: Any) -> str:
        """Return the text with this value at a path. Raises UnreadableError."""
        wanted = _load(text)
        place = wanted
        for depth, name in enumerate(path[:-1]):
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise UnreadableError(f"{'.'.join(path[: depth + 1])} is not a table")
        fresh = path[-1] not in place
        place[path[-1]] = copy.deepcopy(value)
        ways: list[Callable[[str], str]] = [lambda text: _set(text, path, value)]
        if isinstance(value, dict) and fresh:
            ways.insert(0, lambda text: _append_table(text, path, value))
        return _first_right(text, ways, wanted)

    def drop(self, text: str, path: Path) -> str:
        """Return the text without what is at a path. Raises UnreadableError."""
        if self.get(text, path) is None:
            return text
        wanted = _load(text)
        place = wanted
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]
        return _first_right(text, [lambda text: _delete(text, path)], wanted)

    def empty(self, text: str) -> bool:
        """Say whether a text holds nothing at all."""
        return not text.strip()


def _load(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnreadableError(f"not valid TOML: {error}") from error


def _first_right(text: str, ways: list[Callable[[str], str]], wanted: dict[str, Any]) -> str:
    """Return the first result that says what it should: there are more ways to write a table than to change one."""
    for way in ways:
        try:
            changed = way(text)
            if _without_empty(tomllib.loads(changed)) == _without_empty(wanted):
                return changed
        except (TOMLKitError, tomllib.TOMLDecodeError, ValueError, TypeError, KeyError):
            continue
    raise UnreadableError("its tables are written in a way that cannot be changed safely; change it by hand")


def _without_empty(value: Any) -> Any:
    """Return a value without empty tables in it; whether one is written down makes no difference."""
    if not isinstance(value, dict):
        return value
    inner = {name: _without_empty(item) for name, item in value.items()}
    return {name: item for name, item in inner.items() if item != {}}


def _append_table(text: str, path: Path, value: dict[str, str]) -> str:
    block: TOMLDocument = tomlkit.document()
    block.update(value)
    header = ".".join(tomlkit.key(name).as_string() for name in path)
    newline = "\r\n" if "\r\n" in text else "\n"
    before = text.rstrip() + newline * 2 if text.strip() else ""
    return before + f"[{header}]\n{tomlkit.dumps(block)}".replace("\n", newline)


def _set(text: str, path: Path, value: Any) -> str:
    document = tomlkit.parse(text)
    table: Any = document
    for name in path[:-1]:
        if name not in table:
            table[name] = tomlkit.inline_table() if isinstance(table, InlineTable) else tomlkit.table()
        table = table[name]
    if isinstance(value, dict) and isinstance(table, InlineTable):
        inner = tomlkit.inline_table()
        inner.update(value)
        table[path[-1]] = inner
    elif isinstance(value, dict) and path[-1] in table:
        kept = table[path[-1]]
        for name in [name for name in kept if name not in value]:
            del kept[name]
        for name, item in value.items():
            if kept.get(name) != item:
                kept[name] = item
    else:
        table[path[-1]] = value
    return tomlkit.dumps(document)


def _delete(text: str, path: Path) -> str:
    document = tomlkit.parse(text)
    table: Any = document
    for name in path[:-1]:
        table = table[name]
    del table[path[-1]]
    changed = tomlkit.dumps(document)
    # The blank line that stood before what was last is now the end.
    newline = "\r\n" if changed.endswith("\r\n") else "\n"
    return changed.rstrip() + newline if changed.strip() else ""
