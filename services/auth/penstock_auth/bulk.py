"""Statements of every batch of settlements, past SQLAlchemy's compiler: their texts are made once.

Many rows go in one statement. SQLite runs it once for each, which costs it next to nothing; PostgreSQL is given one
JSON text, which is read there far sooner than a thousand parameters. Errors are SQLAlchemy's all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy.dialects import postgresql

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Column, Connection, Table

Cells = tuple[str | int | None, ...]

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
        types = ", ".join(f'"{name}" {table.c[name].type.compile(_POSTGRES)}' for name in columns)
        self._columns = tuple(columns)
        self._sqlite = sqlite
        self._postgres = postgres.replace("{rows}", f"json_to_recordset(%s::json) AS r({types})")

    def write(self, connection: Connection, rows: Sequence[Cells]) -> Sequence[Any] | None:
        """Write rows, in their order; gives what PostgreSQL returns for them, None where it is not asked to."""
        if not rows:
            return None
        if not _on_postgres(connection):
            connection.exec_driver_sql(self._sqlite, list(rows))
            return None
        columns = self._columns
        text = _encode([dict(zip(columns, row, strict=True)) for row in rows]).decode()
        answer = connection.exec_driver_sql(self._postgres, (text,))
        return answer.fetchall() if answer.returns_rows else None


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
