"""Statements of every batch of settlements, past SQLAlchemy's compiler: their texts are made once.

Many rows go in one statement, by their columns. SQLite runs it once for each row, which costs it next to nothing;
PostgreSQL is given each column as one text, which is read there far sooner than a thousand parameters. Errors are
SQLAlchemy's all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import String
from sqlalchemy.dialects import postgresql

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Column, Connection, Table

Cells = Sequence[Sequence[str] | Sequence[int]]
"""Columns of equal length, in the order of the statement's."""

_POSTGRES: Final = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
_encode: Final = msgspec.json.Encoder().encode


def _on_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


class Rows:
    """Writes rows of some of a table's columns; flags are 0 and 1."""

    def __init__(self, table: Table, columns: Sequence[str], *, sqlite: str, postgres: str) -> None:
        """Make the texts: `sqlite` has a place for each column, `postgres` reads `r`, which has the columns."""
        kinds = [table.c[name].type for name in columns]
        self._of_texts = tuple(isinstance(kind, String) for kind in kinds)
        places = [
            "json_array_elements_text(%s::json)" if text else f"unnest(%s::{kind.compile(_POSTGRES)}[])"
            for text, kind in zip(self._of_texts, kinds, strict=True)
        ]
        self._sqlite = sqlite
        self._postgres = postgres.replace("{rows}", f"ROWS FROM ({', '.join(places)}) AS r({_listed(columns)})")

    def write(self, connection: Connection, columns: Cells) -> Sequence[Any] | None:
        """Write rows, in their order; gives what PostgreSQL returns for them, None where it is not asked to."""
        if not columns or not columns[0]:
            return None
        if not _on_postgres(connection):
            connection.exec_driver_sql(self._sqlite, list(zip(*columns, strict=True)))
            return None
        texts = [_array(column, text=text) for column, text in zip(columns, self._of_texts, strict=True)]
        answer = connection.exec_driver_sql(self._postgres, tuple(texts))
        return answer.fetchall() if answer.returns_rows else None


def _array(column: Sequence[str] | Sequence[int], *, text: bool) -> str:
    """Write a column as PostgreSQL reads it: a JSON array of texts, or an array of numbers of its own."""
    return _encode(column).decode() if text else f"{{{','.join(map(str, column))}}}"


def inserts(table: Table, columns: Sequence[str], *, sqlite: str = "", postgres: str = "") -> Rows:
    """Return what inserts rows; the rest is what follows in the statement of each."""
    begin = f"INSERT INTO {table.name} ({_listed(columns)})"
    return Rows(
        table,
        columns,
        sqlite=f"{begin} VALUES ({', '.join('?' * len(columns))}) {sqlite}",
        postgres=f"{begin} SELECT {_listed(columns)} FROM {{rows}} {postgres}",  # noqa: S608 -- names of our own
    )


class Lookup:
    """Finds rows whose text in one column is among some."""

    def __init__(
        self, columns: Sequence[Column[Any]], among: Column[Any], *, sqlite: str = "", postgres: str = ""
    ) -> None:
        """Make the texts; the rest is what follows in the statement of each."""
        names = _listed([column.name for column in columns])
        begin = f"SELECT {names} FROM {among.table} WHERE {among.name}"  # noqa: S608 -- names of our own
        self._sqlite = f"{begin} IN (SELECT value FROM json_each(?)) {sqlite}"  # noqa: S608 -- the same
        self._postgres = f"{begin} = ANY(ARRAY(SELECT json_array_elements_text(%s::json))) {postgres}"

    def find(self, connection: Connection, texts: Collection[str], *more: str) -> Sequence[Any]:
        """Find the rows; `more` goes to the places in what follows."""
        if not texts:
            return ()
        statement = self._postgres if _on_postgres(connection) else self._sqlite
        return connection.exec_driver_sql(statement, (_encode(sorted(texts)).decode(), *more)).fetchall()
