"""Fills a migrated ledger with the keys, projects and usage rows of a world: COPY on PostgreSQL, inserts on SQLite."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from sqlalchemy import insert
from world import Size, key_rows, project_rows, usage_rows

from penstock_auth.database import open_database
from penstock_auth.schema import migrate
from penstock_auth.tables import api_keys, attempts, projects, settlements

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Table

_AT_ONCE = 5_000


def fill_postgres(url: str, size: Size, price_digest: str) -> None:
    """Migrate and fill a database of PostgreSQL."""
    _migrate(url)
    with psycopg.connect(url) as link:
        _copy(link, projects.name, project_rows(size))
        _copy(link, api_keys.name, key_rows(size))
        pairs = usage_rows(size, price_digest)
        while some := list(itertools.islice(pairs, 50_000)):
            _copy(link, settlements.name, (row for row, _ in some))
            _copy(link, attempts.name, (row for _, row in some))
    with psycopg.connect(url, autocommit=True) as link:
        link.execute("VACUUM ANALYZE")
        link.execute("CHECKPOINT")
        link.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def fill_sqlite(url: str, size: Size, price_digest: str) -> None:
    """Migrate and fill a file of SQLite."""
    database = open_database(url)
    try:
        migrate(database.engine)
        with database.engine.begin() as connection:
            _insert(connection, projects, project_rows(size))
            _insert(connection, api_keys, key_rows(size))
            pairs = usage_rows(size, price_digest)
            while some := list(itertools.islice(pairs, _AT_ONCE)):
                _insert(connection, settlements, (row for row, _ in some))
                _insert(connection, attempts, (row for _, row in some))
    finally:
        database.close()


def _migrate(url: str) -> None:
    database = open_database(url)
    try:
        migrate(database.engine)
    finally:
        database.close()


def _copy(link: psycopg.Connection[Any], table: str, rows: Iterable[dict[str, Any]]) -> None:
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    text = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(",").join(sql.Identifier(name) for name in first)
    )
    with link.cursor() as cursor, cursor.copy(text) as copy:
        for row in itertools.chain([first], rows):
            copy.write_row(list(row.values()))


def _insert(connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    rows = iter(rows)
    while some := list(itertools.islice(rows, _AT_ONCE)):
        connection.execute(insert(table), some)
