"""The upstream client before raw servers that do everything a server may do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from penstock_edge.upstream import (
    AddressRefusedError,
    BodyTooLargeError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    MalformedAnswerError,
    PoolFullError,
    TruncatedBodyError,
    UpstreamClient,
    UpstreamLimits,
    parse_target,
)
from tests.unit.edge.upstream.servers import OK, QUICK, STREAM, Server, fetch, request, says

WHOLE = {
    "content length": (OK,),
    "byte by byte": tuple(OK[i : i + 1] for i in range(len(OK))),
    "chunked": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",),
    "chunked with trailers": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n",
    ),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" + OK,),
    "http/1.0": (OK.replace(b"HTTP/1.1", b"HTTP/1.0"),),
}


@pytest.mark.parametrize("name", WHOLE)
async def test_a_whole_answer_is_read_whole(client, name):
    async with Server(says(*WHOLE[name])) as server:
        status, body, call = await fetch(client, server)
    assert (status, body) == (200, b"hello")
    assert call.complete
    assert call.answered
    assert call.first_byte_at >= call.sent_at


async def test_headers_come_in_order_with_small_names(client):
    raw = b"HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n"
    async with Server(says(raw)) as server:
        status, body, call = await fetch(client, server)
    assert (status, body) == (429, b"")
    assert call.headers == [(b"retry-after", b"3"), (b"x-a", b"1"), (b"x-a", b"2"), (b"content-length", b"0")]
    assert call.header(b"x-a") == b"1"
    assert call.header(b"none") is None


async def test_the_request_arrives_as_it_was_given(client):
    body = bytes(range(256)) * 4096
    async with Server(says(OK)) as server:
        await fetch(client, server, body=body)
        assert server.requests == [(request(body)[0], body)]


async def test_a_connection_is_used_again(client):
    async with Server(says(OK)) as server:
        for _ in range(5):
            assert (await fetch(client, server))[1] == b"hello"
        assert (server.connections, len(server.requests)) == (1, 5)
        assert client.open_connections() == 1


ONCE = {
    "connection close": OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
    "http/1.0": OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "more than announced": OK + b"surplus",
    "an answer nobody asked for": OK + OK,
}


@pytest.mark.parametrize("name", ONCE)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(client, name):
    async with Server(says(ONCE[name])) as server:
        for _ in range(2):
            assert (await fetch(client, server))[1] == b"hello"
            await asyncio.sleep(0.02)
        assert server.connections == 2


async def test_a_body_up_to_the_end_of_the_connection(client):
    async with Server(says(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", pause=0.01, close="fin")) as server:
        assert (await fetch(client, server))[1] == b"hello"
        await asyncio.sleep(0.02)
        assert client.open_connections() == 0


async def test_a_close_delimited_body_that_is_reset_is_truncated(client):
    async with Server(says(b"HTTP/1.1 200 OK\r\n\r\nhel", pause=0.02, close="rst")) as server:
        with pytest.raises(TruncatedBodyError):
            await fetch(client, server)


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body(client, status):
    async with Server(says(b"HTTP/1.1 %d X\r\n\r\n" % status)) as server:
        for _ in range(2):
            assert (await fetch(client, server))[:2] == (status, b"")
        assert server.connections == 1


TRUNCATED = {
    "content length": b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello",
    "chunked, between chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "chunked, inside one": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n50\r\nhello",
}


@pytest.mark.parametrize("close", ["fin", "rst"])
@pytest.mark.parametrize("name", TRUNCATED)
async def test_a_body_that_breaks_off_is_an_error(client, name, close):
    async with Server(says(TRUNCATED[name], pause=0.01, close=close)) as server:
        call = await client.send(server.target, request(), QUICK)
        await call.head()
        assert await call.read() == b"hello"
        with pytest.raises(TruncatedBodyError):
            await call.read()


MALFORMED = {
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "bad length": b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello",
    "length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    "endless interim answers": b"HTTP/1.1 102 Processing\r\n\r\n" * 40,
    "one large header": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000,
    "very many headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 60_000,
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_answer_is_an_error_at_once(client, name):
    async with Server(says(MALFORMED[name])) as server, asyncio.timeout(20):
        with pytest.raises(MalformedAnswerError):
            await fetch(client, server)
        await asyncio.sleep(0.02)
        assert client.open_connections() == 0


async def test_a_bad_chunk_inside_a_body_is_an_error(client):
    raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"
    async with Server(says(raw)) as server:
        with pytest.raises(MalformedAnswerError):
            await fetch(client, server)


# Deadlines


@pytest.mark.parametrize(
    ("deadlines", "pieces", "phase"),
    [
        (QUICK._replace(response=0.1), (), "response"),
        (QUICK._replace(response=0.1), (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello",), "response"),
        (STREAM._replace(first_byte=0.1), (), "first_byte"),
        (STREAM._replace(first_byte=0.1), (b"HTTP/1.1 200",), "first_byte"),
        (STREAM._replace(idle=0.1), (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello",), "idle"),
    ],
)
async def test_silence_ends_at_its_deadline(client, deadlines, pieces, phase):
    async def play(reader, writer, number):
        for piece in pieces:
            writer.write(piece)
        await reader.read(1)
        raise ConnectionError

    async with Server(play) as server:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(DeadlineError) as error:
            await fetch(client, server, deadlines)
        assert error.value.phase == phase
        assert 0.09 <= loop.time() - began < 1.0
        await asyncio.sleep(0.05)
        # The upstream sees its client go.
        assert server.ended == 1


async def test_a_slow_stream_outlives_its_idle_deadline_while_it_flows(client):
    pieces = [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"] + [b"x"] * 10
    async with Server(says(*pieces, pause=0.04)) as server:
        deadlines = STREAM._replace(idle=0.15, response=0.01)
        assert (await fetch(client, server, deadlines))[1] == b"x" * 10


async def test_a_shorter_deadline_follows_a_longer_one_on_the_same_connection(client):
    async def play(reader, writer, number):
        if number == 1:
            writer.write(OK)
            return True
        await reader.read(1)
        raise ConnectionError

    async with Server(play) as server:
        await fetch(client, server, QUICK._replace(response=60))
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(DeadlineError):
            await fetch(client, server, QUICK._replace(response=0.1))
        assert loop.time() - began < 1.0


async def test_a_longer_deadline_follows_a_shorter_one_on_the_same_connection(client):
    async def play(reader, writer, number):
        if number == 2:
            await asyncio.sleep(0.3)
        writer.write(OK)
        return True

    async with Server(play) as server:
        await fetch(client, server, QUICK._replace(response=0.1))
        assert (await fetch(client, server, QUICK._replace(response=1.0)))[1] == b"hello"


# Loss and reuse


async def test_a_connection_lost_before_the_answer(client):
    async with Server(says(close="rst")) as server:
        with pytest.raises(ConnectionLostError) as error:
            await fetch(client, server)
        assert not error.value.stale
        assert error.value.sent


async def test_a_kept_connection_that_the_upstream_closed_is_not_used(client):
    async def play(reader, writer, number):
        writer.write(OK)
        await writer.drain()
        return number > 1

    async with Server(play) as server:
        await fetch(client, server)
        # The loop has not seen the goodbye yet, or it has: both must work.
        await asyncio.sleep(0.02)
        assert (await fetch(client, server))[1] == b"hello"
        assert server.connections == 2


async def test_a_goodbye_that_the_loop_has_not_read_yet_is_seen(client):
    closing = asyncio.Event()

    async def play(reader, writer, number):
        writer.write(OK)
        await writer.drain()
        if number == 1:
            await closing.wait()
            return False
        return True

    # A server in another thread, so that its goodbye arrives while this loop does not turn.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    seen = []

    def serve():
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                seen.append(connection.recv(65536))
                connection.sendall(OK)
                go.wait(5)

    go = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    target = parse_target(f"http://127.0.0.1:{listener.getsockname()[1]}", allow_private=True)
    call = await client.send(target, request(), QUICK)
    await call.head()
    await call.read_all(100)
    go.set()
    time.sleep(0.1)  # the loop must not turn here
    call = await client.send(target, request(), QUICK)
    await call.head()
    assert await call.read_all(100) == b"hello"
    thread.join()
    listener.close()
    assert len(seen) == 2


def hangs_up(listener, how, goodbye):
    """Serve one request, then hang up on the second in one of many ways."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(OK)
        if how != "before it came":
            assert connection.recv(1)
        goodbye.wait(5)
        if how.startswith("after all of it was read"):
            connection.recv(65536)
        if how.endswith("by a reset"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how.endswith("half"):
            connection.shutdown(socket.SHUT_WR)
            closed.wait(5)


closed = threading.Event()

HANG_UPS = {
    "before it came": True,
    "after some of it was read": False,
    "after some of it was read, by half": False,
    "after some of it was read, by a reset": False,
    "after all of it was read": False,
    "after all of it was read, by half": False,
    "after all of it was read, by a reset": False,
}


@pytest.mark.parametrize("how", HANG_UPS)
async def test_only_a_request_that_never_arrived_may_be_repeated(client, monkeypatch, how):
    listener = socket.create_server(("127.0.0.1", 0))
    goodbye = threading.Event()
    closed.clear()
    thread = threading.Thread(target=hangs_up, args=(listener, how, goodbye))
    thread.start()
    target = parse_target(f"http://127.0.0.1:{listener.getsockname()[1]}", allow_private=True)
    call = await client.send(target, request(), QUICK)
    await call.head()
    await call.read_all(100)
    # The goodbye crosses the request: neither the pool nor the loop has seen it when the request goes out.
    monkeypatch.setattr("penstock_edge.upstream.connection.Connection.alive", property(lambda _: True))
    if HANG_UPS[how]:
        goodbye.set()
        thread.join()
    call = await client.send(target, request(), QUICK)
    goodbye.set()
    with pytest.raises(ConnectionLostError) as error:
        await call.head()
    closed.set()
    assert (error.value.stale, error.value.sent) == (HANG_UPS[how], not HANG_UPS[how])
    await asyncio.to_thread(thread.join)
    listener.close()


async def test_an_answer_before_the_whole_request_went_out(client):
    async def play(reader, writer, number):
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.2)
        return False

    async with Server(play, reads_bodies=False) as server:
        call = await client.send(server.target, request(b"x" * 30_000_000), QUICK)
        await call.head()
        status, body = call.status, await call.read_all(100)
        assert (status, body) == (200, b"hello")
        await asyncio.sleep(0.02)
        left = client.open_connections()
        assert left == 0


