"""Brings the database to this release's schema when auth starts, one auth at a time.

A SQLite file belongs to one auth: `FileLock` keeps a second one out for as long as the first lives. On PostgreSQL an
advisory lock lets one of several starting replicas migrate while the others wait.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError

from penstock_auth.errors import DatabaseDown, DatabaseRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL, Connection, Engine

HEAD: Final = "0002"
"""The newest migration. Alembic (half a second of imports) is loaded only when the database is at another one."""

_ADVISORY_LOCK: Final = 0x50454E53544F434B  # "PENSTOCK"
_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class FileLock:
    """Keeps a SQLite file to one process. The kernel lets go of it when the process dies, however it dies."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._handle = -1

    def take(self, wait_seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Wait at most so long for the process before us to end; then DatabaseRefused. Blocks: call it in a thread."""
        path = self._database.with_name(self._database.name + ".lock")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(handle)
                    raise DatabaseRefused(
                        f"another auth has {self._database} open; stop it, or give this one a database of its own"
                    ) from None
                sleep(0.05)
            else:
                break
        self._handle = handle
        # The ledger is for its owner only, from the first byte.
        os.close(os.open(self._database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def free(self) -> None:
        """Let the next one in."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def lock_for(url: URL) -> FileLock | None:
    """Return the lock that a SQLite database needs, None for others."""
    return FileLock(Path(str(url.database)).absolute()) if url.drivername == "sqlite" else None


def migrate(engine: Engine) -> None:
    """Bring the schema to `HEAD`. Raises DatabaseDown, and DatabaseRefused when a newer release made it."""
    try:
        with engine.connect() as connection:
            if revision(connection) == HEAD:
                return
            connection.rollback()
            if engine.dialect.name == "postgresql":
                connection.execute(text("SET statement_timeout = 0"))
                connection.execute(text("SET lock_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _ADVISORY_LOCK})
                connection.commit()
            try:
                _upgrade(connection)
            finally:
                if engine.dialect.name == "postgresql":
                    connection.rollback()
                    connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _ADVISORY_LOCK})
                    connection.commit()
                    # The timeouts above were for this only.
                    connection.invalidate()
    except OperationalError as error:
        raise DatabaseDown(f"the database is not reachable: {type(error.orig).__name__}") from error


def revision(connection: Connection) -> str | None:
    """Return the migration that the database is at; None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(found) if found is not None else None


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 -- see HEAD: most starts need no Alembic
    from alembic.config import Config  # noqa: PLC0415 -- the same
    from alembic.util.exc import CommandError  # noqa: PLC0415 -- the same

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseRefused(
            f"the database's schema ({revision(connection)}) is not known to this release; run the release that made it"
        ) from error
