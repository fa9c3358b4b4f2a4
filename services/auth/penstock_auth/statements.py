"""The few statements that SQLite and PostgreSQL spell alike but SQLAlchemy keeps apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table


def insert_new(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """INSERT that leaves out rows which exist already (by any unique column)."""
    return upsert(connection, table).on_conflict_do_nothing()


def upsert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """INSERT to which `.on_conflict_do_update(...)` can be added."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
