"""How requests go out: whole, without copies, and not for ever."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import pytest

from penstock_edge.corking import Cork
from penstock_edge.upstream import ConnectionLostError, DeadlineError, TruncatedBodyError, UpstreamClient, parse_target
from penstock_edge.upstream.connection import Connection
from tests.unit.edge.upstream.servers import OK, QUICK, STREAM, Server, context_for, fetch, request, says

LARGE = 30_000_000
PATIENT = QUICK._replace(connect=20, response=20, idle=20)


def reads_nothing():
    async def play(reader, writer, number):
        writer.transport.pause_reading()
        await asyncio.sleep(30)
        return False

    return play


@pytest.fixture(params=["plain", "tls"])
def tls(request, authority):
    return context_for(authority, "127.0.0.1") if request.param == "tls" else None


@pytest.mark.parametrize("size", [4_000_000, LARGE])
@pytest.mark.parametrize("deadlines", [QUICK, STREAM])
async def test_a_request_that_stops_going_out_ends(trusting, deadlines, tls, size):
    client = trusting
    async with Server(reads_nothing(), tls, reads_bodies=False) as server:
        began = time.monotonic()
        with pytest.raises(DeadlineError) as error:
            await fetch(
                client, server, deadlines._replace(connect=20, idle=0.2, response=20, first_byte=20), b"x" * size
            )
        assert (error.value.phase, error.value.sent) == ("write", True)
        assert 0.19 <= time.monotonic() - began < 10
        await asyncio.sleep(0.02)
        assert client.open_connections() == 0


def hangs_up(said):
    async def play(reader, writer, number):
        writer.transport.pause_reading()
        writer.write(said)
        writer.write_eof()
        await asyncio.sleep(30)
        return False

    return play


@pytest.mark.parametrize("deadlines", [QUICK, STREAM])
@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", ConnectionLostError),
        (b"HTTP/1.1 100 Continue\r\n\r\n", ConnectionLostError),
        (b"HTTP/1.1 200 OK\r\n", ConnectionLostError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", TruncatedBodyError),
    ],
)
async def test_a_request_ends_when_the_upstream_has_hung_up(client, deadlines, said, error):
    """Though it has not gone out, and nobody reads it."""
    patient = deadlines._replace(connect=20, idle=20, response=20, first_byte=20)
    async with Server(hangs_up(said), reads_bodies=False) as server:
        with pytest.raises(error):
            await fetch(client, server, patient, b"x" * LARGE)
        await asyncio.sleep(0.02)
        assert client.open_connections() == 0


async def test_what_was_said_up_to_the_hanging_up_is_the_answer(client):
    patient = QUICK._replace(connect=20, idle=20, response=20)
    async with Server(hangs_up(b"HTTP/1.1 200 OK\r\n\r\nhello"), reads_bodies=False) as server:
        assert (await fetch(client, server, patient, b"x" * LARGE))[:2] == (200, b"hello")


async def test_the_deadline_of_the_answer_is_the_writings_while_the_request_has_not_gone_out(trusting, tls):
    """So that whoever decides on a second attempt knows that nobody can have carried it out."""
    client = trusting
    async with Server(reads_nothing(), tls, reads_bodies=False) as server:
        with pytest.raises(DeadlineError) as error:
            await fetch(client, server, QUICK._replace(connect=20, idle=5, response=0.2), b"x" * LARGE)
        assert error.value.phase == "write"


async def test_a_request_that_goes_out_slowly_goes_out(trusting, tls):
    client = trusting
    size = 0

    async def play(reader, writer, number):
        nonlocal size
        while size < LARGE:
            size += len(await reader.read(2_000_000))
            await asyncio.sleep(0.002)
        writer.write(OK)
        return True

    async with Server(play, tls, reads_bodies=False) as server:
        assert (await fetch(client, server, STREAM._replace(connect=20, idle=1, first_byte=30), b"x" * LARGE))[
            1
        ] == b"hello"
        assert size == LARGE
        # The connection is as good as before.
        assert client.open_connections() == 1


async def test_a_large_request_is_written_without_a_copy(client, monkeypatch):
    written = []

    class Transport:
        def __init__(self, real):
            self._real = real

        def __getattr__(self, name):
            return getattr(self._real, name)

        def write(self, data):
            written.append([data])
            self._real.write(data)

        def writelines(self, pieces):
            written.append(pieces)
            self._real.writelines(pieces)

    real = Connection.connection_made
    monkeypatch.setattr(Connection, "connection_made", lambda self, transport: real(self, Transport(transport)))

    async def play(reader, writer, number):
        writer.write(OK)
        return True

    async with Server(play) as server:
        for size, writes in ((1000, 1), (100_000, 2), (1_000_000, 2)):
            body = b"x" * size
            await fetch(client, server, body=body)
            [pieces] = written
            written.clear()
            # One write for what is small; the very bytes of what is large.
            assert len(pieces) == writes
            assert (pieces[-1] is body) is (writes == 2)
            assert b"".join(pieces) == b"".join(request(body))


async def test_an_early_answer_costs_the_connection_also_under_tls(trusting, tls):
    """What is left of the request would go before the next one."""

    async def play(reader, writer, number):
        writer.transport.pause_reading()
        writer.write(OK.replace(b"200 OK", b"413 Too Large"))
        await asyncio.sleep(30)
        return False

    async with Server(play, tls, reads_bodies=False) as server:
        status, body, _ = await fetch(trusting, server, PATIENT, b"x" * 8_000_000)
        assert (status, body) == (413, b"hello")
        await asyncio.sleep(0.02)
        assert trusting.open_connections() == 0


@pytest.mark.parametrize("size", [100_000, 3_000_000])
async def test_a_large_request_that_was_read_leaves_its_connection_good(trusting, tls, size):
    async with Server(says(OK), tls) as server:
        for _ in range(5):
            assert (await fetch(trusting, server, PATIENT, b"x" * size))[1] == b"hello"
        assert server.connections == 1


class Later:
    """A loop's end of the turn that comes when a test says so."""

    def call_soon(self, callback):
        pass