async def test_nobody_listens(client):
    async with Server(says(OK)) as server:
        target = server.target
    with pytest.raises(ConnectError) as error:
        await client.send(target, request(), QUICK)
    assert not error.value.sent
    assert client.open_connections() == 0


async def test_a_name_that_does_not_resolve(client):
    target = parse_target("http://does-not-exist.invalid", allow_private=True)
    with pytest.raises((ConnectError, DeadlineError)):
        await client.send(target, request(), QUICK)


async def test_a_connect_that_hangs_ends_at_its_deadline(client):
    # A full accept queue lets connects hang.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    fillers = []
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            filler.connect(("127.0.0.1", port))
        fillers.append(filler)
    target = parse_target(f"http://127.0.0.1:{port}", allow_private=True)
    with pytest.raises(DeadlineError) as error:
        await client.send(target, request(), QUICK._replace(connect=0.2))
    assert error.value.phase == "connect"
    assert not error.value.sent
    assert client.open_connections() == 0
    for filler in [*fillers, listener]:
        filler.close()


# Bounds


async def test_the_pool_is_bounded_and_its_queue_is_fair(client):
    gate = asyncio.Event()
    busy = 0
    most = 0

    async def play(reader, writer, number):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await gate.wait()
        busy -= 1
        writer.write(OK)
        return True

    async with Server(play) as server:
        calls = [asyncio.create_task(fetch(client, server)) for _ in range(8)]
        await asyncio.sleep(0.1)
        assert most == 4
        with pytest.raises(PoolFullError) as error:
            await fetch(client, server)
        assert not error.value.sent
        gate.set()
        results = await asyncio.gather(*calls)
        assert [body for _, body, _ in results] == [b"hello"] * 8
        assert server.connections == 4


