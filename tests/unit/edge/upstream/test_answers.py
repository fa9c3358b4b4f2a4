"""The shapes of answers: what is read, what is refused, and what is left out."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading

import pytest
import trustme

from penstock_edge.upstream import (
    ConnectionLostError,
    MalformedAnswerError,
    UpstreamClient,
    UpstreamError,
    parse_target,
)
from tests.unit.edge.upstream.servers import OK, QUICK, STREAM, Server, ask, fetch, request, says

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"

REFUSED = {
    "two lengths": HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "one length twice": HEAD + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "a list of lengths": HEAD + b"content-length: 5, 5\r\n\r\nhello",
    "a length with a sign": HEAD + b"content-length: +5\r\n\r\nhello",
    "a negative length": HEAD + b"content-length: -5\r\n\r\nhello",
    "a length in another base": HEAD + b"content-length: 0x5\r\n\r\nhello",
    "no length": HEAD + b"content-length: \r\n\r\nhello",
    "a length beyond all numbers": HEAD + b"content-length: 99999999999999999999\r\n\r\nhello",
    "a length, then chunks": HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks, then a length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "another coding before chunks": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "another coding after chunks": HEAD + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunks twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "no coding by name": HEAD + b"transfer-encoding: identity\r\n\r\nhello",
    "a coding that looks like chunks": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding behind an odd space": HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in http/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"5\r\nhello\r\n0\r\n\r\n",
    "chunks without a body": CHUNKED.replace(b"200", b"204") + b"0\r\n\r\n",
    "a folded header": HEAD + b"x-a: 1\r\n 2\r\ncontent-length: 0\r\n\r\n",
    "a header folded by a tab": HEAD + b"x-a: 1\r\n\t2\r\ncontent-length: 0\r\n\r\n",
    "a folded length": HEAD + b"content-length:\r\n 5\r\n\r\nhello",
    "a folded first header": HEAD + b" x-a: 1\r\ncontent-length: 0\r\n\r\n",
    "a space before the colon": HEAD + b"content-length : 5\r\n\r\nhello",
    "no colon": HEAD + b"x-a\r\ncontent-length: 0\r\n\r\n",
    "no name": HEAD + b": 1\r\ncontent-length: 0\r\n\r\n",
    "a zero byte": HEAD + b"x-a: a\0b\r\ncontent-length: 0\r\n\r\n",
    "a bare return": HEAD + b"x-a: 1\rx-b: 2\r\ncontent-length: 0\r\n\r\n",
    "a bare newline": HEAD + b"x-a: 1\nx-b: 2\r\ncontent-length: 0\r\n\r\n",
    "newlines alone": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "status 000": b"HTTP/1.1 000 Nothing\r\ncontent-length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 99 Nothing\r\ncontent-length: 0\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 Much\r\ncontent-length: 0\r\n\r\n",
    "an unknown version": b"HTTP/1.7 200 OK\r\ncontent-length: 0\r\n\r\n",
    "no version": b"hello",
    "too many headers": HEAD + b"x: y\r\n" * 600 + b"content-length: 0\r\n\r\n",
    "a chunk's size in another base": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a chunk beyond all numbers": CHUNKED + b"fffffffffffffffff\r\nhello",
    "a chunk that is longer than it says": CHUNKED + b"4\r\nhello\r\n0\r\n\r\n",
    "chunks with newlines alone": CHUNKED + b"5\nhello\n0\n\n",
    "a chunk's extension without end": CHUNKED + b"5;" + b"x" * 300_000,
    "a length among the trailers": CHUNKED + b"5\r\nhello\r\n0\r\ncontent-length: 3\r\n\r\n",
    "trailers without end": CHUNKED + b"5\r\nhello\r\n0\r\n" + b"x: y\r\n" * 60_000,
    "one trailer without end": CHUNKED + b"5\r\nhello\r\n0\r\nx: " + b"y" * 300_000,
    "an upgrade": HEAD.replace(b"200", b"101") + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_an_answer_that_two_readers_could_read_differently_is_refused(client, name):
    async with Server(says(REFUSED[name])) as server, asyncio.timeout(20):
        with pytest.raises(MalformedAnswerError):
            await fetch(client, server)
        await asyncio.sleep(0.02)
        # The connection is no good for anybody else.
        assert client.open_connections() == 0


INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"

READ = {
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "several interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" + INTERIM + INTERIM + OK,
    "an empty line before": b"\r\n" + OK,
    "no reason": OK.replace(b"200 OK", b"200"),
    "an odd reason": OK.replace(b"200 OK", b"200 O\xc3\xb6 \t!"),
    "spaces around a length": OK.replace(b": 5", b":  \t 5 \t"),
    "capital chunks": HEAD + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunks with extensions": CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n',
    "chunks with zeros before": CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n",
    "a chunk for each byte": CHUNKED + b"".join(b"1\r\n%c\r\n" % c for c in b"hello") + b"0\r\n\r\n",
    "high bytes in a header": OK.replace(b"a/b", b"\xff\xfe"),
    "http/1.0 that keeps the connection": OK.replace(b"1.1", b"1.0").replace(
        b"\r\n\r\n", b"\r\nconnection: keep-alive\r\n\r\n"
    ),
}


@pytest.mark.parametrize("name", READ)
async def test_a_strange_but_clear_answer_is_read_and_its_connection_kept(client, name):
    async with Server(says(READ[name])) as server:
        for _ in range(2):
            assert (await fetch(client, server))[:2] == (200, b"hello")
        assert server.connections == 1


async def test_trailers_change_nothing_about_the_head(client):
    raw = HEAD + b"x-a: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-a: 2\r\nretry-after: 9\r\n\r\n"
    async with Server(says(raw)) as server:
        for _ in range(2):
            _, body, call = await fetch(client, server)
            assert (body, call.headers) == (b"hello", [(b"x-a", b"1"), (b"transfer-encoding", b"chunked")])
        assert server.connections == 1


async def test_headers_of_interim_answers_stay_with_them(client):
    async with Server(says(INTERIM + OK)) as server:
        _, _, call = await fetch(client, server)
    assert call.header(b"link") is None


async def test_a_body_without_length_is_read_to_its_end_though_it_is_long(client):
    body = bytes(range(256)) * 2000
    async with Server(says(HEAD + b"\r\n" + body[:1000], body[1000:], close="fin")) as server:
        assert (await fetch(client, server, STREAM))[1] == body
        await asyncio.sleep(0.02)
        assert client.open_connections() == 0


@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_a_long_body_in_small_chunks(client, piece):
    body = bytes(range(256)) * 8
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[i : i + piece]), body[i : i + piece]) for i in range(0, len(body), piece)
    )
    async with Server(says(CHUNKED + chunks + b"0\r\n\r\n")) as server:
        assert (await fetch(client, server))[1] == body


# Answers before the request has gone out


def refuses_early(listener, context, answer):
    """Read the head alone, answer, and hang up with most of the body unread: the kernel then sends an RST."""
    accepted, _ = listener.accept()
    spoken = accepted if context is None else context.wrap_socket(accepted, server_side=True)
    with spoken:
        head = b""
        while b"\r\n\r\n" not in head:
            head += spoken.recv(100)
        spoken.sendall(answer)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("keeps", [False, True])
async def test_a_refusal_while_the_body_is_still_going_out_is_heard(tls, keeps, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))
    # So that the body cannot vanish into buffers.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    said = b"" if keeps else b"connection: close\r\n"
    answer = b"HTTP/1.1 413 Too Large\r\n%bcontent-length: 3\r\n\r\nbig" % said
    thread = threading.Thread(target=refuses_early, args=(listener, context, answer))
    thread.start()
    client = UpstreamClient(ca_file=tmp_path / "ca.pem")
    target = parse_target(f"http{'s' * tls}://127.0.0.1:{listener.getsockname()[1]}", allow_private=True)
    try:
        patient = QUICK._replace(connect=20, response=20, idle=20)
        try:
            assert await ask(client, target, patient, b"x" * 10_000_000) == (413, b"big")
        except ConnectionLostError:
            # uvloop ends TLS at a reset though an answer came before it; without TLS the answer is always heard.
            assert tls
        await asyncio.sleep(0.02)
        assert client.open_connections() == 0
    finally:
        thread.join()
        listener.close()
        await client.close()


async def test_an_early_answer_over_a_connection_that_stays_costs_it(client):
    async def play(reader, writer, number):
        writer.write(OK.replace(b"200 OK", b"429 Slow Down"))
        await writer.drain()
        await asyncio.sleep(0.1)
        return False

    async with Server(play, reads_bodies=False) as server:
        call = await client.send(server.target, request(b"x" * 10_000_000), QUICK._replace(response=20))
        await call.head()
        assert (call.status, await call.read_all(100)) == (429, b"hello")
        await asyncio.sleep(0.02)
        assert client.open_connections() == 0


async def test_no_answer_is_ever_mistaken_for_the_next_one(client):
    """An upstream that sends two answers at once: the second belongs to nobody."""
    poison = OK.replace(b"hello", b"wrong")
    async with Server(says(OK + poison)) as server:
        for _ in range(3):
            try:
                assert (await fetch(client, server))[1] == b"hello"
            except UpstreamError:
                pytest.fail("the first answer was whole")
        assert server.connections == 3
