"""What is left of exchanges that ended, in whatever way: nothing."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import pytest

from penstock_edge.upstream import UpstreamClient, UpstreamError, UpstreamLimits
from penstock_edge.upstream.connection import Connection
from tests.unit.edge.upstream.servers import OK, QUICK, STREAM, Server, context_for, request, says

BEGUN = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello"
ENDS = {
    "whole": (OK, "read"),
    "whole, then closed": (OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), "read"),
    "aborted": (BEGUN, "abort"),
    "cancelled before the head": (b"", "cancel"),
    "cancelled in the body": (BEGUN, "cancel"),
    "late": (b"", "read"),
    "broken": (b"nonsense", "read"),
    "let go": (BEGUN, "let go"),
}


async def end(client, server, how):
    call = await client.send(server.target, request(), STREAM._replace(first_byte=0.05, idle=0.05))
    if how == "abort":
        await call.head()
        call.abort()
        return
    if how == "let go":
        await call.head()
        call.let_go()
        await asyncio.sleep(0.08)
        return
    reading = asyncio.ensure_future(read(call))
    if how == "cancel":
        await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        # As the dispatcher does.
        call.abort()
        return
    await asyncio.gather(reading, return_exceptions=True)


async def read(call):
    await call.head()
    return await call.read_all(1000)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("name", ENDS)
async def test_an_exchange_leaves_no_memory_and_no_socket_behind(authority, ca_file, monkeypatch, name, secure):
    """Without the cycle collector, which long-lived processes run rarely."""
    monkeypatch.setattr("penstock_edge.upstream.call._DRAIN_SECONDS", 0.02)
    raw, how = ENDS[name]
    made = weakref.WeakSet()
    real = Connection.connection_made

    def noted(connection, transport):
        made.add(connection)
        real(connection, transport)

    monkeypatch.setattr(Connection, "connection_made", noted)
    client = UpstreamClient(UpstreamLimits(connections=4), ca_file)
    async with Server(says(raw) if raw else silent, context_for(authority, "127.0.0.1") if secure else None) as server:
        await end(client, server, how)
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await end(client, server, how)
            await asyncio.sleep(0.02)
            assert len(made) == client.open_connections() == (1 if name == "whole" else 0)
        finally:
            gc.enable()
    await client.close()


async def silent(reader, writer, number):
    await reader.read(1)
    raise ConnectionError


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_a_storm_of_departures_leaves_no_descriptor_behind():
    client = UpstreamClient(UpstreamLimits(connections=20, waiters=20))
    async with Server(silent) as server, Server(says(OK)) as other:

        async def one(number):
            task = asyncio.ensure_future(go(number))
            await asyncio.sleep(0.001 * (number % 7))
            if number % 3:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        async def go(number):
            call = None
            try:
                call = await client.send((server, other)[number % 2].target, request(), QUICK._replace(response=0.05))
                return await read(call)
            finally:
                if call is not None:
                    call.abort()

        await asyncio.gather(*(one(number) for number in range(10)))
        before = descriptors()
        for _ in range(5):
            await asyncio.gather(*(one(number) for number in range(60)))
        await asyncio.sleep(0.2)
        assert client.open_connections() <= 20
        # Both ends of what stays open are in this process.
        assert descriptors() <= before + 2 * client.open_connections()
        assert client._places._free == UpstreamLimits().total - client.open_connections()
        with pytest.raises(UpstreamError):
            await go(0)
        assert await go(1) == b"hello"
    await client.close()
