"""Clients that mean harm or know no better: nothing of theirs is read twice, kept for ever, or put among answers."""

from __future__ import annotations

import asyncio
import gc

import pytest

from penstock_edge import client_timers
from penstock_edge.protocol import MOST_WAITING
from tests.unit.edge.test_protocol import COLD, Connection, answers, chunked, hot

HEAD = b"POST /hot HTTP/1.1\r\nHost: x\r\n"
CODED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
HIDDEN = b"POST /hot?hidden HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

AMBIGUOUS = {
    "a length, then chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks, then a length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "one length twice": HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    "a length with a sign": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "a length in another base": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    "no length": HEAD + b"Content-Length: \r\n\r\nhello",
    "a length beyond all numbers": HEAD + b"Content-Length: 99999999999999999999\r\n\r\nhello",
    "another coding": HEAD + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "another coding after chunks": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunks twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks twice in a list": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "no coding by name": HEAD + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a coding that looks like chunks": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding behind an odd space": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "no coding": HEAD + b"Transfer-Encoding:\r\nContent-Length: 5\r\n\r\nhello",
    "a folded header": HEAD + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a folded length": HEAD + b"Content-Length:\r\n 5\r\n\r\nhello",
    "a folded coding": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a folded first header": b"POST /hot HTTP/1.1\r\n Host: x\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": HEAD + b"Content-Length : 5\r\n\r\nhello",
    "newlines alone": b"POST /hot HTTP/1.1\nHost: x\nContent-Length: 0\n\n",
    "one newline alone": HEAD + b"X: a\nContent-Length: 5\r\n\r\nhello",
    "a return alone": HEAD + b"X: a\rContent-Length: 5\r\n\r\nhello",
    "a zero byte": HEAD + b"X: a\0\r\nContent-Length: 0\r\n\r\n",
    "chunks with newlines alone": CODED + b"5\nhello\n0\n\n",
    "a newline in a chunk's extension": CODED + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a space after a chunk's size": CODED + b"5 \r\nhello\r\n0\r\n\r\n",
    "a chunk's size in another base": CODED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "a negative chunk": CODED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a chunk beyond all numbers": CODED + b"fffffffffffffffff\r\nhello",
    "a chunk that is longer than it says": CODED + b"4\r\nhello\r\n0\r\n\r\n",
    "a length among the trailers": CODED + b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\nabc",
    "a coding among the trailers": CODED + b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "http/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown version": b"POST /hot HTTP/1.2\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a space in the path": b"POST /hot /hot HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a control character in the path": b"POST /h\x01ot HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a small method": b"post /hot HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "no name": HEAD + b": x\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_what_two_readers_could_read_differently_is_refused(name, whole):
    served = []

    async def serve(turn):
        body = await turn.body(1000)
        served.append((turn.query, body))
        await turn.whole(200, [(b"content-length", b"0")], b"")

    connection = Connection(serve)
    data = AMBIGUOUS[name] + HIDDEN
    await connection.feed(*([data] if whole else [data[at : at + 1] for at in range(len(data))]))
    assert [status for status, _ in answers(connection.transport.written)] == [400]
    assert connection.transport.closing
    assert served == []


async def test_trailers_are_no_headers():
    seen = []

    async def serve(turn):
        await turn.body(1000)
        seen.append([name for name, _ in turn.headers])
        await turn.whole(200, [(b"content-length", b"0")], b"")

    connection = Connection(serve)
    trailed = chunked(b"ab").removesuffix(b"\r\n") + b"X-Api-Key: other\r\nExpect: 100-continue\r\n\r\n"
    await connection.feed(trailed + hot(), trailed[:-60], trailed[-60:])
    assert seen == [[b"host", b"transfer-encoding"], [b"host", b"content-length"], [b"host", b"transfer-encoding"]]
    connection.transport.lose()


@pytest.mark.parametrize("target", [b"/hot", b"/cold"])
@pytest.mark.parametrize("trailer", [b"x: y\r\n", b"y"])
async def test_trailers_without_end_are_not_kept(target, trailer):
    connection = Connection()
    await connection.feed(chunked(b"ab", target=target).removesuffix(b"\r\n") + b"x: ")
    for _ in range(100):
        if connection.transport.closing:
            break
        await connection.feed(trailer * 4096)
    assert connection.transport.closing


@pytest.mark.parametrize("request_", [hot(), COLD])
@pytest.mark.parametrize("more", [b"\r\n", b"P"])
async def test_what_is_no_request_does_not_keep_a_connection_open(request_, more, monkeypatch):
    monkeypatch.setattr(client_timers, "HEAD_SECONDS", 0.1)
    connection = Connection(timeout_keep_alive=0.1)
    await connection.feed(request_)
    assert connection.transport.writes
    await connection.feed(more)
    async with asyncio.timeout(10):
        while not connection.transport.closing:
            await asyncio.sleep(0.01)


async def test_the_rest_of_an_answered_request_does_not_keep_a_connection_open():
    async def serve(turn):
        await turn.whole(200, [(b"content-length", b"0")], b"")

    connection = Connection(serve, soon_seconds=0.0, timeout_keep_alive=0.1)
    connection.protocol.data_received(hot()[:-2])
    await asyncio.sleep(0.01)
    assert connection.transport.writes
    await connection.feed(hot()[-2:-1])
    async with asyncio.timeout(10):
        while not connection.transport.closing:
            await asyncio.sleep(0.01)


async def test_a_wish_to_connect_ends_the_connection_and_not_the_request_before_it():
    connection = Connection()
    await connection.feed(hot() + b"CONNECT /hot HTTP/1.1\r\nHost: x\r\n\r\n")
    await connection.feed(hot())
    assert [status for status, _ in answers(connection.transport.written)] == [200, 405]
    assert connection.transport.closing


async def test_a_head_that_cannot_come_is_not_late(monkeypatch):
    """While a request waits for the one before it, nothing is read: half a head behind it is not the client's fault."""
    monkeypatch.setattr(client_timers, "HEAD_SECONDS", 0.05)
    go = asyncio.Event()

    async def serve(turn):
        await go.wait()
        await turn.whole(200, [(b"content-length", b"0")], b"")

    connection = Connection(serve)
    connection.protocol.data_received(hot() + hot() + hot()[:20])
    assert not connection.transport.reading
    await asyncio.sleep(0.2)
    assert not connection.transport.closing
    go.set()
    await connection.feed(hot()[20:])
    assert [status for status, _ in answers(connection.transport.written)] == [200] * 3
    connection.transport.lose()


async def test_what_is_no_request_is_not_answered_in_the_middle_of_an_answer():
    async def serve(turn):
        await turn.begin(200, [])
        await turn.piece(b"a")
        await asyncio.Event().wait()

    connection = Connection(serve)
    connection.protocol.data_received(hot())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    written = connection.transport.written
    assert written.endswith(b"1\r\na\r\n")
    connection.protocol.data_received(b"nonsense\r\n\r\n")
    assert connection.transport.written == written
    assert connection.transport.closing
    for task in list(connection.state.tasks):
        task.cancel()
    await connection.settle()


def keeps(secret):
    """Whether anything that the collector knows of holds a header with the secret."""
    lists = [each for each in gc.get_objects() if type(each) is list]
    return any(type(one) is tuple and secret in one for each in lists for one in each[:50])


@pytest.mark.parametrize("request_", [hot, lambda **fields: COLD.replace(b"Host", fields["headers"] + b"Host")])
async def test_no_key_is_kept_when_its_request_has_been_answered(request_):
    secret = b"psk_" + bytes(range(97, 117))
    connection = Connection()
    await connection.feed(request_(headers=b"X-Api-Key: %b\r\n" % secret))
    assert len(answers(connection.transport.written)) == 1
    gc.collect()
    assert not keeps(secret)
    connection.transport.lose()


async def test_a_client_that_reads_nothing_is_left_and_a_slow_one_is_not():
    connection = Connection(stall_seconds=0.02)
    left = iter(range(20, 0, -1))
    looked = []

    def unread():
        looked.append(next(left, 0))
        return looked[-1]

    connection.transport.get_write_buffer_size = unread
    connection.protocol.pause_writing()
    async with asyncio.timeout(10):
        while not connection.transport.aborted:
            await asyncio.sleep(0.01)
    assert looked == [*range(20, 0, -1), 0, 0, 0][: len(looked)]
    assert len(looked) >= 22


async def test_who_reads_again_is_not_left():
    connection = Connection(stall_seconds=0.02)
    for _ in range(2):
        connection.protocol.pause_writing()
        connection.protocol.resume_writing()
    await asyncio.sleep(0.1)
    assert not connection.transport.closing
    connection.transport.lose()


async def test_what_is_no_request_ends_the_connection_of_a_client_that_reads_nothing():
    """Closing would wait for it to read."""
    connection = Connection()
    connection.protocol.pause_writing()
    await connection.feed(b"nonsense\r\n\r\n")
    assert connection.transport.aborted


@pytest.mark.parametrize("request_", [hot(), COLD])
async def test_requests_that_wait_on_a_connection_are_bounded(request_):
    connection = Connection()
    await connection.feed(request_ * (MOST_WAITING + 1))
    assert [status for status, _ in answers(connection.transport.written)] == [200] * (MOST_WAITING + 1)
    await connection.feed(request_ * (MOST_WAITING + 2))
    assert connection.transport.closing


async def test_wishes_for_other_protocols_are_bounded_too():
    """Each is read anew within the reading of the one before it."""
    connection = Connection()
    wishing = hot(b"", headers=b"Connection: upgrade\r\nUpgrade: h2c\r\n")
    await connection.feed(wishing * (MOST_WAITING + 1))
    assert len(answers(connection.transport.written)) == MOST_WAITING + 1
    await connection.feed(wishing * 3000)
    assert connection.transport.closing
