"""Relaying: encodings, bounds, and what is saved for the books when a client leaves."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from types import SimpleNamespace

import pytest

from penstock_edge.dialects.anthropic import DIALECT
from penstock_edge.dialects.dialect import Head
from penstock_edge.passage import NativePassage
from penstock_edge.providers.anthropic import WIRE
from penstock_edge.relay import StreamRelay
from penstock_edge.upstream import Call, ConnectionLostError, Deadlines
from penstock_edge.usage import UsageMeter


def packed_stream(play, pieces, *, encoding="gzip", whole=True):
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)

    async def script(request):
        w = request.writer
        w.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: %s\r\n"
            b"transfer-encoding: chunked\r\n\r\n" % encoding.encode()
        )
        for piece in pieces:
            data = packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
            w.write(b"%x\r\n%s\r\n" % (len(data), data))
            await w.drain()
            await asyncio.sleep(0.001)
        if whole:
            w.write(b"0\r\n\r\n")
        return whole

    return script


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_stream_is_decoded_and_counted(gateway, books, play, encoding):
    edge = await gateway([packed_stream(play, play.whole_stream(), encoding=encoding)])
    answer, _ = await edge.events()
    assert answer.content == b"".join(play.whole_stream())
    assert "content-encoding" not in answer.headers
    [closed] = await books.settled_count(1)
    assert closed.attempts[0].usage.output_tokens == 5


async def test_a_compressed_answer_is_decoded_and_counted(gateway, books, play):
    body = gzip.compress(json.dumps({"type": "message", "usage": {"input_tokens": 3, "output_tokens": 4}}).encode())
    edge = await gateway([play.answer(body=body, headers={"content-encoding": "gzip"})])
    answer = await edge.post()
    assert answer.json()["usage"]["output_tokens"] == 4
    [closed] = await books.settled_count(1)
    assert closed.attempts[0].usage.output_tokens == 4


@pytest.mark.parametrize(
    "body", [b"not gzip", gzip.compress(b'{"type":"message"}')[:-9]], ids=["damaged", "broken off"]
)
async def test_a_damaged_compressed_answer_is_absorbed(gateway, play, body):
    edge = await gateway([play.answer(body=body, headers={"content-encoding": "gzip"})], [play.answer()], tiers=True)
    assert (await edge.post()).json()["type"] == "message"


@pytest.mark.parametrize("encoding", ["br", "gzip"])
async def test_a_stream_that_cannot_be_decoded_is_absorbed(gateway, play, encoding):
    async def script(request):
        w = request.writer
        w.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: %s\r\n" % encoding.encode())
        w.write(b"content-length: 6\r\n\r\nabcdef")
        await w.drain()

    edge = await gateway([script], [play.stream()], tiers=True)
    _, names = await edge.events()
    assert names[-1] == "message_stop"


async def test_an_answer_beyond_the_bound_is_absorbed(gateway, play, monkeypatch):
    monkeypatch.setattr("penstock_edge.relay.MOST_ANSWER_BYTES", 1000)
    big = {"type": "message", "content": "x" * 5000, "usage": {}}
    edge = await gateway([play.answer(body=big)], [play.answer()], tiers=True)
    assert (await edge.post()).json()["content"][0]["text"] == "Hello"


async def test_an_event_beyond_the_bound_is_absorbed(gateway, play, monkeypatch):
    monkeypatch.setattr("penstock_edge.sse.EventSplitter.__init__.__defaults__", (1000,))
    edge = await gateway([play.stream([play.start(), b"data: " + b"x" * 5000])], [play.stream()], tiers=True)
    answer, _ = await edge.events()
    assert answer.content == b"".join(play.whole_stream())


async def test_endless_pings_before_output_do_not_fill_memory(gateway, play, monkeypatch):
    monkeypatch.setattr("penstock_edge.relay._MOST_HELD_BYTES", 2000)
    ping = play.event("ping")
    edge = await gateway([play.stream([play.start(), *[ping] * 500, *play.whole_stream()[1:]])])
    _answer, names = await edge.events()
    assert names.count("ping") < 100
    assert names[0] == "message_start"
    assert names[-1] == "message_stop"


async def test_an_opening_that_repeats_a_long_request_arrives_whole(gateway, play):
    """OpenAI's first two events hold all instructions and tools."""
    response = {"id": "resp_1", "instructions": "x" * 1_500_000}
    kinds = ["response.created", "response.in_progress", "response.output_item.added", "response.completed"]
    events = [play.event(kind, response=response if index < 2 else {}) for index, kind in enumerate(kinds)]
    models = [play.model("gpt-5-codex", aliases=(), owned_by="openai")]
    edge = await gateway([play.stream(events)], models=models, providers=["OpenAI"])
    answer = await edge.http.post("/v1/responses", json={"model": "gpt-5-codex", "input": "hi"})
    assert answer.content == b"".join(events)


