"""The client's side: one answer, in order, whatever the keep-alive does at the same moment."""

from __future__ import annotations

import asyncio

import pytest

from penstock_edge.keepalive import KeepAlive
from penstock_edge.reply import Reply


class Wire:
    def __init__(self):
        self.sent = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def whole(self, status, headers, body):
        await self.begin(status, headers)
        await self.end(body)

    def try_whole(self, status, headers, body):
        if self.gate.is_set():
            self.sent += [status, body]
        return self.gate.is_set()

    def try_piece(self, data):
        if self.gate.is_set():
            self.sent.append(data)
        return self.gate.is_set()

    async def begin(self, status, headers):
        await self.gate.wait()
        self.sent.append(status)

    async def piece(self, data):
        await self.gate.wait()
        self.sent.append(data)

    end = piece


@pytest.fixture
async def wire():
    return Wire()


@pytest.fixture
async def reply(wire):
    return Reply(asyncio.get_running_loop(), wire, "req_1")


async def test_a_ping_that_was_due_when_a_whole_answer_began_is_not_sent(wire, reply):
    reply.ping(b"ping", [])
    await reply.whole(400, [], b"no")
    await asyncio.sleep(0.01)
    assert wire.sent == [400, b"no"]


async def test_nothing_is_sent_at_once_while_a_ping_is_on_its_way_or_the_client_is_slow(wire, reply):
    wire.gate.clear()
    assert not reply.try_piece(b"data")
    reply.ping(b"ping", [])
    await asyncio.sleep(0)
    wire.gate.set()
    assert not reply.try_piece(b"data")
    await reply.piece(b"data")
    assert reply.try_piece(b"more")
    assert wire.sent == [200, b"ping", b"data", b"more"]


async def test_a_whole_answer_that_could_not_go_at_once_goes_later(wire, reply):
    wire.gate.clear()
    assert not reply.try_whole(200, [], b"yes")
    wire.gate.set()
    await reply.whole(200, [], b"yes")
    assert (wire.sent, reply.ended) == ([200, b"yes"], True)


async def test_a_ping_opens_the_stream_and_the_next_piece_waits_for_it(wire, reply):
    wire.gate.clear()
    reply.ping(b"ping", [])
    await asyncio.sleep(0)
    reply.ping(b"another", [])
    piece = asyncio.create_task(reply.piece(b"data"))
    await asyncio.sleep(0.01)
    wire.gate.set()
    await piece
    await reply.end(b"end")
    reply.ping(b"late", [])
    await asyncio.sleep(0.01)
    assert wire.sent == [200, b"ping", b"data", b"end"]


async def test_the_end_waits_for_a_ping_too(wire, reply):
    await reply.begin(200, [])
    wire.gate.clear()
    reply.ping(b"ping", [])
    await asyncio.sleep(0)
    end = asyncio.create_task(reply.end())
    await asyncio.sleep(0.01)
    wire.gate.set()
    await end
    assert wire.sent == [200, b"ping", b""]


async def test_a_flowing_stream_is_not_pinged_and_a_stalled_one_is_reported(wire, reply):
    stalled = []
    loop = asyncio.get_running_loop()
    keepalive = KeepAlive(loop, reply, b"ping", list, lambda: stalled.append(True), seconds=0.05, stall_seconds=0.12)
    await reply.begin(200, [])
    for _ in range(6):
        await reply.piece(b"data")
        await asyncio.sleep(0.02)
    assert b"ping" not in wire.sent
    await asyncio.sleep(0.08)
    assert wire.sent.count(b"ping") >= 1
    wire.gate.clear()
    piece = asyncio.create_task(reply.piece(b"stuck"))
    await asyncio.sleep(0.3)
    assert stalled == [True]
    keepalive.stop()
    piece.cancel()
