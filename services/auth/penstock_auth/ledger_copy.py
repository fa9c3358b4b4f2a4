"""Copies a ledger from SQLite into an empty PostgreSQL database: `python -m penstock_auth.ledger_copy FILE`.

The way from one auth to several. The target is named by PENSTOCK_AUTH_DATABASE_URL, as auth itself is told. No auth may
run meanwhile: the file's lock sees to that on this side. All rows go over in one transaction, or none.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from sqlalchemy import func, insert, select, text

from penstock_auth.database import open_database, parse_url
from penstock_auth.errors import DatabaseDown, DatabaseRefused
from penstock_auth.schema import lock_for, migrate
from penstock_auth.tables import metadata
from penstock_chassis.secret import Secret
from penstock_chassis.settings import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

_ROWS_AT_ONCE: Final = 2_000
_LOCK_WAIT_SECONDS: Final = 2.0


class CopySettings(Settings, frozen=True, kw_only=True):
    """Where to; the rest of auth's environment is of no concern here."""

    prefix: ClassVar[str] = "PENSTOCK_AUTH_"

    database_url: Secret
    """`postgresql://USER:PASSWORD@HOST/NAME`, a database without a ledger."""


def copy_ledger(source: Path, target: str) -> dict[str, int]:
    """Copy everything; returns how many rows each table has now. Raises DatabaseRefused, DatabaseDown."""
    if parse_url(target).get_backend_name() != "postgresql":
        raise DatabaseRefused("the target is not PostgreSQL: set PENSTOCK_AUTH_DATABASE_URL to postgresql://...")
    if not source.is_file():
        raise DatabaseRefused(f"there is no {source}")
    url = f"sqlite:///{source.absolute()}"
    lock = lock_for(parse_url(url))
    if lock is not None:
        lock.take(_LOCK_WAIT_SECONDS)
    old, new = open_database(url), open_database(target)
    try:
        migrate(old.engine)
        migrate(new.engine)
        with old.engine.connect() as reading, new.engine.begin() as writing:
            return _copy(reading, writing)
    finally:
        old.close()
        new.close()
        if lock is not None:
            lock.free()


def _copy(reading: Connection, writing: Connection) -> dict[str, int]:
    # The usual time limits are for short transactions.
    writing.execute(text("SET LOCAL statement_timeout = 0"))
    writing.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    taken = [table.name for table in metadata.sorted_tables if _count(writing, table.name)]
    if taken:
        raise DatabaseRefused(f"the target has rows in {', '.join(taken)}: give an empty database")
    copied = {}
    for table in metadata.sorted_tables:
        rows = reading.execute(select(table)).mappings()
        while some := rows.fetchmany(_ROWS_AT_ONCE):
            writing.execute(insert(table), [dict(row) for row in some])
        copied[table.name] = _count(writing, table.name)
        if copied[table.name] != _count(reading, table.name):
            raise DatabaseRefused(f"not all rows of {table.name} arrived")
        if table.autoincrement_column is not None:
            # What PostgreSQL numbers by itself goes on behind the last copied row.
            writing.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}"  # noqa: S608 -- a name of our own
                    " HAVING max(id) IS NOT NULL"
                )
            )
    return copied


def _count(connection: Connection, name: str) -> int:
    return int(connection.execute(select(func.count()).select_from(metadata.tables[name])).scalar_one())


def main(arguments: Sequence[str] | None = None) -> int:
    """Copy, say what was copied, and return the exit code."""
    parser = argparse.ArgumentParser(prog="penstock_auth.ledger_copy", description=__doc__)
    parser.add_argument("source", type=Path, help="the SQLite file, such as /var/lib/penstock/ledger.db")
    told = parser.parse_args(arguments)
    try:
        copied = copy_ledger(told.source, CopySettings.read().database_url.reveal())
    except (SettingsError, DatabaseRefused, DatabaseDown) as error:
        sys.stderr.write(f"nothing was copied: {error}\n")
        return 1
    sys.stdout.writelines(f"{name}: {rows} rows\n" for name, rows in copied.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
