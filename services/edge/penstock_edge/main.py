"""The edge process: builds everything from its settings, serves, drains."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import random
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from penstock.auth.v1.auth_pb2_grpc import AuthServiceStub
from penstock.router.v1.router_pb2_grpc import RouterServiceStub
from penstock_chassis import logs, process, tracing
from penstock_chassis.http import AddressTakenError, HttpServer, listen
from penstock_chassis.identity import Component
from penstock_chassis.proxies import Proxies
from penstock_chassis.rpc_transport import Transport
from penstock_edge import batch_calls
from penstock_edge.admission import Admission
from penstock_edge.changes import Changes
from penstock_edge.corking import Cork
from penstock_edge.dispatch import Dispatcher, Pace
from penstock_edge.estimates import Estimates
from penstock_edge.metrics import EdgeMetrics
from penstock_edge.outcomes import Reporter
from penstock_edge.plane import Plane
from penstock_edge.protocol import EdgeProtocol
from penstock_edge.replay import Replay
from penstock_edge.session import Session, new_session_id
from penstock_edge.settings import EdgeSettings
from penstock_edge.settlement import Settlement
from penstock_edge.snapshot import RouterView
from penstock_edge.spool import Spool, SpoolLocked
from penstock_edge.tracing import Tracing
from penstock_edge.upstream import UpstreamClient, UpstreamLimits
from penstock_routing import Policy, Pool

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from penstock.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub
    from penstock.router.v1.router_pb2_grpc import RouterServiceAsyncStub

log = logs.get(__name__)

# How long a start waits for auth and the router before it listens anyway, unready.
_START_SECONDS = 10.0
# After the streams' time is over: for their last words.
_SHED_SECONDS = 0.25
# Parts of the farewell, which take as long when auth or the router is gone, and next to nothing otherwise.
_FLUSH_PART, _RETURN_PART, _GOODBYE_PART = 0.5, 0.1, 0.2


class Edge:
    """One edge process (`penstock_chassis.process.Service`)."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._tasks: list[asyncio.Task[Any]] = []
        self._broken = ""
        self._draining = False
        self._server: HttpServer | None = None
        self._build()

    def _build(self) -> None:
        """Make every part and hand it what it needs."""
        settings = self._settings
        clock, rng = time.monotonic, random.random
        self.metrics = metrics = EdgeMetrics()
        session_id = new_session_id()
        self._transport = Transport(Component.EDGE, settings)
        self._auth_channel = self._transport.channel(settings.auth_address, Component.AUTH)
        self._router_channel = self._transport.channel(settings.router_address, Component.ROUTER)
        auth: AuthServiceAsyncStub = AuthServiceStub(self._auth_channel)
        router: RouterServiceAsyncStub = RouterServiceStub(self._router_channel)
        policy = Policy(max_attempts=settings.max_attempts)
        self.view = view = RouterView(
            router, Pool(policy), session_id=session_id, edge=settings.name, clock=clock, rng=rng
        )

        def version() -> str:
            return view.catalog_version

        report = batch_calls.report(self._router_channel)
        self.reporter = Reporter(report, view, session_id=session_id, clock=clock, observer=metrics)
        self.session = Session(auth, edge=settings.name, session_id=session_id, catalog_version=version, clock=clock)
        self.changes = Changes(auth, session_id=session_id, clock=clock, rng=rng, saw_epoch=self.session.saw_epoch)
        self.admission = Admission(
            auth, self.session, self.changes, clock=clock, rng=rng, observer=metrics, catalog_version=version
        )
        try:
            self.spool = Spool.start(
                settings.spool_dir,
                settings.name,
                session_id,
                now_ms=time.time_ns() // 1_000_000,
                observer=metrics,
                max_bytes=settings.spool_max_bytes,
            )
        except (SpoolLocked, ValueError, OSError) as error:
            raise process.StartError(f"the spool cannot be used: {error}") from error
        tracer = tracing.active()
        traces = (
            None
            if tracer is None
            else Tracing(tracer, self.admission.known, asked_per_second=settings.traces_asked_per_second)
        )
        settle = batch_calls.settle(self._auth_channel)
        self.settlement = Settlement(
            settle, self.spool, self.admission, session_id=session_id, observer=metrics, rng=rng, tracing=traces
        )
        self.replay = Replay(
            auth,
            root=settings.spool_dir,
            edge=settings.name,
            inherited=self.spool.inherited,
            session_id=session_id,
            observer=metrics,
            rng=rng,
        )
        # One for both sides: a request's writes to its upstream follow those of others to their clients.
        self._cork = Cork(asyncio.get_running_loop())
        self.client = _upstream_client(settings, self._cork)
        estimates = Estimates()
        self.dispatcher = Dispatcher(
            view=view,
            client=self.client,
            admission=self.admission,
            spool=self.spool,
            settlement=self.settlement,
            reporter=self.reporter,
            estimates=estimates,
            metrics=metrics,
            policy=policy,
            pace=Pace(
                total=settings.total_seconds,
                keepalive=settings.keepalive_seconds,
                stall=settings.client_stall_seconds,
                wait=settings.wait_seconds,
                wait_places=settings.wait_places,
            ),
            rng=rng,
            tracing=traces,
        )
        self.app = Plane(
            view=view,
            admission=self.admission,
            settlement=self.settlement,
            dispatcher=self.dispatcher,
            estimates=estimates,
            auth=auth,
            session=session_id,
            ready=self.ready,
            max_body_bytes=settings.max_body_bytes,
            admit_seconds=settings.admit_seconds,
            tracing=traces,
        ).app()
        self._show_gauges()

    def _show_gauges(self) -> None:
        gauge = self.metrics.gauge
        gauge("penstock_edge_active_requests", "Requests between admission and settlement.", self._active)
        gauge(
            "penstock_edge_settlements_pending",
            "Ended requests, not in the ledger.",
            lambda: self.settlement.waiting,
        )
        gauge(
            "penstock_edge_settlement_oldest_seconds",
            "Since the oldest of these ended.",
            lambda: self.settlement.oldest_seconds(time.time_ns() // 1_000_000),
        )
        gauge("penstock_edge_spool_bytes", "Size of the spool.", lambda: self.spool.bytes)
        limit_bytes = self._settings.spool_max_bytes
        gauge("penstock_edge_spool_max_bytes", "Size at which new requests are refused.", lambda: limit_bytes)
        gauge("penstock_edge_spool_records", "Requests in the spool.", lambda: self.spool.records)
        gauge("penstock_edge_replay_outstanding", "Requests of earlier lives.", lambda: self.replay.outstanding)
        gauge("penstock_edge_keys", "Keys with an allowance here.", lambda: self.admission.keys)
        gauge("penstock_edge_outcomes_queued", "Outcomes the router has not heard.", lambda: self.reporter.queued)
        gauge("penstock_edge_upstream_connections", "Connections to upstreams.", self.client.open_connections)
        for name in ("slots", "input_tokens", "output_tokens", "micro_usd"):
            read = functools.partial(self._held, name)
            gauge(f"penstock_edge_held_{name}", f"Held by open requests: {name}.", read)
        for name in ("requests", "count_tokens"):
            read = functools.partial(self._lent, name)
            gauge(f"penstock_edge_lent_{name}", f"Units of leases not spent yet: {name}.", read)

    def _active(self) -> float:
        return len(self.dispatcher.active)

    def _held(self, name: str) -> float:
        return self.admission.held()[name]

    def _lent(self, name: str) -> float:
        return self.admission.lent()[name]

    # Service

    async def start(self) -> None:
        """Reach auth and the router, then listen. Raises AddressTakenError and StartError."""
        settings = self._settings
        with _reserved(settings.host, settings.port) as port:
            self._begin("certificates", self._transport.run())
            self._begin("router watch", self.view.run())
            self._begin("reports", self.reporter.run())
            self._begin("changes", self.changes.run(self.admission))
            self._begin("session", self.session.run(self.admission))
            self._begin("admission", self.admission.run())
            self._begin("settlement", self.settlement.run())
            self._begin("replay", self.replay.run())
            await self._reach_others()
            listener = listen(settings.host, port, reuse_port=True)
        protocol = functools.partial(EdgeProtocol, stall_seconds=settings.client_stall_seconds, cork=self._cork)
        self._server = HttpServer(self.app, [listener], http=protocol, timeout_keep_alive=settings.client_idle_seconds)
        await self._server.begin()
        # What lives now lives for ever; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        log.info("serving", host=settings.host, port=port, session=self.session.id)

    async def _reach_others(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                while not (self.view.ready and self.session.answered):  # noqa: ASYNC110 -- two parts, neither has an event
                    await asyncio.sleep(0.02)

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and not self._draining:
            self._broken = task.get_name()
            log.error("background_work_died", work=task.get_name(), exc_info=task.exception())
            # Nothing here can mend it; what follows a drain is a fresh process.
            signal.raise_signal(signal.SIGTERM)

    def ready(self) -> tuple[bool, str]:
        """Say whether requests can be served."""
        if self._draining:
            return False, "draining"
        if self._broken:
            return False, f"broken: {self._broken}"
        if not self.view.ready:
            return False, "the router has not been reached"
        if not self.session.answered:
            return False, "auth has not been reached"
        for path in self._settings.ready_files:
            if not path.exists():
                return False, f"waiting for {path.name}"
        return True, ""

    async def drain(self, seconds: float) -> None:
        """Let streams end, then end them; settle; say goodbye."""
        self._draining = True
        if self._server is not None:
            await self._end_requests(self._server, seconds)
        farewell = self._settings.farewell_seconds
        left = await self.settlement.flush(farewell * _FLUSH_PART)
        await self.admission.give_all_back(farewell * _RETURN_PART)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.reporter.flush(farewell * _GOODBYE_PART)
        owes = left > 0 or self.spool.records > 0 or self.replay.outstanding > 0
        self.spool.shut(ended=not owes and await self.session.end(farewell * _GOODBYE_PART))
        await self.client.close()
        await asyncio.gather(self._auth_channel.close(None), self._router_channel.close(None))

    async def _end_requests(self, server: HttpServer, seconds: float) -> None:
        ending = asyncio.create_task(server.end(seconds + _SHED_SECONDS))
        await asyncio.wait({ending}, timeout=seconds)
        cut = list(self.dispatcher.active)
        if cut:
            log.warning("requests_cut", count=len(cut))
        for exchange in cut:
            exchange.interrupt("draining")
        await ending
        await self._cut_off(server)

    async def _cut_off(self, server: HttpServer) -> None:
        """End what outlived all this: clients that read nothing hear no last words, and some asked once more meanwhile.

        What is not settled before the farewell has no use in the books.
        """
        for connection in list(server.server_state.connections):
            transport: asyncio.Transport = connection.transport
            if not transport.is_closing():
                transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SHED_SECONDS):
                while self.dispatcher.active:
                    for exchange in list(self.dispatcher.active):
                        exchange.interrupt("draining")
                        if exchange.task is not None:
                            exchange.task.cancel()
                    await asyncio.sleep(0.01)


def _upstream_client(settings: EdgeSettings, cork: Cork) -> UpstreamClient:
    """Make the client of upstreams. Proxies come from the environment, as for every other program."""
    limits = UpstreamLimits(
        connections=settings.upstream_connections,
        waiters=settings.upstream_connections,
        idle_seconds=settings.upstream_idle_seconds,
        total=settings.upstream_total_connections,
    )
    try:
        return UpstreamClient(limits, settings.upstream_ca_file, Proxies.from_environment(os.environ), cork)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise process.StartError(f"upstream_ca_file {settings.upstream_ca_file} cannot be used: {reason}") from error
    except ValueError as error:
        raise process.StartError(str(error)) from error


@contextlib.contextmanager
def _reserved(host: str, port: int) -> Any:
    """Hold an address without listening on it yet, and give its port. Raises AddressTakenError."""
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            holder.bind((host, port))
        except OSError as error:
            raise AddressTakenError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
        yield int(holder.getsockname()[1])
    finally:
        holder.close()


def main() -> None:
    """Run the edge from its environment."""
    settings = process.told(EdgeSettings)
    sys.exit(process.run(lambda: Edge(settings), settings))


if __name__ == "__main__":
    main()
