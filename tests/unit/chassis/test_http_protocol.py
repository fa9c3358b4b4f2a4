"""What strangers may do to a port that uvicorn serves."""

from __future__ import annotations

import asyncio
import contextlib

import h11
import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from penstock_chassis import http_protocol
from penstock_chassis.http import HttpServer, listen

MOST_HEAD_BYTES = 1024 * 1024
UPGRADING = b"host: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"


async def echo(scope, receive, send):
    """Answer with the path and the body; nobody answers who hangs up."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    said = scope["path"].encode() + b":" + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
    await send({"type": "http.response.body", "body": said})


async def early(scope, receive, send):
    """Answer before the body is there."""
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def connected(app=echo):
    server = HttpServer(app, [listen("127.0.0.1", 0)])
    await server.begin()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        yield reader, writer
        writer.close()
    finally:
        await server.end(1.0)


async def read_to_end(reader) -> bytes:
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
        return b""


async def test_a_head_without_end_is_refused_before_it_fills_the_memory():
    async with connected() as (reader, writer):
        writer.write(b"GET /a HTTP/1.1\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 50 * MOST_HEAD_BYTES and not reader.at_eof():
                writer.write(b"name: value\r\n" * 5000)
                sent += 65_000
                await writer.drain()
        assert sent < 20 * MOST_HEAD_BYTES


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_body_stays_one_beside_a_wish_for_another_protocol(at_once):
    head = b"POST /a HTTP/1.1\r\n" + UPGRADING + b"content-length: 31\r\n\r\n"
    body = b"GET /b HTTP/1.1\r\nhost: x\r\n\r\n   "
    async with connected() as (reader, writer):
        writer.write(head + body if at_once else head)
        if not at_once:
            await asyncio.sleep(0.1)
            writer.write(body)
        writer.write(b"GET /c HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        said = await read_to_end(reader)
    assert b"/a:" + body + b"HTTP/1.1 200" in said
    assert said.endswith(b"/c:")


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /a HTT",
        b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1",
    ],
)
async def test_who_does_not_go_on_is_not_waited_for(monkeypatch, beginning):
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.3)
    async with connected() as (reader, writer):
        writer.write(beginning)
        assert await read_to_end(reader) == b""


async def test_nor_is_the_second_request_of_a_connection(monkeypatch):
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.3)
    async with connected() as (reader, writer):
        writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(20):
            assert await reader.readuntil(b"/a:")
        writer.write(b"GET")
        assert await read_to_end(reader) == b""


async def test_a_request_may_take_its_time_and_a_connection_be_idle_between_two(monkeypatch):
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.3)

    async def slow(scope, receive, send):
        await asyncio.sleep(0.6)
        await echo(scope, receive, send)

    async with connected(slow) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
            async with asyncio.timeout(20):
                assert await reader.readuntil(b"/a:")
            await asyncio.sleep(0.6)


async def large(scope, receive, send):
    """Answer more than the system takes off our hands; `path` says how many bytes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytes(int(scope["path"][1:]))})


async def test_an_answer_that_nobody_reads_keeps_no_connection(monkeypatch):
    monkeypatch.setattr(http_protocol, "STALL_SECONDS", 0.2)
    server = HttpServer(large, [listen("127.0.0.1", 0)])
    await server.begin()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.transport.pause_reading()
    writer.write(b"GET /20000000 HTTP/1.1\r\nhost: x\r\n\r\n")
    try:
        async with asyncio.timeout(20):
            while not server.server_state.total_requests or server.server_state.connections:
                await asyncio.sleep(0.01)
    finally:
        writer.transport.abort()
        await server.end(1.0)


class SlowReader:
    """Has less to read each time one looks, until it reads no more."""

    def __init__(self):
        self.sizes = iter((3, 2, 2, 1, 1, 1))
        self.aborted = asyncio.Event()
        self.abort = self.aborted.set

    def get_write_buffer_size(self):
        return next(self.sizes)


async def test_who_reads_slowly_is_waited_for(monkeypatch):
    monkeypatch.setattr(http_protocol, "STALL_SECONDS", 0.01)
    protocol = http_protocol.BoundedProtocol(uvicorn.Config(echo), ServerState(), {})
    protocol.transport = reader = SlowReader()
    protocol.flow = FlowControl(reader)
    protocol.pause_writing()
    async with asyncio.timeout(20):
        await reader.aborted.wait()
    assert not list(reader.sizes)


async def test_a_connection_that_is_spoilt_does_not_stop_the_end():
    server = HttpServer(echo, [listen("127.0.0.1", 0)])
    await server.begin()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(20):
        while not server.server_state.connections:
            await asyncio.sleep(0.01)
    (connection,) = server.server_state.connections
    with pytest.raises(h11.LocalProtocolError):
        connection.conn.send(h11.Data(data=b"without a head"))
    await server.end(1.0)
    assert connection.transport.is_closing()
    writer.close()


async def test_nonsense_after_an_early_answer_only_ends_the_connection(caplog):
    async with connected(early) as (reader, writer):
        writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        async with asyncio.timeout(20):
            await reader.readuntil(b"\r\n\r\n")
        writer.write(b"not a chunk\r\n")
        assert await read_to_end(reader) == b""
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
