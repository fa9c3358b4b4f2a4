"""Requests that wait for their upstream without a task: how they end, and what hands them to one."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest

from penstock_edge.dispatch import Pace
from penstock_edge.reply import Reply
from penstock_edge.unattended import Unattended

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


# Streams


async def until(true):
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


class Reading:
    """A client that reads a stream as it comes."""

    def __init__(self, edge):
        self.seen = b""
        self._edge = edge
        self.task = asyncio.create_task(self._read())

    async def _read(self):
        async with self._edge.http.stream("POST", "/v1/messages", json=self._edge.body(stream=True)) as answer:
            async for piece in answer.aiter_raw():
                self.seen += piece


async def test_no_task_waits_for_the_pieces_of_a_stream(warm, books, play):
    more = asyncio.Event()

    async def slowly(request):
        pieces = play.whole_stream()
        w = request.writer
        w.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number, piece in enumerate(pieces):
            if number == 3:
                await more.wait()
            w.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await w.drain()
        w.write(b"0\r\n\r\n")

    edge = await warm([play.answer(), slowly, play.answer()])
    client = Reading(edge)
    exchange = await waits(edge, 2)
    await until(lambda: b"Hel" in client.seen and not edge.server.server_state.tasks)
    assert exchange.unattended is not None
    assert (exchange.task, exchange.output_committed, exchange.body) == (None, True, b"")
    more.set()
    await client.task
    assert client.seen == b"".join(play.whole_stream())
    assert (exchange.unattended, exchange.turn.in_flight) == (None, False)
    closed = (await books.settled_count(2))[1]
    assert (closed.state, closed.attempts[0].usage.output_tokens, closed.estimated) == ("complete", 5, False)
    assert (await edge.post()).status_code == 200
    assert edge.client.open_connections() == 1
    await books.settled_count(3)
    assert at_rest(edge, books)


async def test_a_stream_that_comes_at_once_passes_at_once(warm, books, play):
    raw = b"".join(play.whole_stream())

    async def whole(request):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(raw)
        request.writer.write(head + raw)

    edge = await warm([play.answer(), whole, play.stream(end="hang")])
    for settled in (2, 3):
        answer, _ = await edge.events()
        assert answer.content == raw
        assert (await books.settled_count(settled))[-1].state == "complete"
    await until(lambda: at_rest(edge, books))


async def test_a_stream_that_fails_before_its_output_goes_on_elsewhere(warm, books, play):
    overloaded = play.event("error", error={"type": "overloaded_error", "message": "busy"})
    edge = await warm([play.answer(), play.stream([play.start(), overloaded])], [play.stream()], tiers=True)
    answer, names = await edge.events()
    assert (answer.content, names.count("message_start")) == (b"".join(play.whole_stream()), 1)
    closed = (await books.settled_count(2))[1]
    assert ([attempt.account for attempt in closed.attempts], closed.delivered) == (["a", "b"], 1)
    assert at_rest(edge, books)


@pytest.mark.parametrize("how", ["cut", "error", "close"])
async def test_a_stream_that_breaks_off_after_output_ends_with_an_error(warm, books, play, how):
    pieces = [play.start(), play.block, play.text("Hel"), 0.05]
    if how == "error":
        pieces.append(play.event("error", error={"type": "api_error", "message": "boom"}))
    edge = await warm([play.answer(), play.stream(pieces, end="cut" if how == "cut" else "close")])
    _, names = await edge.events()
    assert (names[-2:], names.count("error")) == (["content_block_delta", "error"], 1)
    closed = (await books.settled_count(2))[1]
    assert (closed.state, closed.attempts[0].usage.input_tokens) == ("error_after_output", 10)
    assert at_rest(edge, books)


@pytest.mark.parametrize("why", ["draining", "client_left"])
async def test_an_interruption_ends_a_stream_in_a_task(warm, books, play, why):
    edge = await warm([play.answer(), play.stream([play.start(), play.block, play.text("Hello")], end="hang")])
    client = Reading(edge)
    exchange = await waits(edge, 2)
    await until(lambda: b"Hello" in client.seen)
    assert (exchange.task, exchange.unattended is None) == (None, False)
    if why == "draining":
        exchange.interrupt("draining")
        await client.task
        assert b"event: error" in client.seen
    else:
        client.task.cancel()
    closed = (await books.settled_count(2))[1]
    assert (closed.attempts[0].cls, closed.attempts[0].usage.input_tokens, closed.estimated) == ("ClientLeft", 10, True)
    await until(lambda: at_rest(edge, books) and edge.upstreams[0].gone == 1)


async def test_a_client_that_reads_slowly_gets_a_task_and_all_of_its_stream(warm, books, play):
    words = ["x" * 200_000] * 40
    edge = await warm([play.answer(), play.stream(play.whole_stream(words))])
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port, limit=4096)
    body = json.dumps(edge.body(stream=True)).encode()
    head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: %b\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % (play.key.encode(), len(body)) + body)
    exchange = await waits(edge, 2)
    await until(lambda: exchange.task is not None)
    assert exchange.unattended is None
    seen = 0
    async with asyncio.timeout(30):
        while piece := await reader.read(1 << 20):
            seen += piece.count(b"x")
    writer.close()
    assert seen >= 40 * 200_000
    assert (await books.settled_count(2))[1].state == "complete"
    await until(lambda: at_rest(edge, books))


async def test_pings_while_a_stream_has_no_output_and_between_its_pieces(warm, books, play):
    pieces = [play.start(), 0.25, play.block, play.text("Hel"), 0.25, play.ending(), play.stop]
    edge = await warm([play.answer(), play.stream(pieces)], pace=Pace(keepalive=0.1, wait=0.2))
    _, names = await edge.events()
    assert names[0] == "ping"
    assert "ping" in names[names.index("content_block_delta") :]
    assert [name for name in names if name != "ping"] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "message_delta",
        "message_stop",
    ]
    assert (await books.settled_count(2))[1].state == "complete"
    assert at_rest(edge, books)


async def test_a_crash_in_a_stream_is_the_requests_and_not_the_connections(warm, books, play, crashing):
    pieces = [play.start(), play.block, play.text("a"), 0.05, play.text("crash")]
    edge = await warm([play.answer(), play.stream(pieces, end="hang"), play.answer()])
    answer, names = await edge.events()
    assert (names[-1], b"bug" in answer.content) == ("error", False)
    assert (await books.settled_count(2))[1].state == "error_after_output"
    assert at_rest(edge, books)


async def test_an_interruption_just_after_a_task_took_over_ends_the_attempt(warm, books, play, monkeypatch):
    """Also where auth was asked, and the task looks once more for a client that has left."""
    handed = Unattended._hand_over

    def then_left(self):
        handed(self)
        asyncio.get_running_loop().call_soon(self._exchange.client_left)

    books.asks_auth = True
    edge = await warm([play.answer(), play.stream([play.start(), play.block, play.text("a")], end="cut")])
    monkeypatch.setattr(Unattended, "_hand_over", then_left)
    await edge.events()
    closed = (await books.settled_count(2))[1]
    assert [attempt.usage.input_tokens for attempt in closed.attempts] == [10]
    await until(lambda: at_rest(edge, books))


async def test_a_crash_ends_the_upstreams_answer_and_counts_what_had_come(warm, books, play, crashing):
    pieces = [play.start(), play.block, play.text("a" * 4000), 0.05, play.text("crash")]
    edge = await warm([play.answer(), play.stream(pieces, end="hang")])
    await edge.events()
    closed = (await books.settled_count(2))[1]
    assert (closed.state, closed.estimated) == ("error_after_output", True)
    assert closed.attempts[0].usage.output_tokens > 500
    await until(lambda: edge.upstreams[0].gone == 1)


async def test_a_stream_that_begins_as_its_client_is_seen_to_leave_counts(warm, books, play):
    edge = await warm([play.answer(), play.stream([play.start() + play.block], delay=0.2, end="hang")])
    client = Reading(edge)
    exchange = await waits(edge, 2)
    call = exchange.current.call

    def left_first():
        if call.leftover():
            call.then(None)
            exchange.interrupt("client_left")

    call.then(left_first)
    closed = (await books.settled_count(2))[1]
    assert (closed.state, closed.attempts[0].usage.input_tokens) == ("client_left", 10)
    client.task.cancel()


async def test_a_drain_just_after_the_end_went_out_changes_nothing(gateway, books, play, monkeypatch):
    """A task that slept through it is cancelled before it wakes."""
    honest = Reply.try_end

    def then_drained(self, data):
        sent = honest(self, data)
        asyncio.get_running_loop().call_soon(exchange.interrupt, "draining")
        return sent

    pieces = play.whole_stream()
    edge = await gateway([play.stream([*pieces[:-1], 0.2, pieces[-1]], end="hang")])
    client = Reading(edge)
    exchange = await waits(edge, 1)
    monkeypatch.setattr(Reply, "try_end", then_drained)
    await client.task
    [closed] = await books.settled_count(1)
    assert exchange.interrupted == "draining"
    assert (closed.state, closed.attempts[0].cls, closed.estimated) == ("complete", "Ok", False)
    await until(lambda: at_rest(edge, books) and edge.client.open_connections() == 0)


@pytest.mark.parametrize("cold", [False, True])
async def test_a_connection_that_was_held_up_is_read_again_after_a_stream_that_ended_in_one_piece(
    warm, books, play, cold
):
    raw = b"".join(play.whole_stream(["x" * 150_000]))

    async def whole(request):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(raw)
        request.writer.write(head)
        await asyncio.sleep(0.05)
        request.writer.write(raw)

    edge = await warm([play.answer(), whole, whole, whole, play.answer()])
    if cold:
        for pool in edge.client._pools.values():
            pool.give_up_oldest()
    for _ in range(3):
        answer, _ = await edge.events()
        assert answer.content == raw
    assert (await edge.post()).status_code == 200
    assert [len(closed.attempts) for closed in await books.settled_count(5)] == [1] * 5
