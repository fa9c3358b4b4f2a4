"""Bounds of connections, and who gets the next one."""

from __future__ import annotations

import asyncio

import pytest

from penstock_edge.upstream import (
    ConnectionLostError,
    PoolFullError,
    TruncatedBodyError,
    UpstreamClient,
    UpstreamLimits,
)
from penstock_edge.upstream.answers import declared_idle_seconds
from tests.unit.edge.upstream.servers import OK, QUICK, STREAM, Server, fetch, request, says


def gated(gate, order=None):
    """Play: answer when the gate opens."""

    async def play(reader, writer, number):
        await gate.wait()
        writer.write(OK)
        return True

    return play


async def made(**limits):
    return UpstreamClient(UpstreamLimits(**limits))


async def test_the_connection_used_last_is_used_first(client):
    ports = []

    async def play(reader, writer, number):
        ports.append(writer.get_extra_info("peername")[1])
        await asyncio.sleep(0.02 * number if number <= 3 else 0)
        writer.write(OK)
        return True

    async with Server(play) as server:
        await asyncio.gather(*(fetch(client, server) for _ in range(3)))
        for _ in range(3):
            await fetch(client, server)
    assert len(set(ports[:3])) == 3
    assert ports[3:] == [ports[2]] * 3


async def test_who_comes_later_does_not_overtake():
    client = await made(connections=1)
    order = []

    async def one(name):
        await fetch(client, server)
        order.append(name)
        # Comes again at once, and stands behind those who wait.
        await fetch(client, server)
        order.append(f"{name}2")

    async with Server(says(OK)) as server:
        await asyncio.gather(*(one(name) for name in "abc"))
    assert order == ["a", "b", "c", "a2", "b2", "c2"]
    await client.close()


async def test_a_place_goes_with_the_invitation():
    client = await made(connections=1)
    order = []
    gate = asyncio.Event()

    async def play(reader, writer, number):
        if number == 1:
            await gate.wait()
            return False
        writer.write(OK)
        return True

    async def one(name):
        await fetch(client, server)
        order.append(name)

    async with Server(play) as server:
        first = asyncio.create_task(fetch(client, server))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(one("waited"))
        await asyncio.sleep(0.02)
        gate.set()
        with pytest.raises(ConnectionLostError):
            await first
        late = asyncio.create_task(one("late"))
        await asyncio.gather(waiting, late)
    assert order == ["waited", "late"]
    await client.close()


async def test_all_origins_together_are_bounded():
    client = await made(connections=3, total=4)
    gate = asyncio.Event()
    async with Server(gated(gate)) as one, Server(gated(gate)) as two:
        calls = [asyncio.create_task(fetch(client, server)) for server in (one, two) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert client.open_connections() == one.connections + two.connections == 4
        gate.set()
        assert [body for _, body, _ in await asyncio.gather(*calls)] == [b"hello"] * 6
        assert client.open_connections() <= 4
    await client.close()


async def test_an_idle_connection_elsewhere_gives_way():
    client = await made(total=2)
    async with Server(says(OK)) as one, Server(says(OK)) as two, Server(says(OK)) as three:
        for server in (one, two, three, one):
            assert (await fetch(client, server))[1] == b"hello"
            await asyncio.sleep(0.01)
        assert [server.connections for server in (one, two, three)] == [2, 1, 1]
        assert client.open_connections() == 2
    await client.close()


async def test_who_waits_for_a_place_elsewhere_gets_it_when_a_connection_comes_back():
    client = await made(total=1)
    gate = asyncio.Event()
    async with Server(gated(gate)) as one, Server(says(OK)) as two:
        first = asyncio.create_task(fetch(client, one))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(fetch(client, two))
        await asyncio.sleep(0.05)
        assert not second.done()
        gate.set()
        assert (await first)[1] == (await second)[1] == b"hello"
        assert client.open_connections() == 1
    await client.close()


async def test_waiting_for_a_place_elsewhere_has_a_deadline():
    client = await made(total=1)
    gate = asyncio.Event()
    async with Server(gated(gate)) as one, Server(says(OK)) as two:
        first = asyncio.create_task(fetch(client, one))
        await asyncio.sleep(0.05)
        with pytest.raises(PoolFullError):
            await fetch(client, two, QUICK._replace(connect=0.1))
        gate.set()
        await first
        assert (await fetch(client, two))[1] == b"hello"
    await client.close()


async def test_places_survive_failures_and_cancellations():
    client = await made(connections=2, total=2)
    async with Server(says(close="rst")) as bad, Server(says(OK)) as good:
        for _ in range(3):
            tasks = [asyncio.create_task(fetch(client, bad)) for _ in range(6)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.02)
        assert client.open_connections() == 0
        assert [(await fetch(client, good))[1] for _ in range(3)] == [b"hello"] * 3
    await client.close()


async def test_a_closed_client_leaves_nobody_waiting(client):
    gate = asyncio.Event()

    async def begins(reader, writer, number):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await gate.wait()
        return True

    async with Server(gated(gate)) as silent, Server(begins) as slow:
        calls = [asyncio.create_task(fetch(client, silent)) for _ in range(6)]
        begun = await client.send(slow.target, request(), STREAM)
        await begun.head()
        assert await begun.read() == b"hello"
        while len(silent.requests) < 4:
            await asyncio.sleep(0.005)
        await client.close()
        async with asyncio.timeout(1):
            results = await asyncio.gather(*calls, return_exceptions=True)
            with pytest.raises(TruncatedBodyError):
                await begun.read()
        assert [type(result) for result in results] == [ConnectionLostError] * 4 + [PoolFullError] * 2
        gate.set()
    assert client.open_connections() == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, float("inf")),
        (b"timeout=5", 4.0),
        (b"timeout=5, max=100", 4.0),
        (b'max=1, Timeout = "5"', 4.0),
        (b"timeout=0", 0.0),
        (b"timeout=x", float("inf")),
        (b"timeout=-5", float("inf")),
        (b"timeout=5555555555555", float("inf")),
        (b"max=100", float("inf")),
        (b"", float("inf")),
    ],
)
def test_what_an_upstream_says_about_idle_connections(header, seconds):
    assert declared_idle_seconds(header) == seconds


async def test_a_connection_is_not_used_beyond_what_the_upstream_said(client):
    raw = OK.replace(b"\r\n\r\n", b"\r\nkeep-alive: timeout=1\r\n\r\n")
    async with Server(says(raw)) as server:
        for _ in range(2):
            await fetch(client, server)
        assert server.connections == 2


async def test_a_connection_of_age_takes_no_more():
    client = await made(age_seconds=0.1)
    async with Server(says(OK)) as server:
        await fetch(client, server)
        await fetch(client, server)
        assert server.connections == 1
        await asyncio.sleep(0.12)
        await fetch(client, server)
        await fetch(client, server)
        assert server.connections == 2
    await client.close()


async def test_a_pool_without_connections_is_dropped():
    client = await made(idle_seconds=0.05)
    async with Server(says(OK)) as server:
        await fetch(client, server)
        await asyncio.sleep(0.2)
        assert (client.open_connections(), client._pools) == (0, {})
        assert (await fetch(client, server))[1] == b"hello"
    await client.close()
