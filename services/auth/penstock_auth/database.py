"""SQL at the rim: transactions run in threads of their own, each with a deadline. A frozen database is a down one.

SQLite has one writer (WAL, synchronous=FULL: what is committed survives a power cut); PostgreSQL has a small pool.
Everything above hands in plain functions of a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from penstock_auth import metrics
from penstock_auth.errors import DatabaseDown, DatabaseRefused
from penstock_auth.stretches import give_way

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL, Connection
    from sqlalchemy.engine import ExceptionContext

T = TypeVar("T")

WRITER: Final = "writer"
READER: Final = "reader"
_TRIES: Final = 5
_WAITING_LIMIT: Final = 512
# Of SQLite's machine: a tenth of a millisecond.
_INSTRUCTIONS_AT_A_STRETCH: Final = 200
_READ_ONLY: Final = "25006"
_INTERRUPTED: Final = "SQLITE_INTERRUPT"
# Deadlock, serialization failure, lock timeout: the transaction did nothing and may be tried again.
_RETRY_STATES: Final = frozenset({"40001", "40P01", "55P03"})


@dataclass(eq=False)
class _Job:
    """One transaction on its way: how what it does is ended, and whether its caller has given up."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    given_up: bool = False
    end: Callable[[], None] | None = None

    def use(self, connection: Connection, *, reads: bool) -> None:
        end = _end_of(connection.connection.dbapi_connection, reads=reads)
        with self.lock:
            self.end = end

    def let_go(self) -> None:
        with self.lock:
            self.end = None

    def give_up(self) -> None:
        """End what it does, so that its thread is there for others."""
        with self.lock:
            self.given_up = True
            if self.end is not None:
                self.end()


def _end_of(connection: Any, *, reads: bool) -> Callable[[], None] | None:
    """Return what ends a statement of a connection whose caller has given up.

    A server may be frozen, so its socket is cut. In a file a report is interrupted; what writes goes on: it may be
    slow, and finds itself done when it is repeated.
    """
    if hasattr(connection, "fileno"):
        return partial(_cut, connection.fileno())
    return connection.interrupt if reads else None


def _cut(fileno: int) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fileno)) as line:
        line.shutdown(socket.SHUT_RDWR)


class _Lane:
    """An engine with its threads. At most `_WAITING_LIMIT` jobs wait; more are refused at once.

    `usual_seconds` is the deadline that its connections tell the server of; another is told for each transaction.
    """

    def __init__(self, engine: Engine, threads: int, name: str, usual_seconds: float) -> None:
        self.engine = engine
        self._reads = name == READER
        self._usual_seconds = usual_seconds
        self._name = name
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"sql-{name}")
        self._jobs: set[_Job] = set()

    async def run(self, work: Callable[[Connection], T], seconds: float, *, repeatable: bool) -> T:
        """Run `work` in a transaction within `seconds`. Raises DatabaseDown."""
        if len(self._jobs) >= _WAITING_LIMIT:
            metrics.SQL_ERRORS.labels("full").inc()
            raise DatabaseDown("too many calls wait for the database")
        job = _Job()
        self._jobs.add(job)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._transact, work, job, seconds, repeatable
                )
        except TimeoutError:
            metrics.SQL_ERRORS.labels("deadline").inc()
            raise DatabaseDown(f"the database did not answer within {seconds:g} s") from None
        finally:
            job.give_up()
            self._jobs.discard(job)

    def _transact(self, work: Callable[[Connection], T], job: _Job, seconds: float, repeatable: bool) -> T:
        for tries_left in range(_TRIES - 1, -1, -1):
            if job.given_up:
                break
            committing = False
            try:
                with self.engine.connect() as connection:
                    job.use(connection, reads=self._reads)
                    try:
                        with connection.begin():
                            if self.engine.dialect.name == "postgresql" and seconds != self._usual_seconds:
                                connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
                            result = work(connection)
                            committing = True
                    finally:
                        job.let_go()
                return result  # noqa: TRY300 -- `else` would come after the handlers that loop
            except PoolTimeoutError as error:
                raise DatabaseDown("no connection to the database is free") from error
            except DBAPIError as error:
                if _kind(error) == _INTERRUPTED:
                    break
                again = _undone(error) or (error.connection_invalidated and (repeatable or not committing))
                if again and tries_left:
                    metrics.SQL_ERRORS.labels("retried").inc()
                    continue
                if isinstance(error, OperationalError) or error.connection_invalidated or _undone(error):
                    metrics.SQL_ERRORS.labels("down").inc()
                    raise DatabaseDown(f"the database is not reachable or refuses: {_kind(error)}") from error
                raise
        raise DatabaseDown("the caller has given up")

    def close(self) -> None:
        for job in list(self._jobs):
            job.give_up()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.engine.dispose()


