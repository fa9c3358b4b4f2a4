"""The router process: puts its parts together, in this order, and lives."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import ssl
import sys
import time
from typing import TYPE_CHECKING

from penstock.router.v1 import router_pb2_grpc
from penstock_catalog.cluster_access import AccessError
from penstock_catalog.documents import RouterCatalog
from penstock_chassis import logs
from penstock_chassis.identity import Component
from penstock_chassis.process import StartError, run, told
from penstock_chassis.proxies import Proxies
from penstock_chassis.rpc_transport import Transport
from penstock_router.clock import StoreClock
from penstock_router.desired import Desired
from penstock_router.metrics import Metrics
from penstock_router.probing import Prober
from penstock_router.router import Router
from penstock_router.servicer import RouterServicer
from penstock_router.settings import RouterSettings
from penstock_router.store_memory import MemoryStore
from penstock_router.stores import StoreDown
from penstock_routing import Policy

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from penstock_catalog.whereabouts import CatalogSource
    from penstock_router.stores import StateStore

_log = logs.get(__name__)

_FLUSH_SECONDS = 1.0


class RouterService:
    """One life of the router, for the chassis."""

    def __init__(self, settings: RouterSettings, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.store = _store(settings)
        self.clock = StoreClock(time.monotonic, time.time)
        self.router = Router(
            settings,
            Policy(),
            self.store,
            self.clock,
            Prober(deadline_seconds=settings.probe_deadline_seconds, tls=_upstreams(settings), proxies=_proxies()),
            self.metrics,
            learning_until=_learning_until(settings, self.store, self.clock),
        )
        self._transport = Transport(Component.ROUTER, settings)
        self.server = self._transport.server(
            settings.address, max_connection_age_seconds=settings.max_connection_age_seconds
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._failed = ""
        self._draining = False

    async def start(self) -> None:
        """Read the state that others left, then serve. Without a catalog it serves, and is not ready."""
        source = self._catalog()
        await self._meet_store()
        servicer = RouterServicer(self.router, heartbeat_seconds=self.settings.heartbeat_seconds)
        router_pb2_grpc.add_RouterServiceServicer_to_server(servicer, self.server.server)
        self._begin("catalog", self._follow_catalog(source))
        self._begin("turns", self.router.run())
        self._begin("certificates", self._transport.run())
        if isinstance(self.store, MemoryStore):
            self._begin("flush", self._flush(self.store))
        await self.server.begin()

    async def drain(self, seconds: float) -> None:
        """End streams (edges go on with what they have, and find another router), then keep the state."""
        self._draining = True
        await self.router.close()
        await self.server.end(min(seconds, 1.0))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(OSError, StoreDown):
            await self.store.close()

    def ready(self) -> tuple[bool, str]:
        """Ready with a catalog and all its parts alive."""
        if self._failed:
            return False, f"{self._failed} ended"
        return (True, "") if self.router.loaded else (False, "no catalog yet")

    def _begin(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (self._draining and task.exception() is None):
            return
        self._failed = task.get_name()
        _log.error("task_ended", task=task.get_name(), exc_info=task.exception())

    async def _meet_store(self) -> None:
        try:
            reading = await self.store.read("conditions")
        except StoreDown as error:
            _log.warning("store_down", store=self.store.name, error=str(error), going_on_from="memory")
            return
        self.clock.adjust(reading.now)

    def _catalog(self) -> CatalogSource[RouterCatalog]:
        try:
            return self.settings.catalog.open(RouterCatalog, self._problem)
        except AccessError as error:
            raise StartError(str(error)) from error

    async def _follow_catalog(self, source: CatalogSource[RouterCatalog]) -> None:
        async for document in source.changes():
            self.router.load(Desired(document))

    def _problem(self, text: str) -> None:
        self.metrics.catalog_problems.inc()
        _log.warning("catalog_unusable", problem=text, in_force=self.router.desired.version)

    async def _flush(self, store: MemoryStore) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            try:
                await store.flush()
            except OSError as error:
                _log.warning("state_not_kept", error=error.strerror)


def _store(settings: RouterSettings) -> StateStore:
    if settings.redis_url is not None:
        from penstock_router.store_redis import RedisStore  # noqa: PLC0415 -- local mode starts sooner without Redis

        try:
            return RedisStore(
                settings.redis_url.reveal(),
                cluster=settings.redis_cluster,
                deadline_seconds=settings.redis_deadline_seconds,
            )
        except ValueError as error:
            raise StartError(str(error)) from error
    path = settings.run_dir / f"{settings.name}.state" if settings.run_dir is not None else None
    return MemoryStore(time.time, path)


def _upstreams(settings: RouterSettings) -> ssl.SSLContext | None:
    """Return whom to believe when upstreams are probed, where it is not those whom everybody believes."""
    if settings.upstream_ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(settings.upstream_ca_file))
    except OSError as error:
        reason = error.strerror or "not PEM"
        raise StartError(f"upstream_ca_file {settings.upstream_ca_file} cannot be used: {reason}") from error


def _proxies() -> Proxies:
    """Return the proxies of the environment: upstreams are probed the way that edges call them."""
    try:
        return Proxies.from_environment(os.environ)
    except ValueError as error:
        raise StartError(str(error)) from error


def _learning_until(settings: RouterSettings, store: StateStore, clock: StoreClock) -> float:
    remembers = store.shared or (isinstance(store, MemoryStore) and store.remembers)
    return float("-inf") if remembers else clock.now() + settings.learning()


def main() -> None:
    """Live."""
    settings = told(RouterSettings)
    # What was imported lives for ever, and reports leave no cycles: the collector need not hold anybody up.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.exit(run(lambda: RouterService(settings), settings))


if __name__ == "__main__":
    main()
