"""The client: finds or makes the pool of a request's origin and sends the request over one of its connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from penstock_chassis.proxies import Proxies
from penstock_edge.corking import Cork
from penstock_edge.upstream.dialing import Dialer
from penstock_edge.upstream.pool import Places, Pool, UpstreamLimits
from penstock_edge.upstream.proxies import absolute
from penstock_edge.upstream.resolver import Resolver
from penstock_edge.upstream.tls import UpstreamContext, make_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from penstock_chassis.proxies import Proxy
    from penstock_edge.upstream.addresses import Origin, Target
    from penstock_edge.upstream.call import Call
    from penstock_edge.upstream.connection import Connection
    from penstock_edge.upstream.deadlines import Deadlines

_DIRECT: Final = Proxies({})
_SWEEP_SECONDS: Final = 1.0


class UpstreamClient:
    """Sends requests to origins over kept connections."""

    def __init__(
        self,
        limits: UpstreamLimits | None = None,
        ca_file: Path | None = None,
        proxies: Proxies = _DIRECT,
        cork: Cork | None = None,
    ) -> None:
        """Read `ca_file`; raises OSError or ssl.SSLError when it cannot be used."""
        self._limits = limits or UpstreamLimits()
        self._loop = asyncio.get_running_loop()
        self._cork = cork or Cork(self._loop)
        self._places = Places(self._limits.total)
        self._pools = self._places.pools
        self._resolver = Resolver(self._loop)
        self._proxies = proxies
        # Those of the system are read when the first upstream with TLS is used.
        self._tls: UpstreamContext | None = None if ca_file is None else make_context(ca_file)
        self._forward: dict[Origin, Proxy] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def try_send(
        self, target: Target, request: list[bytes], deadlines: Deadlines, before: Callable[[], None]
    ) -> Call | None:
        """Do what `send` does if a connection is idle; else nothing, and return None. Raises UpstreamError."""
        pool = self._pools.get(target.origin)
        connection = None if pool is None else pool.take()
        return None if connection is None else self._begin(connection, target, request, deadlines, before)

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
        return self._begin(connection, target, request, deadlines, before)

    def _begin(
        self,
        connection: Connection,
        target: Target,
        request: list[bytes],
        deadlines: Deadlines,
        before: Callable[[], None] | None,
    ) -> Call:
        if self._forward and target.origin in self._forward:
            head = absolute(request[0], target.host_header, self._forward[target.origin])
            request = [head, *request[1:]]
        if before is not None:
            try:
                before()
            except BaseException:
                connection.close()
                raise
        return connection.begin(request, deadlines)

    def release(self) -> None:
        """Write what waits on any connection, the clients' too: what comes next may take long."""
        self._cork.release()

    def open_connections(self) -> int:
        """How many connections there are, idle ones included."""
        return sum(pool.size for pool in self._pools.values())

    async def close(self) -> None:
        """End every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._resolver.close()
        for pool in self._pools.values():
            pool.close()
        # Transports close in the loop's next turns.
        await asyncio.sleep(0)

    def _pool(self, origin: Origin) -> Pool:
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._sweep_seconds, self._sweep_idle)
        tls = self._tls_for(origin)
        proxy = self._proxies.choose(origin.scheme, origin.host, origin.port)
        forwarded = proxy is not None and tls is None
        if proxy is not None and forwarded:
            self._forward[origin] = proxy
        dialer = Dialer(self._loop, origin, self._resolver, tls, proxy)
        pool = self._pools[origin] = Pool(
            self._loop, origin, self._limits, self._places, dialer, self._cork, tls=tls, forwarded=forwarded
        )
        return pool

    def _tls_for(self, origin: Origin) -> UpstreamContext | None:
        if origin.scheme != "https":
            return None
        if self._tls is None:
            self._tls = make_context(None)
        return self._tls

    @property
    def _sweep_seconds(self) -> float:
        return min(_SWEEP_SECONDS, self._limits.idle_seconds / 4)

    def _sweep_idle(self) -> None:
        self._sweep = self._loop.call_later(self._sweep_seconds, self._sweep_idle)
        now = self._loop.time()
        for origin, pool in list(self._pools.items()):
            pool.sweep(now)
            if pool.unused:
                del self._pools[origin]
                self._forward.pop(origin, None)
        self._resolver.forget_old()
        if self._tls is not None:
            self._tls.forget_old(now)
