"""auth's entry point: settings, the parts put together in one place, and their order of start and end."""

from __future__ import annotations

import asyncio
import gc
import secrets
import sys
import time
from typing import TYPE_CHECKING, Final

from penstock.auth.v1 import admin_pb2_grpc, auth_pb2_grpc
from penstock_auth import metrics
from penstock_auth.admin import AdminServicer
from penstock_auth.administration import Administration
from penstock_auth.catalog_follower import CatalogFollower
from penstock_auth.change_log import ChangeLog
from penstock_auth.changes import Change, ChangeHub, ChangeKind
from penstock_auth.counters import Counters, StoreDown, StoreRefused, Truth
from penstock_auth.counters_memory import MemoryCounters
from penstock_auth.database import open_database, parse_url
from penstock_auth.epochs import EpochWatch
from penstock_auth.errors import DatabaseDown, DatabaseRefused
from penstock_auth.key_book import KeyBook
from penstock_auth.ledger import Ledger
from penstock_auth.lending import Lender
from penstock_auth.schema import lock_for, migrate
from penstock_auth.servicer import AuthServicer
from penstock_auth.sessions import SessionBook
from penstock_auth.settings import AuthSettings
from penstock_auth.truth import SqlTruth
from penstock_catalog.cluster_access import AccessError
from penstock_catalog.documents import AuthCatalog
from penstock_chassis import logs
from penstock_chassis.identity import Component
from penstock_chassis.process import StartError, run, told
from penstock_chassis.rpc_transport import Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock_auth.database import Database
    from penstock_auth.schema import FileLock
    from penstock_catalog.whereabouts import CatalogSource
    from penstock_chassis.rpc import RpcServer

log = logs.get(__name__)

_AGAIN_SECONDS: Final = 0.5
# Settlements are worked on in a thread of their own; a call that waits for this one gets its turn so soon.
_SWITCH_SECONDS: Final = 0.001


def unix_ms() -> int:
    """Return the machine's time, Unix ms."""
    return time.time_ns() // 1_000_000


