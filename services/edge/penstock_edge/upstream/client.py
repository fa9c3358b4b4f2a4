"""Connections to every upstream: bounded pools by origin, names resolved and checked, TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from penstock_edge.upstream.addresses import Origin, Target, is_public
from penstock_edge.upstream.connection import Connection
from penstock_edge.upstream.errors import (
    AddressRefusedError,
    ConnectError,
    DeadlineError,
    PoolFullError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from penstock_edge.upstream.call import Call
    from penstock_edge.upstream.deadlines import Deadlines

_RESOLVED_SECONDS = 10.0
_MOST_ADDRESSES = 8


class UpstreamLimits(NamedTuple):
    """Bounds of each origin's pool."""

    connections: int = 1024
    waiters: int = 1024
    idle_seconds: float = 50.0


class UpstreamClient:
    """Sends requests to origins over kept connections."""

    def __init__(self, limits: UpstreamLimits | None = None, ca_file: Path | None = None) -> None:
        self._limits = limits or UpstreamLimits()
        self._loop = asyncio.get_running_loop()
        self._pools: dict[Origin, _Pool] = {}
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(
        self, target: Target, request: list[bytes], deadlines: Deadlines, before: Callable[[], None] | None = None
    ) -> Call:
        """Send a request (its head and body, ready to be written) and return its call. Raises UpstreamError.

        `before` is called when there is a connection, in the moment before the first byte goes out.
        """
        pool = self._pools.get(target.origin)
        if pool is None:
            pool = self._pool(target.origin)
        connection = pool.take()
        if connection is None:
            connection = await pool.acquire(deadlines.connect)
        if before is not None:
            try:
                before()
            except BaseException:
                connection.close()
                raise
        return connection.begin(request, deadlines)

    def open_connections(self) -> int:
        """How many connections there are, idle ones included."""
        return sum(pool.size for pool in self._pools.values())

    async def close(self) -> None:
        """End every connection."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for pool in self._pools.values():
            pool.close()
        # Transports close in the loop's next turns.
        await asyncio.sleep(0)

    def _pool(self, origin: Origin) -> _Pool:
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._limits.idle_seconds / 4, self._sweep_idle)
        pool = self._pools[origin] = _Pool(self._loop, origin, self._limits, self._tls_for(origin))
        return pool

    def _tls_for(self, origin: Origin) -> ssl.SSLContext | None:
        if origin.scheme != "https":
            return None
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _sweep_idle(self) -> None:
        self._sweep = self._loop.call_later(self._limits.idle_seconds / 4, self._sweep_idle)
        oldest = self._loop.time() - self._limits.idle_seconds
        for origin, pool in list(self._pools.items()):
            pool.close_idle_since(oldest)
            if pool.unused:
                del self._pools[origin]


class _Pool:
    """Connections of one origin: the idle ones last in first out, waiters first come first served."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, origin: Origin, limits: UpstreamLimits, tls: ssl.SSLContext | None
    ) -> None:
        self._loop = loop
        self._origin = origin
        self._limits = limits
        self._tls = tls
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._addresses: list[str] = []
        self._resolved_until = 0.0
        self._closed = False
        self.size = 0
        """Connections that exist or are being made."""

    @property
    def unused(self) -> bool:
        """Nothing is open here and nobody waits."""
        return self.size == 0 and not self._waiters

    def take(self) -> Connection | None:
        """Return an idle connection that is still good, the one used last first."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.alive:
                return connection
            connection.close()
        return None

    async def acquire(self, seconds: float) -> Connection:
        """Return a connection: a new one while there is room, else one that comes back. Raises UpstreamError."""
        deadline = self._loop.time() + seconds
        while self.size >= self._limits.connections:
            connection = await self._queue(deadline)
            if connection is not None and connection.alive:
                return connection
            if connection is not None:
                connection.close()
        self.size += 1
        connection = None
        try:
            connection = await self._connect(deadline)
        finally:
            if connection is None:
                self.size -= 1
                self._invite()
        return connection

    async def _queue(self, deadline: float) -> Connection | None:
        if len(self._waiters) >= self._limits.waiters:
            raise PoolFullError("too many requests wait for a connection to this upstream")
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout_at(deadline):
                return await waiter
        except TimeoutError:
            raise PoolFullError("no connection to this upstream became free in time") from None
        finally:
            if waiter.done() and not waiter.cancelled():
                self._leave(waiter)
            elif waiter in self._waiters:
                self._waiters.remove(waiter)

    def _leave(self, waiter: asyncio.Future[Connection | None]) -> None:
        """Pass on what a waiter was given when it left at that very moment."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            connection = waiter.result()
            if connection is None:
                self._invite()
            else:
                self._freed(connection)

    async def _connect(self, deadline: float) -> Connection:
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._resolve()
                return await self._connect_any(addresses, deadline)
        except TimeoutError:
            raise DeadlineError("connect") from None

    async def _connect_any(self, addresses: list[str], deadline: float) -> Connection:
        last: Exception | None = None
        for number, address in enumerate(addresses):
            left = max(0.0, deadline - self._loop.time())
            share = self._loop.time() + left / (len(addresses) - number)
            try:
                async with asyncio.timeout_at(share):
                    return await self._connect_one(address)
            except TimeoutError:
                last = DeadlineError("connect")
            except (OSError, ssl.SSLError, ssl.CertificateError) as error:
                last = error
        if isinstance(last, DeadlineError):
            raise last
        raise ConnectError(f"cannot connect: {type(last).__name__}") from last

    async def _connect_one(self, address: str) -> Connection:
        hostname = self._origin.host if self._tls is not None else None
        _, protocol = await self._loop.create_connection(
            lambda: Connection(self._loop, self._freed, self._lost),
            address,
            self._origin.port,
            ssl=self._tls,
            server_hostname=hostname,
        )
        if self._closed:
            protocol.abort()
            raise ConnectError("this process is closing")
        self._open.add(protocol)
        return protocol

    async def _resolve(self) -> list[str]:
        origin = self._origin
        if origin.scheme == "http" and not origin.allow_private:
            raise AddressRefusedError("plain http is allowed only with allowPrivateAddress")
        now = self._loop.time()
        if now >= self._resolved_until:
            self._addresses = await self._look_up()
            self._resolved_until = now + _RESOLVED_SECONDS
        if not origin.allow_private and not all(is_public(address) for address in self._addresses):
            raise AddressRefusedError("the upstream's name resolves to a private address")
        return self._addresses

    async def _look_up(self) -> list[str]:
        host = self._origin.host
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        try:
            found = await self._loop.getaddrinfo(host, self._origin.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectError("the upstream's name cannot be resolved") from error
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        if not addresses:
            raise ConnectError("the upstream's name has no address")
        return addresses[:_MOST_ADDRESSES]

    def _freed(self, connection: Connection) -> None:
        if self._closed:
            connection.close()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._idle.append(connection)

    def _lost(self, connection: Connection) -> None:
        if connection not in self._open:
            return
        self._open.discard(connection)
        self.size -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        self._invite()

    def _invite(self) -> None:
        """There is room for one more connection: let the first waiter make it."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def close_idle_since(self, oldest: float) -> None:
        """Close what was idle since before `oldest`."""
        keep: list[Connection] = []
        for connection in self._idle:
            if connection.idle_since < oldest:
                connection.close()
            else:
                keep.append(connection)
        self._idle = keep

    def close(self) -> None:
        """End every connection; waiters get none."""
        self._closed = True
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(PoolFullError("this process is closing"))
