"""What is put into a configuration file, and how it is taken out again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from penstock_cli.setup_client.syntax import Path, Syntax


@dataclass(frozen=True, slots=True)
class Entry:
    """One value at one place; `only_if_absent` leaves alone what is there."""

    path: Path
    value: Any
    only_if_absent: bool = False


def put_in(syntax: Syntax, text: str, entries: Iterable[Entry]) -> str:
    """Return the text with these entries; unchanged when all of them are there. Raises UnreadableError."""
    for entry in entries:
        there = syntax.get(text, entry.path)
        if there != entry.value and not (entry.only_if_absent and there is not None):
            text = syntax.put(text, entry.path, entry.value)
    return text


def take_out(syntax: Syntax, text: str, original: str, paths: Sequence[Path]) -> str:
    """Return the text with everything at these paths as it was in the original. Raises UnreadableError."""
    for path in paths:
        before = syntax.get(original, path)
        if before is None:
            text = _drop_with_emptied(syntax, text, original, path)
        elif syntax.get(text, path) != before:
            text = syntax.put(text, path, before)
    return text


def _drop_with_emptied(syntax: Syntax, text: str, original: str, path: Path) -> str:
    """Take away what is at a path, and the objects around it that are empty now and were not there before."""
    if syntax.get(text, path) is None:
        return text
    text = syntax.drop(text, path)
    for depth in range(len(path) - 1, 0, -1):
        around = path[:depth]
        if syntax.get(text, around) != {} or syntax.get(original, around) is not None:
            break
        text = syntax.drop(text, around)
    return text