class Database:
    """Transactions by `read`, `report` and `write`. Make one with `open_database`.

    At most `reports` reports are read at once, so that there is room for what a request waits for.
    """

    def __init__(self, writer: _Lane, reader: _Lane, deadline_seconds: float, reports: int) -> None:
        self._writer = writer
        self._reader = reader
        self._deadline = deadline_seconds
        self._reports = asyncio.Semaphore(reports)

    @property
    def engine(self) -> Engine:
        """The writing engine, for migrations and tests."""
        return self._writer.engine

    @property
    def shared(self) -> bool:
        """Whether other replicas of auth may use it too."""
        return self.engine.dialect.name == "postgresql"

    async def write(
        self, work: Callable[[Connection], T], *, seconds: float | None = None, repeatable: bool = False
    ) -> T:
        """Run `work` in one transaction and commit. `repeatable`: doing it twice is harmless, also after a lost commit.

        Raises DatabaseDown (it may have been committed all the same) and whatever `work` raises (then it was not).
        """
        return await self._writer.run(work, seconds or self._deadline, repeatable=repeatable)

    async def read(self, work: Callable[[Connection], T], *, seconds: float | None = None) -> T:
        """Run `work`, which only reads, in one transaction. Raises DatabaseDown."""
        return await self._reader.run(work, seconds or self._deadline, repeatable=True)

    async def report(self, work: Callable[[Connection], T], *, seconds: float) -> T:
        """Run `work`, which may read very much, like `read`, after others of its kind. Raises DatabaseDown."""
        async with self._reports:
            return await self.read(work, seconds=seconds)

    def close(self) -> None:
        """Let go of connections and threads; work that waits is dropped. Blocks for as long as running work takes."""
        self._writer.close()
        self._reader.close()


def parse_url(text: str) -> URL:
    """Read `sqlite:///FILE` or `postgresql://...`; DatabaseRefused for anything else. No message holds a password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # A ValueError is about the port, for which it may take a part of the password.
        raise DatabaseRefused("the database URL is not understood; give sqlite:///FILE or postgresql://...") from None
    if url.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite" and url.database not in {None, "", ":memory:"}:
        return url
    raise DatabaseRefused(f"no {url.drivername} here; give sqlite:///FILE or postgresql://...")


def open_database(text: str, *, deadline_seconds: float = 5.0, connections: int = 4) -> Database:
    """Make the engines; nothing connects yet. DatabaseRefused when the URL makes no sense."""
    url = parse_url(text)
    if url.drivername == "sqlite":
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        writer, reader = _sqlite(url, "BEGIN IMMEDIATE", 1), _sqlite(url, "BEGIN", 2)
        lanes = _Lane(writer, 1, WRITER, deadline_seconds), _Lane(reader, 2, READER, deadline_seconds)
        return Database(*lanes, deadline_seconds, reports=1)
    writer, reader = (_postgres(url, deadline_seconds, connections) for _ in range(2))
    lanes = (
        _Lane(writer, connections, WRITER, deadline_seconds),
        _Lane(reader, connections, READER, deadline_seconds),
    )
    return Database(*lanes, deadline_seconds, reports=max(1, connections // 2))


def _sqlite(url: URL, begin: str, connections: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=5,
        hide_parameters=True,
        connect_args={"timeout": 2.0, "check_same_thread": False, "cached_statements": 256},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver's own BEGIN comes too late and is never IMMEDIATE; ours is below.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        connection.set_progress_handler(give_way, _INSTRUCTIONS_AT_A_STRETCH)

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _postgres(url: URL, deadline_seconds: float, connections: int) -> Engine:
    milliseconds = int(deadline_seconds * 1000)
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=deadline_seconds,
        hide_parameters=True,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": max(2, int(deadline_seconds)),
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            "application_name": "penstock-auth",
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
            f" -c idle_in_transaction_session_timeout={milliseconds * 2}",
        },
    )

    @event.listens_for(engine, "handle_error")
    def look_for_another(context: ExceptionContext) -> None:
        # A primary that became a replica reads on; who writes has to find the new one, by a new connection.
        if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
            context.is_disconnect = True

    return engine


def _undone(error: DBAPIError) -> bool:
    """Whether the database took the whole transaction back and it may simply be tried again."""
    return getattr(error.orig, "sqlstate", None) in _RETRY_STATES


def _kind(error: DBAPIError) -> str:
    """Name the error without its text, which may quote values."""
    return (
        getattr(error.orig, "sqlite_errorname", None)
        or getattr(error.orig, "sqlstate", None)
        or type(error.orig).__name__
    )
