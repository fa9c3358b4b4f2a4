"""What a command prints: one JSON document, or a table for people."""

from __future__ import annotations

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

_PIPE_COLUMNS = 4000
"""Width where there is no terminal: rows are never folded."""


class Output(StrEnum):
    """The forms of output."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, how its text comes out of a document, and whether it is a number."""

    title: str
    text: Callable[[Document], str]
    number: bool = False


def field(title: str, name: str, *, number: bool = False) -> Column:
    """Return a column that shows one field as it is; a dash for none."""

    def text(document: Document) -> str:
        value = document[name]
        if value is None or value == "":
            return "-"
        return f"{value:,}" if number else str(value)

    return Column(title, text, number)


def show_list(rows: Sequence[Document], columns: Sequence[Column], output: Output) -> None:
    """Print documents, one per row."""
    if output is Output.JSON:
        show_json(rows)
        return
    table = _table()
    for column in columns:
        table.add_column(column.title, justify="right" if column.number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(column.text(row) for column in columns))
    _console().print(table)


def show_one(document: Document, columns: Sequence[Column], output: Output) -> None:
    """Print one document, a line per column."""
    if output is Output.JSON:
        show_json(document)
        return
    table = _table(header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for column in columns:
        table.add_row(column.title.lower(), column.text(document))
    _console().print(table)


def show_line() -> None:
    """Print an empty line between two tables."""
    _console().print()


def show_json(document: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
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
