"""Clients that leave at any moment in any way: nothing is held, and every row is written."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct

import pytest


def asked(edge, play, rng):
    """Return a request in one of the ways in which clients put it."""
    body = json.dumps(edge.body(stream=rng.random() < 0.5)).encode()
    wish = rng.choice([b"", b"", b"expect: 100-continue\r\n", b"connection: upgrade\r\nupgrade: h2c\r\n"])
    version, length = rng.choice([b"1.1", b"1.1", b"1.1", b"1.0"]), b"content-length: %d\r\n\r\n" % len(body)
    if version == b"1.1" and rng.random() < 0.3:
        length, body = b"transfer-encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n0\r\nx: y\r\n\r\n" % (len(body), body)
    head = b"POST /v1/messages HTTP/%b\r\nhost: x\r\nx-api-key: %b\r\n%b%b"
    return head % (version, play.key.encode(), wish, length) + body


def scripts(play, rng):
    """Return what an upstream does: by what it was asked, and by chance."""
    many = [play.start(), play.block] + [play.text("y" * 50_000)] * 20
    large = {"type": "message", "content": ["x" * 3_000_000], "usage": {"input_tokens": 3, "output_tokens": 4}}
    streams = [play.stream(pause=0.005), play.stream([*many, play.ending(), play.stop])]
    answers = [play.answer(), play.answer(delay=0.03), play.answer(body=large)]

    async def script(request):
        return await rng.choice(streams if b'"stream": true' in request.body else answers)(request)

    return script


async def talk(edge, data, rng):
    """Send some of it, read some of what comes, and leave."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rng.choice([4096, 1_000_000]))
        client.connect(("127.0.0.1", edge.server.port))
        client.setblocking(False)
        cut = rng.choice([rng.randrange(len(data)), len(data), len(data)])
        try:
            while data and cut > 0:
                step = rng.choice([cut, 1 + rng.randrange(300)])
                await loop.sock_sendall(client, data[: min(step, cut)])
                data, cut = data[step:], cut - step
                await asyncio.sleep(rng.random() * 0.01)
            async with asyncio.timeout(rng.random() * 0.1):
                while rng.random() < 0.95 and await loop.sock_recv(client, 65536):
                    pass
        except (OSError, TimeoutError):
            pass
        if rng.random() < 0.3:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif rng.random() < 0.3:
            # The edge may have closed it first.
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            await asyncio.sleep(0.01)


def held(edge, books):
    waiting = len(books.opened_records) - len(books.finished)
    return (books.holds, books.slots, edge.pool.in_flight("a"), len(edge.dispatcher.active), waiting)


@pytest.mark.parametrize("seed", range(3))
async def test_who_leaves_at_any_moment_holds_nothing(gateway, books, play, seed):
    rng = random.Random(seed)
    edge = await gateway([scripts(play, rng)])
    wrong = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: wrong.append(context))
    for _ in range(5):
        requests = [b"".join(asked(edge, play, rng) for _ in range(rng.choice([1, 1, 2, 3]))) for _ in range(30)]
        await asyncio.gather(*[talk(edge, data, rng) for data in requests])
    async with asyncio.timeout(20):
        while held(edge, books) != (0,) * 5 or edge.server.server_state.connections:
            await asyncio.sleep(0.02)
    assert len({closed.request_id for closed in books.finished}) == len(books.finished) > 30
    assert wrong == []
