"""The simulator in one object: listens, serves the wire formats, /simulator and /healthz. Also runs inside a test."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Self

from penstock_chassis import logs
from penstock_chassis.http import listen
from penstock_simulator.accounts import Accounts
from penstock_simulator.connection import Connection, GoneError
from penstock_simulator.control import PREFIX, Control
from penstock_simulator.delivery import head
from penstock_simulator.faults import FaultBook
from penstock_simulator.formats import models_form
from penstock_simulator.openai.errors import no_such_url
from penstock_simulator.records import Records
from penstock_simulator.registry import FORMATS
from penstock_simulator.serving import Serving
from penstock_simulator.settings import SimulatorSettings

if TYPE_CHECKING:
    from types import TracebackType

    from penstock_simulator.connection import Exchange, Request

log = logs.get(__name__)

_NOT_FOUND = b'{"type":"error","error":{"type":"not_found_error","message":"Not Found"}}'


class Simulator:
    """A provider that misbehaves on command.

    `async with Simulator(settings) as sim:` serves at `sim.url` until the block ends. `sim.records`, `sim.faults` and
    `sim.accounts` are what /simulator shows.
    """

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self.records = Records(self.settings.max_records)
        self.faults = FaultBook(self.settings.faults)
        self.accounts = Accounts(self.settings.accounts, time.monotonic())
        formats = [make(self.settings) for make in FORMATS]
        self._serving = Serving(self.settings, formats, self.accounts, self.faults, self.records)
        self._control = Control(self.accounts, self.faults, self.records)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Base URL, without a slash at its end."""
        host = self.settings.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises AddressTakenError."""
        listener = listen(self.settings.host, self.settings.port, reuse_port=self.settings.port_is_reserved)
        self.port = int(listener.getsockname()[1])
        self._server = await asyncio.get_running_loop().create_server(self._connect, sock=listener)
        log.info("simulator_listening", port=self.port, accounts=[account.name for account in self.accounts.all()])

    async def stop(self, seconds: float = 0.0) -> None:
        """Stop listening, give open answers `seconds`, cut what is left."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_closed()
        if any(not connection.idle for connection in self._connections):
            log.warning("simulator_cut", answers=sum(not connection.idle for connection in self._connections))
        for connection in list(self._connections):
            connection.cut(reset=False)
        await self._all_closed()
        self._server = None

    async def _all_closed(self) -> None:
        while self._connections:  # noqa: ASYNC110 -- an event would have to be kept by every connection
            await asyncio.sleep(0.005)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _connect(self) -> Connection:
        return Connection(self._handle, self._connections, self.settings.max_body_bytes)

    async def _handle(self, exchange: Exchange) -> None:
        path = exchange.request.path
        try:
            if path == "/healthz":
                await _plain(exchange, 200, b'{"alive":true}')
            elif self.settings.control and (path == PREFIX or path.startswith(PREFIX + "/")):
                await self._control.serve(exchange)
            elif not await self._serving.serve(exchange):
                await _plain(exchange, 404, _not_found(exchange.request))
        except GoneError:
            raise
        except Exception:
            log.exception("simulator_failed", method=exchange.request.method, path=path)
            exchange.cut()


def _not_found(request: Request) -> bytes:
    """Return the body for a path that no format knows, in the form of whom the client takes us for."""
    return no_such_url(request.method, request.path) if models_form(request) == "openai" else _NOT_FOUND


async def _plain(exchange: Exchange, status: int, body: bytes) -> None:
    length = ("content-length", str(len(body)))
    await exchange.send(head(status, [("content-type", "application/json"), length]) + body)