class Auth:
    """One life of auth. What waits at the start (database, catalog) is named by `ready`."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._transport = Transport(Component.AUTH, settings)
        self._waiting_for = "its start"
        self._tasks: list[asyncio.Task[None]] = []
        self._lock: FileLock | None = None
        self._database: Database | None = None
        self._counters: Counters | None = None
        self._changes = ChangeHub()
        self._server: RpcServer | None = None

    async def start(self) -> None:
        """Open SQL, take up the catalog, open the counters, serve. Raises StartError for what waiting cannot mend."""
        try:
            source = self._settings.catalog.open(AuthCatalog, _catalog_problem)
            self._database = await self._open_database()
            await self._assemble(self._database, source)
        except (DatabaseRefused, StoreRefused, AccessError) as error:
            raise StartError(str(error)) from error
        self._waiting_for = ""

    async def drain(self, seconds: float) -> None:
        """End the streams, let open calls end, then let go of everything."""
        self._changes.end()
        if self._server is not None:
            await self._server.end(seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._counters is not None:
            await self._counters.close()
        if self._database is not None:
            await asyncio.to_thread(self._database.close)
        if self._lock is not None:
            self._lock.free()

    def ready(self) -> tuple[bool, str]:
        """Tell whether calls are answered."""
        return not self._waiting_for, self._waiting_for and f"waiting for {self._waiting_for}"

    async def _open_database(self) -> Database:
        url = self._settings.database_url.reveal()
        self._lock = lock_for(parse_url(url))
        if self._lock is not None:
            self._waiting_for = "the lock of the database file"
            try:
                await asyncio.to_thread(self._lock.take, self._settings.database_lock_wait_seconds)
            except OSError as error:
                raise DatabaseRefused(f"the ledger's file cannot be used: {error}") from error
        database = open_database(
            url,
            deadline_seconds=self._settings.database_deadline_seconds,
            connections=self._settings.database_connections,
        )
        self._waiting_for = "the database"
        while True:
            try:
                await asyncio.to_thread(migrate, database.engine)
            except DatabaseDown as error:
                log.warning("database_down", reason=str(error))
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return database

    async def _assemble(self, database: Database, source: CatalogSource[AuthCatalog]) -> None:
        """Put the parts together: the one place where they meet."""
        settings = self._settings
        changes = self._changes
        keys = KeyBook(database, monotonic=time.monotonic)
        sessions = SessionBook(database, unix_ms)
        counters = self._counters = _counters(settings, SqlTruth(database, sessions, keys, unix_ms))
        epochs = EpochWatch(counters, sessions, now_ms=unix_ms, on_new_epoch=changes.poke)
        ledger = Ledger(
            database,
            now_ms=unix_ms,
            store_ms=counters.time_ms,
            monotonic=time.monotonic,
            price_wait_seconds=settings.price_wait_seconds,
        )
        administration = Administration(
            database,
            keys,
            changes,
            key_prefix=settings.key_prefix,
            random_bytes=secrets.token_bytes,
            now_ms=unix_ms,
        )
        follower = CatalogFollower(source, database, keys, changes, unix_ms)
        self._keep("catalog", follower.run)
        self._waiting_for = f"the catalog {settings.catalog}"
        await follower.loaded.wait()
        await _open(counters)
        await epochs.look()
        self._keep("epochs", epochs.run)
        if database.shared:
            change_log = ChangeLog(
                database, _heard(keys, changes), counters.bulletin, now_ms=unix_ms, monotonic=time.monotonic
            )
            self._keep("change_log", change_log.run)
            self._keep("bulletin", change_log.run_without_sql)
        self._keep("certificates", self._transport.run)
        server = self._transport.server(
            settings.address, max_connection_age_seconds=settings.max_connection_age_seconds
        )
        servicer = AuthServicer(
            database=database,
            keys=keys,
            lender=Lender(database, keys, counters, unix_ms),
            ledger=ledger,
            counters=counters,
            sessions=sessions,
            changes=changes,
            epochs=epochs,
            now_ms=unix_ms,
        )
        auth_pb2_grpc.add_AuthServiceServicer_to_server(servicer, server.server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(
            AdminServicer(administration, database, keys, unix_ms), server.server
        )
        await server.begin()
        self._server = server

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run something for ever; should it fail, say so and begin again."""

        async def always() -> None:
            while True:
                try:
                    await work()
                except Exception:
                    log.exception("task_failed", task=name)
                await asyncio.sleep(_AGAIN_SECONDS)

        self._tasks.append(asyncio.create_task(always(), name=name))


def _calm_down() -> None:
    """Let nothing hold up a call for long: neither the collector, nor a thread that has the interpreter."""
    gc.collect()
    # What was imported lives for ever, and batches leave no cycles.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(_SWITCH_SECONDS)


def _counters(settings: AuthSettings, truth: Truth) -> Counters:
    if settings.redis_url is None:
        return MemoryCounters(truth)
    from penstock_auth.counters_redis import RedisCounters  # noqa: PLC0415 -- local mode starts sooner without Redis

    try:
        return RedisCounters(
            settings.redis_url.reveal(),
            truth,
            cluster=settings.redis_cluster,
            deadline_seconds=settings.redis_deadline_seconds,
        )
    except ValueError as error:
        raise StoreRefused(str(error)) from error


async def _open(counters: Counters) -> None:
    """Open the store; one that is down is waited for while serving (edges hear of it), one that is unfit is refused."""
    try:
        await counters.open()
    except StoreDown as error:
        metrics.STORE_ERRORS.labels("open").inc()
        log.warning("store_down", reason=str(error))


def _heard(keys: KeyBook, changes: ChangeHub) -> Callable[[Change], None]:
    """Return what to do with a change that another replica made."""

    def heard(change: Change) -> None:
        if change.kind is ChangeKind.KEY:
            keys.doubt(bytes.fromhex(change.subject))
        elif change.kind is ChangeKind.EVERYTHING:
            keys.doubt_all()
        changes.publish(change)

    return heard


def _catalog_problem(problem: str) -> None:
    metrics.CATALOG_PROBLEMS.inc()
    log.error("catalog_unusable", reason=problem)


def main() -> None:
    """Run auth until it is told to stop."""
    settings = told(AuthSettings)
    _calm_down()
    sys.exit(run(lambda: Auth(settings), settings))


if __name__ == "__main__":
    main()