async def test_bytes_split_anywhere_arrive_as_they_were(gateway, books, play):
    words = ["é\u2028\u0085", "\U0001f600", "x" * 500]
    raw = b"".join(play.whole_stream(words, 9)).decode().encode()
    drip = [raw[i : i + 7] for i in range(0, len(raw), 7)]
    edge = await gateway([play.stream(drip)])
    answer, _ = await edge.events()
    assert answer.content == raw
    [closed] = await books.settled_count(1)
    assert closed.attempts[0].usage.output_tokens == 9


async def test_max_tokens_zero_has_no_content_and_is_complete(gateway, books, play):
    edge = await gateway([play.stream([play.start(), play.ending(0), play.stop])])
    _answer, names = await edge.events()
    assert names == ["message_start", "message_delta", "message_stop"]
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.attempts[0].usage.output_tokens) == ("complete", 0)


async def test_a_stream_ends_for_the_client_when_it_ends_even_if_the_upstream_lingers(gateway, books, play):
    edge = await gateway([play.stream(end="hang")])
    async with asyncio.timeout(1.0):
        _, names = await edge.events()
    assert names[-1] == "message_stop"
    [closed] = await books.settled_count(1)
    assert closed.state == "complete"


async def test_json_for_a_stream_is_passed_on_as_it_is(gateway, books, play):
    edge = await gateway([play.answer()])
    answer = await edge.post(stream=True)
    assert answer.json()["type"] == "message"
    [closed] = await books.settled_count(1)
    assert closed.state == "complete"


async def test_what_a_leaving_client_did_not_get_still_counts_for_the_books(gateway, books, play):
    """The upstream's last report has come, but the client has not read: usage is exact, not estimated."""
    big = play.text("x" * 3_000_000)
    edge = await gateway([play.stream([play.start(7), play.block, big, big, play.ending(1234), play.stop])])
    _reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port, limit=1024)
    body = json.dumps(edge.body(stream=True)).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {play.key}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await asyncio.sleep(0.5)
    writer.transport.abort()
    [closed] = await books.settled_count(1)
    assert closed.state in {"client_left", "complete"}
    assert closed.attempts[0].usage.input_tokens == 7
    assert (books.holds, books.slots) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("authentication_error", "api_error"),
        ("billing_error", "api_error"),
        ("permission_error", "api_error"),
        ("rate_limit_error", "rate_limit_error"),
        ("invalid_request_error", "invalid_request_error"),
        ("overloaded_error", "overloaded_error"),
    ],
)
async def test_an_error_of_our_account_in_the_midst_of_an_answer_is_not_told_in_its_words(gateway, play, kind, told):
    words = "organization org-1 has no credit"
    error = play.event("error", error={"type": kind, "message": words})
    edge = await gateway([play.stream([play.start(), play.block, play.text("Hel"), error])])
    answer, names = await edge.events()
    assert names == ["message_start", "content_block_start", "content_block_delta", "error"]
    shown = json.loads(answer.text.rstrip().rsplit("data: ", 1)[1])["error"]
    assert shown["type"] == told
    assert (words in answer.text) is (kind in {"invalid_request_error", "overloaded_error"})


