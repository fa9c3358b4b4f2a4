"""HTTP as such: keep-alive, pipelining, sizes, garbage."""

import asyncio
import json

import pytest

from penstock_simulator.server import Simulator
from penstock_simulator.settings import SimulatorSettings

from .conftest import message, until

HEAD = b"POST /v1/messages HTTP/1.1\r\nx-api-key: sim-key-a\r\nanthropic-version: 2023-06-01\r\n"
BODY = json.dumps(message("[[sim: tokens=2]]")).encode()
REQUEST = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
async def sim():
    async with Simulator(SimulatorSettings(max_body_bytes=10_000)) as running:
        yield running


@pytest.fixture
async def line(sim):
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    yield reader, writer
    writer.close()


async def answer(reader):
    """Read one answer with a length: (status, body)."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)).decode()
    length = next(int(row.split(": ")[1]) for row in head.split("\r\n") if row.startswith("content-length"))
    return int(head.split(" ")[1]), await reader.readexactly(length)


async def test_one_connection_many_requests(line):
    reader, writer = line
    for _ in range(3):
        writer.write(REQUEST)
        assert (await answer(reader))[0] == 200


async def test_pipelined_requests_are_answered_in_order(line, sim):
    reader, writer = line
    writer.write(REQUEST + HEALTH + REQUEST)
    kinds = [json.loads((await answer(reader))[1]).get("type", "alive") for _ in range(3)]
    assert kinds == ["message", "alive", "message"]
    assert sim.accounts["sim-a"].most_open == 1


async def test_too_many_pipelined_requests_are_cut(line):
    reader, writer = line
    writer.write(HEALTH * 80)
    got = 0
    try:
        for _ in range(80):
            await answer(reader)
            got += 1
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    assert got < 80


async def test_a_body_in_chunks_and_pieces(line, sim):
    reader, writer = line
    writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    for start in range(0, len(BODY), 7):
        part = BODY[start : start + 7]
        writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        await asyncio.sleep(0)
    writer.write(b"0\r\n\r\n")
    assert (await answer(reader))[0] == 200
    assert sim.records.select()[0].body_bytes == len(BODY)


async def test_continue_is_said(line):
    reader, writer = line
    writer.write(HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY))
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(BODY)
    assert (await answer(reader))[0] == 200


async def test_too_long_by_its_own_word_is_refused_before_it_is_read(line, sim):
    reader, writer = line
    writer.write(HEAD + b"content-length: 10001\r\n\r\n")
    status, body = await answer(reader)
    assert (status, json.loads(body)["error"]["type"]) == (413, "request_too_large")
    assert sim.records.select()[0].status == 413
    writer.write(b"x" * 10_001)
    assert await asyncio.wait_for(reader.read(), 2) == b""


async def test_too_long_by_count(line):
    reader, writer = line
    writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    for _ in range(3):
        writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
    status, _ = await answer(reader)
    assert status == 413
    writer.write(b"0\r\n\r\n")
    assert await asyncio.wait_for(reader.read(), 2) == b""


async def test_exactly_as_long_as_allowed(line):
    reader, writer = line
    body = json.dumps(message("x")).encode()
    body = json.dumps(message("x" * (10_001 - len(body)))).encode()
    assert len(body) == 10_000
    writer.write(HEAD + b"content-length: 10000\r\n\r\n" + body)
    assert (await answer(reader))[0] == 200


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01hello\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000 + b"\r\n\r\n"]
)
async def test_garbage(line, garbage):
    reader, writer = line
    writer.write(garbage)
    assert (await asyncio.wait_for(reader.read(), 2)).startswith(b"HTTP/1.1 400 ")


async def test_connection_close_is_honoured(line):
    reader, writer = line
    writer.write(HEALTH.replace(b"host: x", b"connection: close"))
    assert (await asyncio.wait_for(reader.read(), 2)).endswith(b'{"alive":true}')


async def test_a_client_that_leaves_frees_its_slot_before_the_next_one_counts(sim):
    """Leaving and asking anew at once must not look like two requests at a time."""
    slow = json.dumps(message("[[sim: fault=silence]]")).encode()
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(HEAD + b"content-length: %d\r\n\r\n" % len(slow) + slow)
        await until(lambda: sim.accounts["sim-a"].open == 1)
        writer.close()
        again, second = await asyncio.open_connection("127.0.0.1", sim.port)
        second.write(REQUEST)
        assert (await answer(again))[0] == 200
        second.close()
    assert sim.accounts["sim-a"].most_open == 1


async def test_a_client_that_leaves_in_its_upload_leaves_no_record(sim):
    _, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(HEAD + b"content-length: 500\r\n\r\n{")
    await writer.drain()
    writer.close()
    await asyncio.sleep(0.05)
    assert len(sim.records) == 0


async def test_an_escaped_path(line):
    reader, writer = line
    writer.write(b"GET /%68ealthz?x=1 HTTP/1.1\r\n\r\n")
    assert (await answer(reader))[0] == 200