@pytest.fixture
async def holding(ca_file):
    """A client all of whose requests but the first wait until `cork.release()`, and its cork."""
    cork = Cork(Later(), lambda: 0.0)
    client = UpstreamClient(ca_file=ca_file, cork=cork)
    yield client, cork
    await client.close()
    await asyncio.sleep(0)


def says_first(then):
    """Play the first answer, then wait for the test's word and do `then` unasked."""
    word = asyncio.Event()

    async def play(reader, writer, number):
        writer.write(OK)
        await writer.drain()
        await word.wait()
        return await then(writer)

    return play, word


async def leaves(writer):
    return False


async def resets(writer):
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    return False


async def says_goodbye(writer):
    writer.write(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await asyncio.sleep(30)


@pytest.mark.parametrize("then", [leaves, resets, says_goodbye])
async def test_a_request_that_waits_while_its_upstream_goes_was_never_sent(holding, tls, then):
    client, cork = holding
    play, word = says_first(then)
    async with Server(play, tls) as server:
        assert (await fetch(client, server))[1] == b"hello"
        call = client.try_send(server.target, request(), QUICK, list)
        word.set()
        with pytest.raises(ConnectionLostError) as error:
            await call.head()
        cork.release()
        assert (error.value.stale, error.value.sent) == (True, False)
        assert len(server.requests) == 1


@pytest.mark.parametrize("goes_out", [False, True])
async def test_a_request_that_the_kernel_refuses_at_the_turns_end_was_never_sent(holding, goes_out):
    client, cork = holding
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        target = parse_target(f"http://127.0.0.1:{listener.getsockname()[1]}", allow_private=True)
        call, (upstream, _) = await asyncio.gather(client.send(target, request(), QUICK), loop.sock_accept(listener))
        await loop.sock_sendall(upstream, OK)
        await call.head()
        assert await call.read_all(100) == b"hello"
        call = client.try_send(target, request(), QUICK, list)
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if goes_out:
            cork.release()
        upstream.close()
        # The loop has not read the reset.
        cork.release()
        with pytest.raises(ConnectionLostError) as error:
            await call.head()
        assert (error.value.stale, error.value.sent) == (not goes_out, goes_out)