async def test_waiting_for_a_connection_has_a_deadline(client):
    async def play(reader, writer, number):
        await reader.read(1)
        raise ConnectionError

    async with Server(play) as server:
        calls = [asyncio.create_task(fetch(client, server)) for _ in range(4)]
        await asyncio.sleep(0.05)
        with pytest.raises(PoolFullError):
            await fetch(client, server, QUICK._replace(connect=0.1))
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_waiters_that_leave_lose_no_connection(client):
    gate = asyncio.Event()

    async def play(reader, writer, number):
        await gate.wait()
        writer.write(OK)
        return True

    async with Server(play) as server:
        calls = [asyncio.create_task(fetch(client, server)) for _ in range(4)]
        await asyncio.sleep(0.05)
        waiters = [asyncio.create_task(fetch(client, server)) for _ in range(4)]
        await asyncio.sleep(0.05)
        gate.set()
        for waiter in waiters[:3]:
            waiter.cancel()
        await asyncio.gather(*calls)
        done = await asyncio.gather(*waiters, return_exceptions=True)
        assert done[3][1] == b"hello"
        for _ in range(8):
            assert (await fetch(client, server))[1] == b"hello"
        assert client.open_connections() <= 4


async def test_a_waiter_takes_the_place_of_a_lost_connection(client):
    async def play(reader, writer, number):
        if number <= 4:
            await asyncio.sleep(0.05)
            return False
        writer.write(OK)
        return True

    async with Server(play) as server:
        lost = [asyncio.create_task(fetch(client, server)) for _ in range(4)]
        await asyncio.sleep(0.02)
        assert (await fetch(client, server))[1] == b"hello"
        results = await asyncio.gather(*lost, return_exceptions=True)
        assert all(isinstance(result, ConnectionLostError) for result in results)


