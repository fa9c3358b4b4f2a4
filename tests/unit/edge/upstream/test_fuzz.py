"""Whatever comes, in whatever pieces: an answer or a named error, soon, and nothing left behind."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_edge.upstream import UpstreamClient, UpstreamError, UpstreamLimits
from tests.effort import EXAMPLES
from tests.unit.edge.upstream.servers import QUICK, STREAM, Server, request

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
ANSWERS = {
    "length": HEAD + b"content-length: 11\r\n\r\nhello world",
    "chunks": HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-t: 1\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: a\r\n\r\n"
    + HEAD
    + b"content-length: 11\r\n\r\nhello world",
    "close": HEAD + b"connection: close\r\ncontent-length: 11\r\n\r\nhello world",
    "no length": HEAD + b"\r\nhello world",
    "http/1.0": b"HTTP/1.0 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
    "nothing": b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n",
}
BRIEF = QUICK._replace(response=0.3, first_byte=0.3, idle=0.3)


class Player:
    """One server for many answers: plays the pieces it holds, and hangs up after them if told so."""

    def __init__(self):
        self.pieces = []
        self.hangs_up = False

    async def __call__(self, reader, writer, number):
        for piece in self.pieces:
            writer.write(piece)
            # So that the pieces are read one by one.
            for _ in range(3):
                await asyncio.sleep(0)
        if self.hangs_up:
            writer.close()
            return False
        return True


async def exchange(client, target, deadlines):
    """Return (status, headers, body), or the named error; the answer must be one or the other."""
    try:
        call = await client.send(target, request(), deadlines)
        await call.head()
        return call.status, call.headers, await call.read_all(1_000_000)
    except UpstreamError as error:
        return error


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_split_at_every_byte_reads_the_same(name):
    client = UpstreamClient(UpstreamLimits(connections=2))
    raw, player = ANSWERS[name], Player()
    player.hangs_up = name == "no length"
    async with Server(player) as server:
        player.pieces = [raw]
        whole = await exchange(client, server.target, STREAM)
        assert whole[0] in {200, 204}
        for at in range(1, len(raw)):
            player.pieces = [raw[:at], raw[at:]]
            assert await exchange(client, server.target, STREAM) == whole, at
        assert client.open_connections() <= 1
    await client.close()


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_ends_at_any_byte_is_cut_off_or_whole(name):
    client = UpstreamClient(UpstreamLimits(connections=2))
    raw, player = ANSWERS[name], Player()
    async with Server(player) as server:
        player.pieces, player.hangs_up = [raw], True
        whole = await exchange(client, server.target, STREAM)
        for at in range(len(raw)):
            player.pieces = [raw[:at]]
            result = await exchange(client, server.target, STREAM)
            if name == "no length" and at >= raw.index(b"\r\n\r\n") + 4:
                assert result[2] == raw[raw.index(b"\r\n\r\n") + 4 : at]
            else:
                assert isinstance(result, UpstreamError), (at, result, whole)
        await asyncio.sleep(0.01)
        assert client.open_connections() == 0
    await client.close()


def mutated(draw):
    """One of the answers, with some bytes changed, taken out, doubled or put in."""
    raw = bytearray(draw(st.sampled_from(sorted(ANSWERS.values()))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        match draw(st.sampled_from(["set", "cut", "double", "put"])):
            case "set" if at < len(raw):
                raw[at] = draw(st.integers(0, 255))
            case "cut":
                del raw[at : at + draw(st.integers(1, 10))]
            case "double":
                raw[at:at] = raw[at : at + draw(st.integers(1, 40))]
            case _:
                raw[at:at] = draw(
                    st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\r\n\r\n", b"HTTP/1.1 ", b"ffffffff"])
                )
    return bytes(raw)


@settings(max_examples=EXAMPLES * 10)
@given(st.data())
async def test_no_mutation_crashes_hangs_or_leaks(data):
    raw = mutated(data.draw)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    client = UpstreamClient(UpstreamLimits(connections=2))
    player = Player()
    player.pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    player.hangs_up = data.draw(st.booleans())
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    # A body may be announced longer than it is: then the deadline ends it, which is not what is tried here.
    deadlines = (STREAM if data.draw(st.booleans()) else QUICK)._replace(response=0.05, first_byte=0.05, idle=0.05)
    async with Server(player) as server, asyncio.timeout(20):
        for _ in range(2):
            result = await exchange(client, server.target, deadlines)
            assert isinstance(result, UpstreamError) or 100 <= result[0] < 1000
        pool = next(iter(client._pools.values()), None)
        # What is open is idle: nothing hangs between.
        await asyncio.sleep(0.002)
        assert client.open_connections() == (0 if pool is None else len(pool.idle))
        assert client._places._free == UpstreamLimits().total - client.open_connections()
        await client.close()
        await asyncio.sleep(0.002)
        assert client.open_connections() == 0
    assert problems == []


@settings(max_examples=EXAMPLES * 2)
@given(st.binary(max_size=300))
async def test_no_noise_is_an_answer(noise):
    client = UpstreamClient(UpstreamLimits(connections=2))
    player = Player()
    player.pieces, player.hangs_up = [noise], True
    async with Server(player) as server, asyncio.timeout(20):
        result = await exchange(client, server.target, BRIEF)
        assert isinstance(result, UpstreamError) or noise.lstrip(b"\r\n").startswith(b"HTTP/1.")
        await client.close()
