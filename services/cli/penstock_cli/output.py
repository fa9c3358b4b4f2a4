"""What a command prints: one JSON document, or a table for people."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penstock_cli.admin import Document

_PIPE_COLUMNS = 1_000_000
"""Width where there is no terminal: rows are never folded."""
_TEXT_COLUMNS = 12
_GAP = 2


class Output(StrEnum):
    """The forms of output."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, how its text comes out of a document, and whether it is a number.

    `whole` text stays on one line, however narrow the terminal is: an id is there to be copied.
    """

    title: str
    text: Callable[[Document], str]
    number: bool = False
    whole: bool = False


def field(title: str, name: str, *, number: bool = False, whole: bool = False) -> Column:
    """Return a column that shows one field as it is; a dash for none."""

    def text(document: Document) -> str:
        value = document[name]
        if value is None or value == "":
            return "-"
        return f"{value:,}" if number else str(value)

    return Column(title, text, number, whole)


def show_list(rows: Sequence[Document], columns: Sequence[Column], output: Output) -> None:
    """Print documents, one per row."""
    if output is Output.JSON:
        show_json(rows)
        return
    console = _console()
    least = [_least(column, rows) for column in columns]
    wanted = sum(least) + _GAP * (len(least) - 1)
    narrow = console.width < wanted
    # The terminal then breaks whole lines, which can be read and copied.
    console.width = max(console.width, wanted)
    table = _table()
    for column, width in zip(columns, least, strict=True):
        table.add_column(
            column.title,
            justify="right" if column.number else "left",
            overflow="fold",
            no_wrap=column.whole,
            width=width if narrow else None,
        )
    for row in rows:
        table.add_row(*(_visible(column.text(row), lines=False) for column in columns))
    console.print(table)


def _visible(text: str, *, lines: bool) -> str:
    """Return a text of which every sign can be seen: names and notes could else steer the terminal.

    With `lines`, it may have several.
    """
    return "".join(sign if sign.isprintable() or (lines and sign == "\n") else ascii(sign)[1:-1] for sign in text)


def _least(column: Column, rows: Sequence[Document]) -> int:
    """Return the width below which a column cannot be read."""
    widest = max((len(column.text(row)) for row in rows), default=0)
    words = max(map(len, column.title.split()))
    return max(words, widest if column.whole or column.number else min(widest, _TEXT_COLUMNS))


def show_one(document: Document, columns: Sequence[Column], output: Output) -> None:
    """Print one document, a line per column."""
    if output is Output.JSON:
        show_json(document)
        return
    table = _table(header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for column in columns:
        table.add_row(column.title.lower(), _visible(column.text(document), lines=True))
    _console().print(table)


def show_line() -> None:
    """Print an empty line between two tables."""
    _console().print()


def print_anything() -> None:
    """Let stdout take any text from now on, also where the locale knows few letters: others are spelt out."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def show_json(document: Any) -> None:
    """Print one JSON document."""
    whole = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=not whole) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Say something to the person on stderr, so that stdout stays the document."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _table(*, header: bool = True) -> Table:
    return Table(box=None, show_header=header, header_style="bold", pad_edge=False)


def _console() -> Console:
    """Return stdout as it is now; markup and highlighting would read meaning into names."""
    width = None if sys.stdout.isatty() else _PIPE_COLUMNS
    return Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)