async def test_a_body_beyond_the_bound_is_not_held(client):
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n" + b"x" * 10_000_000
    async with Server(says(raw)) as server:
        call = await client.send(server.target, request(), QUICK)
        await call.head()
        with pytest.raises(BodyTooLargeError):
            await call.read_all(50_000)
        await asyncio.sleep(0.02)
        assert client.open_connections() == 0


async def test_a_slow_consumer_slows_the_upstream(client):
    sent = 0

    async def play(reader, writer, number):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000
        return True

    async with Server(play) as server:
        call = await client.send(server.target, request(), STREAM._replace(idle=0.2))
        await call.head()
        await asyncio.sleep(0.5)
        # Kernel buffers and our own high water, not the whole body; and our own slowness is nobody's silence.
        stuck = sent
        assert stuck < 30_000_000
        size = 0
        while piece := await call.read():
            size += len(piece)
        assert size == 100_000_000


async def test_idle_connections_go_after_a_while():
    client = UpstreamClient(UpstreamLimits(idle_seconds=0.1))
    async with Server(says(OK)) as server:
        await fetch(client, server)
        assert client.open_connections() == 1
        await asyncio.sleep(0.3)
        assert client.open_connections() == 0
    await client.close()


async def test_abort_is_seen_by_the_upstream_at_once(client):
    async def play(reader, writer, number):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello")
        await writer.drain()
        await reader.read(1)
        raise ConnectionError

    async with Server(play) as server:
        call = await client.send(server.target, request(), STREAM)
        await call.head()
        call.abort()
        call.abort()
        await asyncio.sleep(0.05)
        assert server.ended == 1
        assert client.open_connections() == 0


async def test_the_rest_of_a_body_may_pass_unread(client):
    async def play(reader, writer, number):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await asyncio.sleep(0.05)
        writer.write(b"world")
        return True

    async with Server(play) as server:
        for _ in range(2):
            call = await client.send(server.target, request(), STREAM)
            await call.head()
            assert await call.read() == b"hello"
            call.let_go()
            await asyncio.sleep(0.6)
        assert server.connections == 1


async def test_a_rest_that_does_not_come_costs_the_connection(client, monkeypatch):
    monkeypatch.setattr("penstock_edge.upstream.call._DRAIN_SECONDS", 0.1)

    async def play(reader, writer, number):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await reader.read(1)
        raise ConnectionError

    async with Server(play) as server:
        call = await client.send(server.target, request(), STREAM)
        await call.head()
        await call.read()
        call.let_go()
        await asyncio.sleep(0.3)
        assert client.open_connections() == 0


async def test_a_closed_client_takes_no_more(client):
    async with Server(says(OK)) as server:
        await fetch(client, server)
        await client.close()
        await asyncio.sleep(0.02)
        assert client.open_connections() == 0


# Addresses and TLS


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://10.0.0.1", "https://[::1]", "https://localhost"])
async def test_private_addresses_are_refused_unless_allowed(client, url):
    with pytest.raises(AddressRefusedError) as error:
        await client.send(parse_target(url, allow_private=False), request(), QUICK)
    assert not error.value.sent


async def test_a_name_with_one_private_address_is_refused(client, monkeypatch):
    loop = asyncio.get_running_loop()

    class Loop:
        def __getattr__(self, name):
            return getattr(loop, name)

        async def getaddrinfo(self, host, port, **_):
            return [(2, 1, 6, "", ("93.184.216.34", port)), (2, 1, 6, "", ("10.0.0.1", port))]

    client._resolver._loop = Loop()
    with pytest.raises(AddressRefusedError):
        await client.send(parse_target("https://rebound.example", allow_private=False), request(), QUICK)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A CA file and a server context for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    cert, secret = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", secret, "-out", cert),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, secret)
    return cert, context


async def test_tls(certificate):
    cert, context = certificate
    client = UpstreamClient(ca_file=cert)
    async with Server(says(OK), tls=context) as server:
        for _ in range(3):
            assert (await fetch(client, server))[1] == b"hello"
        assert server.connections == 1
        await client.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate, client):
    _, context = certificate
    async with Server(says(OK), tls=context) as server:
        with pytest.raises(ConnectError):
            await fetch(client, server)
        assert server.requests == []


async def test_a_truncated_body_over_tls(certificate):
    cert, context = certificate
    client = UpstreamClient(ca_file=cert)
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello"
    async with Server(says(raw, pause=0.02, close="rst"), tls=context) as server:
        with pytest.raises(TruncatedBodyError):
            await fetch(client, server)
    await client.close()
