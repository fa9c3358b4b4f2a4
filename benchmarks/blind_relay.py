#!/usr/bin/env python3
"""The least that a gateway in Python can cost: bytes passed on by uvloop, unread, over kept connections.

    blind_relay.py PORT=HOST:PORT ...

listens on each PORT of 127.0.0.1 and opens one connection to HOST:PORT for each client's. What a gateway costs beyond
this is its own; what it costs up to here are the kernel, the loop, and two calls of Python for each piece.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from functools import partial
from typing import cast

import uvloop


class Upstream(asyncio.Protocol):
    """The far side of one client's connection."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        self._client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side too."""
        del exc
        self._client.close()


class Client(asyncio.Protocol):
    """A client's connection; what comes before the far side is there waits for it."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._upstream: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the far side."""
        self._transport = cast("asyncio.Transport", transport)
        self._dialing = asyncio.create_task(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        self._upstream, _ = await loop.create_connection(lambda: Upstream(self._transport), *self._to)
        self._upstream.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._upstream.writelines(self._early)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        if self._upstream is None:
            self._early.append(data)
        else:
            self._upstream.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side too."""
        del exc
        self._dialing.cancel()
        if self._upstream is not None:
            self._upstream.close()


async def serve(pairs: list[str]) -> None:
    """Relay for ever."""
    loop = asyncio.get_running_loop()
    for pair in pairs:
        port, _, to = pair.partition("=")
        host, _, far = to.rpartition(":")
        await loop.create_server(partial(Client, host, int(far)), "127.0.0.1", int(port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1:]))
