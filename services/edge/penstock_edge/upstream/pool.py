"""Connections of one origin: the idle ones last in first out, waiters first come first served, bounds on both."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from penstock_chassis import logs
from penstock_edge.upstream.connection import Connection
from penstock_edge.upstream.errors import ConnectError, PoolFullError, UpstreamError

if TYPE_CHECKING:
    from penstock_edge.corking import Cork
    from penstock_edge.upstream.addresses import Origin
    from penstock_edge.upstream.dialing import Dialer
    from penstock_edge.upstream.tls import UpstreamContext

_log = logs.get(__name__)
_LOG_EVERY_SECONDS: Final = 30.0


class UpstreamLimits(NamedTuple):
    """Bounds of connections: of each origin's, and of all."""

    connections: int = 1024
    """Of one origin."""
    waiters: int = 1024
    """Requests that may wait for a connection to one origin."""
    idle_seconds: float = 50.0
    """A connection that was not used for this long is closed: most servers close theirs after 60 s or 75 s."""
    total: int = 4096
    """Of all origins together."""
    age_seconds: float = 900.0
    """A connection of this age takes no more requests, so that a name that moved is followed."""


class Places:
    """What all pools share: how many connections there may be, and which pools wait for others to give one up."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._hungry: dict[Pool, None] = {}
        self.pools: dict[Origin, Pool] = {}

    @property
    def scarce(self) -> bool:
        """Some pool waits for a place."""
        return bool(self._hungry)

    def take(self) -> bool:
        """Take a place, if need be that of the connection that was idle longest."""
        if self._free <= 0:
            idle = [pool for pool in self.pools.values() if pool.idle]
            if not idle:
                return False
            min(idle, key=lambda pool: pool.idle[0].idle_since).give_up_oldest()
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    def wish(self, pool: Pool) -> None:
        """Note that a pool has waiters and no place."""
        self._hungry.setdefault(pool)

    def give_back(self) -> None:
        """Return a place, for the pools that wait for one, each in its turn."""
        self._free += 1
        while self._hungry and self._free > 0:
            pool = next(iter(self._hungry))
            del self._hungry[pool]
            pool.invite()


class Pool:
    """Connections of one origin."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        limits: UpstreamLimits,
        places: Places,
        dialer: Dialer,
        cork: Cork,
        *,
        tls: UpstreamContext | None,
        forwarded: bool,
    ) -> None:
        self._loop = loop
        self._origin = origin
        self._limits = limits
        self._places = places
        self._dialer = dialer
        self._cork = cork
        self._tls = tls
        self._forwarded = forwarded
        self._open: set[Connection] = set()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False
        self._told_at = float("-inf")
        self.idle: list[Connection] = []
        """The one used last at the end."""
        self.size = 0
        """Connections that exist or are being made."""

    @property
    def unused(self) -> bool:
        """Nothing is open here and nobody waits."""
        return self.size == 0 and not self._waiters

    def take(self) -> Connection | None:
        """Return an idle connection that is still good, the one used last first."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            if connection.alive:
                return connection
            self._drop(connection)
        return None

    async def acquire(self, seconds: float) -> Connection:
        """Return a connection: a new one while there is room, else one that comes back. Raises UpstreamError."""
        deadline = self._loop.time() + seconds
        if self._waiters or not self._take_place():
            connection = await self._queue(deadline)
            if connection is not None and connection.alive:
                return connection
            if connection is not None and not self._take_over(connection):
                return await self.acquire(deadline - self._loop.time())
        try:
            connection = await self._dialer.dial(self._make, deadline)
        except BaseException as error:
            self._give_back_place()
            if isinstance(error, UpstreamError):
                self._tell(error)
            raise
        if self._closed:
            connection.abort()
            self._give_back_place()
            raise ConnectError("cannot connect: this process is closing")
        self._open.add(connection)
        if connection.lost:
            self._lost(connection)
        return connection

    def _take_over(self, connection: Connection) -> bool:
        """Take the place of a connection that ended in the moment it came back."""
        connection.close()
        if connection in self._open:
            self._open.discard(connection)
            return True
        return not self._waiters and self._take_place()

    def _make(self) -> Connection:
        return Connection(
            self._loop,
            self._freed,
            self._lost,
            self._cork,
            age_seconds=self._limits.age_seconds,
            forwarded=self._forwarded,
            on_first_answer=None if self._tls is None else self._keep_session,
        )

    def _keep_session(self, connection: Connection) -> None:
        if self._tls is not None and connection.tls is not None:
            self._tls.keep(self._origin.host, connection.tls, self._loop.time())

    # Places

    def _take_place(self) -> bool:
        if self.size >= self._limits.connections or not self._places.take():
            return False
        self.size += 1
        return True

    def _give_back_place(self) -> None:
        self.size -= 1
        self._places.give_back()
        self.invite()

    def invite(self) -> None:
        """Let the first waiter make a connection if there is room for one."""
        while self._waiters:
            if self._waiters[0].done():
                self._waiters.popleft()
                continue
            if not self._take_place():
                if self.size < self._limits.connections:
                    self._places.wish(self)
                return
            # The place goes with the invitation: nobody who comes now can take it.
            self._waiters.popleft().set_result(None)
            if self._waiters:
                self._places.wish(self)
            return

    async def _queue(self, deadline: float) -> Connection | None:
        """Return a connection that came back, or None for a place to make one in."""
        if len(self._waiters) >= self._limits.waiters:
            raise PoolFullError("too many requests wait for a connection to this upstream")
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(waiter)
        if self.size < self._limits.connections:
            self._places.wish(self)
        try:
            async with asyncio.timeout_at(deadline):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # It was given something in the very moment it left.
                self._pass_on(waiter.result())
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise PoolFullError("no connection to this upstream became free in time") from None
            raise

    def _pass_on(self, connection: Connection | None) -> None:
        if connection is None:
            self._give_back_place()
        else:
            self._freed(connection)

    # The connections' side.

    def _freed(self, connection: Connection) -> None:
        if self._closed:
            connection.close()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if self._places.scarce:
            self._drop(connection)
            return
        self.idle.append(connection)

    def _lost(self, connection: Connection) -> None:
        if connection not in self._open:
            return
        self._open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        self._give_back_place()

    def _drop(self, connection: Connection) -> None:
        """Close a connection; its place is free at once."""
        connection.close()
        if connection in self._open:
            self._open.discard(connection)
            self._give_back_place()

    def give_up_oldest(self) -> None:
        """Close the connection that was idle longest."""
        self._drop(self.idle.pop(0))

    def sweep(self, now: float) -> None:
        """Close what was idle for too long."""
        limit = self._limits.idle_seconds
        old = {each for each in self.idle if now - each.idle_since >= min(limit, each.idle_limit)}
        if old:
            self.idle = [each for each in self.idle if each not in old]
            for connection in old:
                self._drop(connection)

    def close(self) -> None:
        """End every connection; waiters get none."""
        self._closed = True
        for connection in list(self._open):
            connection.cut()
        self.idle.clear()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(PoolFullError("this process is closing"))

    def _tell(self, error: UpstreamError) -> None:
        """Say why an upstream cannot be reached, now and then; the words are ours and hold nothing secret."""
        now = self._loop.time()
        if now - self._told_at >= _LOG_EVERY_SECONDS:
            self._told_at = now
            _log.warning("upstream_unreachable", host=self._origin.host, port=self._origin.port, reason=str(error))
