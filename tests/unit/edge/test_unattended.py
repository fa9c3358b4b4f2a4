"""Requests that wait for their upstream without a task: how they end, and what hands them to one."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest

ANSWER = {"type": "message", "content": [], "usage": {"input_tokens": 3, "output_tokens": 4}}


@pytest.fixture
def warm(gateway, books):
    """Make a gateway whose first upstream has an idle connection: what comes then can be sent at once."""

    async def make(script, *others, **options):
        first, *rest = script
        edge = await gateway([first, *rest], *others, **options)
        assert (await edge.post()).status_code == 200
        await books.settled_count(1)
        return edge

    return make


async def waits(edge, number):
    """Wait until an upstream has got its request; return the exchange."""
    async with asyncio.timeout(10):
        while len(edge.upstreams[0].requests) < number or not edge.dispatcher.active:
            await asyncio.sleep(0.005)
    [exchange] = edge.dispatcher.active
    return exchange


def at_rest(edge, books):
    """Whether nothing is held or waits."""
    return (books.holds, books.slots, edge.pool.in_flight("a"), len(edge.dispatcher.active)) == (0, 0, 0, 0)


async def test_no_task_waits_for_the_upstream(warm, books, play):
    edge = await warm([play.answer(), play.answer(delay=0.3), play.answer()])
    request = asyncio.create_task(edge.post())
    exchange = await waits(edge, 2)
    async with asyncio.timeout(10):
        while edge.server.server_state.tasks:
            await asyncio.sleep(0.005)
    assert exchange.unattended is not None
    assert exchange.task is None
    assert (await request).status_code == 200
    assert (exchange.unattended, exchange.turn.in_flight) == (None, False)
    assert (await edge.post()).status_code == 200
    assert [closed.state for closed in await books.settled_count(3)] == ["complete"] * 3
    assert at_rest(edge, books)


async def test_an_answer_in_pieces_waits_for_its_last(warm, books, play):
    raw = json.dumps(ANSWER).encode()

    async def slowly(request):
        request.writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
        await asyncio.sleep(0.05)
        request.writer.write(b"content-length: %d\r\n\r\n%b" % (len(raw), raw[:10]))
        await asyncio.sleep(0.05)
        request.writer.write(raw[10:])

    edge = await warm([play.answer(), slowly])
    assert (await edge.post()).content == raw
    assert at_rest(edge, books)


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize("coded", [False, True])
async def test_large_and_coded_answers_are_taken_on_by_a_task(warm, books, play, size, coded):
    said = ANSWER | {"content": [{"type": "text", "text": "x" * size}]}
    body, headers = json.dumps(said).encode(), {}
    if coded:
        body, headers = gzip.compress(body), {"content-encoding": "gzip"}
    edge = await warm([play.answer(), play.answer(body=body, headers=headers)])
    assert (await edge.post()).json() == said
    closed = (await books.settled_count(2))[1]
    assert (closed.state, closed.attempts[0].usage.output_tokens) == ("complete", 4)
    assert at_rest(edge, books)


@pytest.mark.parametrize(
    "kind", ["529", "cut", "no message", "no json"], ids=["refused", "cut off", "no message", "no json"]
)
async def test_what_fails_goes_on_with_another_account(warm, books, play, kind):
    async def cut(request):
        request.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc")
        await request.writer.drain()
        request.writer.close()

    script = {
        "529": play.failure(529, "overloaded_error"),
        "cut": cut,
        "no message": play.answer(body={"type": "error", "error": {"type": "api_error", "message": "boom"}}),
        "no json": play.answer(body=b"<html>"),
    }[kind]
    edge = await warm([play.answer(), script], [play.answer()], tiers=True)
    answer = await edge.post()
    assert (answer.status_code, answer.json()["content"][0]["text"]) == (200, "Hello")
    closed = (await books.settled_count(2))[1]
    assert [attempt.account for attempt in closed.attempts] == ["a", "b"]
    assert (closed.state, closed.delivered) == ("complete", 1)
    assert at_rest(edge, books)


async def test_a_full_spool_refuses_before_anything_is_sent(warm, books, play):
    edge = await warm([play.answer()])
    books.full = True
    assert (await edge.post()).status_code == 503
    assert len(edge.upstreams[0].requests) == 1
    assert at_rest(edge, books)


@pytest.mark.parametrize("why", ["draining", "client_left"])
async def test_an_interruption_ends_it_in_a_task(warm, books, play, why):
    edge = await warm([play.answer(), play.hang])
    request = asyncio.create_task(edge.post())
    exchange = await waits(edge, 2)
    assert exchange.task is None
    if why == "draining":
        exchange.interrupt("draining")
        # What comes between the call and the task's first step is passed over.
        exchange.interrupt("client_left")
        assert (await request).status_code == 503
    else:
        request.cancel()
    closed = (await books.settled_count(2))[1]
    assert (closed.attempts[0].cls, exchange.interrupted) == ("ClientLeft", why)
    async with asyncio.timeout(10):
        while not at_rest(edge, books) or edge.upstreams[0].gone != 1:
            await asyncio.sleep(0.005)


async def test_an_answer_that_comes_before_the_client_is_known_to_have_left_counts(warm, books, play):
    """The task that ends it begins a turn of the loop later; what the upstream said by then is in the books."""
    edge = await warm([play.answer(), play.answer(delay=0.2)])
    request = asyncio.create_task(edge.post())
    exchange = await waits(edge, 2)
    unattended = exchange.unattended
    heard = asyncio.Event()

    def left_first():
        exchange.interrupt("client_left")
        heard.set()

    exchange.current.call.then(left_first)
    await asyncio.wait_for(heard.wait(), 10)
    assert unattended is not None
    closed = (await books.settled_count(2))[1]
    assert (closed.state, closed.attempts[0].usage.output_tokens) == ("client_left", 5)
    request.cancel()


async def test_a_pipelined_request_begins_when_the_one_before_it_has_ended(warm, books, play):
    edge = await warm([play.answer(), play.answer(), play.answer()])
    body = json.dumps(edge.body()).encode()
    asked = (
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\nanthropic-version: 2023-06-01\r\n"
        b"content-length: %d\r\n\r\n%b"
    ) % (play.key.encode(), len(body), body)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port)
    most = []
    admit = books.try_admit

    def watched(*told):
        most.append(books.slots)
        return admit(*told)

    books.try_admit = watched
    writer.write(asked * 2)
    seen = b""
    async with asyncio.timeout(10):
        while seen.count(b"end_turn") < 2:
            seen += await reader.read(65536)
    writer.close()
    assert seen.count(b"HTTP/1.1 200 ") == 2
    assert most == [0, 0]
    await books.settled_count(3)
    assert at_rest(edge, books)


async def test_a_crash_after_the_answer_leaves_the_upstreams_connection_alone(warm, books, play, monkeypatch):
    edge = await warm([play.answer(), play.answer(), play.answer()])
    lines = []
    finish = books.finish

    class Log:
        def error(self, event, **fields):
            lines.append((event, fields["error"]))

    def crash(*told):
        raise RuntimeError("a secret")

    monkeypatch.setattr("penstock_edge.unattended.log", Log())
    monkeypatch.setattr(books, "finish", crash)
    assert (await edge.post()).status_code == 200
    assert lines == [("exchange_not_ended", "RuntimeError")]
    monkeypatch.setattr(books, "finish", finish)
    assert (await edge.post()).status_code == 200
    assert edge.client.open_connections() == 1