async def test_nor_is_it_in_other_formats(gateway, play):
    error = {"code": "insufficient_quota", "message": "organization org-1 has no quota", "param": None}
    pieces = [
        play.event("response.output_text.delta", sequence_number=0, delta="Hel"),
        play.event("error", sequence_number=1, **error),
    ]
    models = [play.model("gpt-5-codex", aliases=(), owned_by="openai")]
    edge = await gateway([play.stream(pieces)], models=models, providers=["OpenAI"])
    answer = await edge.http.post("/v1/responses", json={"model": "gpt-5-codex", "input": "hi"})
    assert "Hel" in answer.text
    assert "org-1" not in answer.text
    assert "event: response.failed" in answer.text
    assert '"code":"server_error"' in answer.text


async def test_a_crash_while_a_piece_is_passed_on_is_the_requests_and_not_the_connections(
    gateway, books, play, crashing
):
    pieces = [play.start(), play.block, play.text("a"), 0.05, play.text("b"), 0.05, play.text("crash")]
    edge = await gateway([play.stream(pieces, end="hang")])
    answer, names = await edge.events()
    assert names[-1] == "error"
    assert b'"b"' in answer.content
    assert b"bug" not in answer.content
    [closed] = await books.settled_count(1)
    assert closed.state == "error_after_output"
    assert (books.holds, books.slots) == (0, 0)


class Reply:
    """A client that has room, or has not."""

    started = True

    def __init__(self):
        self.room = True
        self.sent = []

    def try_piece(self, data):
        if self.room:
            self.sent.append(data)
        return self.room

    async def piece(self, data):
        while not self.try_piece(data):
            await asyncio.sleep(0)

    def try_end(self, data):
        return self.try_piece(data)

    async def end(self, data=b""):
        await self.piece(data)


@pytest.fixture
async def relaying(play):
    """A stream whose output has begun: its call, its client, and the task that relays."""
    call = Call(asyncio.get_running_loop(), None, Deadlines(1, 1, 1, 1, streamed=True))
    passage = NativePassage(DIALECT, WIRE, Head("m", True, 1, "", ()), b"", "r", counting=False)
    attempt = SimpleNamespace(passage=passage, meter=UsageMeter(), index=0, characters=0, failure=None)
    exchange = SimpleNamespace(reply=Reply(), output_committed=True, delivered=0, follower=None, error_forwarded=False)
    relay = StreamRelay(exchange, attempt, call, list, lambda: None)
    task = asyncio.create_task(relay.run())
    await asyncio.sleep(0)
    return SimpleNamespace(call=call, reply=exchange.reply, task=task, attempt=attempt)


async def test_output_goes_on_in_the_call_that_brings_it(relaying, play):
    call, reply = relaying.call, relaying.reply
    for number in range(3):
        call.take(play.text(f"{number}"))
        call.wake()
        assert len(reply.sent) == number + 1
    call.take(play.ending() + play.event("message_stop"))
    call.finish()
    await relaying.task
    assert (relaying.attempt.cls, relaying.attempt.characters) == ("Ok", 3)
    assert b"message_stop" in b"".join(reply.sent)


async def test_what_a_slow_client_cannot_take_at_once_goes_out_in_order(relaying, play):
    call, reply = relaying.call, relaying.reply
    reply.room = False
    texts = [play.text(f"{number}") for number in range(5)]
    for text in texts:
        call.take(text)
        call.wake()
    assert reply.sent == []
    await asyncio.sleep(0.01)
    reply.room = True
    call.take(play.ending() + play.event("message_stop"))
    call.finish()
    await relaying.task
    assert b"".join(reply.sent) == b"".join(texts) + play.ending() + play.event("message_stop")


async def test_half_an_event_waits_for_the_other_half(relaying, play):
    call, reply = relaying.call, relaying.reply
    text = play.text("hello")
    for half in (text[:20], text[20:]):
        call.take(half)
        call.wake()
    assert reply.sent == [text]
    call.fail(ConnectionLostError(stale=False))
    with pytest.raises(ConnectionLostError):
        await relaying.task
    assert relaying.attempt.characters == 5
