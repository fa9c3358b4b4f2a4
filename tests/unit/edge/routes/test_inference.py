"""The hot endpoints from outside: keys, bodies, refusals, and what a connection survives."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from penstock_edge.protocol import EdgeProtocol
from penstock_edge.records import Refused


async def raw(edge, request, *, until_closed=True, seconds=5.0):
    """Send bytes, return everything that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port)
    writer.write(request)
    await writer.drain()
    try:
        async with asyncio.timeout(seconds):
            return await (reader.read() if until_closed else reader.readuntil(b"\r\n\r\n"))
    finally:
        writer.close()


def headers_of(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return lines[0], {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}, body


@pytest.mark.parametrize("headers", [{"x-api-key": "KEY"}, {"authorization": "Bearer KEY"}, {"x-goog-api-key": "KEY"}])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_the_key_may_stand_in_any_of_three_headers(gateway, play, headers, path):
    edge = await gateway([play.answer(body={"type": "message", "input_tokens": 1})])
    given = {name: value.replace("KEY", play.key) for name, value in headers.items()}
    async with httpx.AsyncClient() as http:
        answer = await http.post(edge.url + path, json=edge.body(), headers=given)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "asked"),
    [({}, False), ({"x-api-key": "sk-ant-wrong"}, False), ({"x-api-key": "OTHER"}, True)],
)
@pytest.mark.parametrize("body", [b"", b"nonsense", b'{"model":"no-such"}', None])
async def test_without_a_good_key_the_answer_is_401_whatever_else_is_wrong(gateway, play, headers, asked, body):
    edge = await gateway([play.answer()])
    given = {name: value.replace("OTHER", play.other_key) for name, value in headers.items()}
    content = json.dumps(edge.body()).encode() if body is None else body
    async with httpx.AsyncClient() as http:
        for _ in range(2):
            answer = await http.post(edge.url + "/v1/messages", content=content, headers=given)
            assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
            assert answer.headers["x-should-retry"] == "false"
            assert answer.headers["request-id"] == answer.json()["request_id"]
            assert play.other_key not in answer.text
    assert edge.upstreams[0].requests == []


async def test_a_refused_request_keeps_the_connection(gateway, play):
    edge = await gateway([play.answer()])
    body = json.dumps(edge.body()).encode()
    bad = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    good = (
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        % (play.key.encode(), len(body))
        + body
    )
    answer = await raw(edge, bad + good)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"HTTP/1.1 200 OK" in answer


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the request body is not valid JSON"),
        (b"{", 400, "the request body is not valid JSON"),
        (b'{"max_tokens":5,"messages":[]}', 400, "model: field required"),
        (b'{"model":"claude-none","max_tokens":5,"messages":[]}', 404, "model: claude-none"),
    ],
)
async def test_bad_bodies(gateway, books, play, body, status, message):
    edge = await gateway([play.answer()])
    answer = await edge.http.post("/v1/messages", content=body)
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, message)
    assert (books.holds, books.slots, books.opened_records) == (0, 0, {})


async def test_a_model_outside_the_plan_is_forbidden(gateway, books, play):
    books.key = play.key_facts(models=("claude-haiku-*",))
    edge = await gateway([play.answer()])
    answer = await edge.post()
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    books.key = play.key_facts(models=("claude-haiku-*", "anthropic/*"))
    assert (await edge.post()).status_code == 200


async def test_a_refusal_shows_the_limits(gateway, books, play):
    books.refusal = Refused("REQUESTS", "per-minute", 100, "Requests", 1000, _source=Limits())
    edge = await gateway([play.answer()])
    answer = await edge.post()
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0"


class Limits:
    def limit_states(self):
        from penstock_edge.limits import LimitState

        return [LimitState("per-minute", "Requests", 100, 0, 1000, 60_000, "Key")]


async def test_a_model_that_the_plan_has_gained_is_served_though_what_was_known_is_older(
    gateway, books, play, monkeypatch
):
    edge = await gateway([play.answer()])
    monkeypatch.setattr(books, "known", lambda digest: play.key_facts(models=("claude-opus-*",)))
    assert (await edge.post()).status_code == 200


async def test_a_model_that_the_plan_has_lost_is_refused_though_what_was_known_is_older(
    gateway, books, play, monkeypatch
):
    edge = await gateway([play.answer()])
    monkeypatch.setattr(books, "known", lambda digest: play.key_facts())
    books.key = play.key_facts(models=("claude-opus-*",))
    answer = await edge.post()
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    assert (books.holds, books.slots) == (0, 0)
    assert edge.upstreams[0].requests == []


async def test_strict_plans_hold_all_that_may_come(gateway, books, play):
    edge = await gateway([play.answer()])
    books.key = play.key_facts(over_budget="Strict", price_multiplier_ppm=2_000_000)
    await edge.post(max_tokens=50_000)
    assert books.needs[0].output_tokens == 50_000
    assert books.needs[0].micro_usd >= 2 * 50_000 * 15


# Sizes


async def test_an_announced_body_that_is_too_large_is_answered_before_it_is_sent(gateway, play):
    edge = await gateway([play.answer()], max_body_bytes=100_000)
    request = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\ncontent-length: 40000000\r\n\r\n"
    answer = await raw(edge, request % play.key.encode(), until_closed=False)
    status, headers, _ = headers_of(answer)
    assert status == "HTTP/1.1 413 Request Entity Too Large" or status.startswith("HTTP/1.1 413 ")
    assert headers["connection"] == "close"


async def test_a_client_that_waits_for_continue_sends_nothing_too_large(gateway, play):
    edge = await gateway([play.answer()], max_body_bytes=100_000)
    request = (
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\n"
        b"content-length: 40000000\r\nexpect: 100-continue\r\n\r\n"
    )
    answer = await raw(edge, request % play.key.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_gets_its_413_and_no_reset(gateway, play, chunked):
    edge = await gateway([play.answer()], max_body_bytes=2_000_000)

    async def pieces():
        for _ in range(80):
            yield b"x" * 100_000

    content = pieces() if chunked else b"x" * 8_000_000
    for _ in range(3):
        answer = await edge.http.post("/v1/messages", content=content)
        assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")
        content = pieces() if chunked else content
    assert edge.upstreams[0].requests == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_goes_through_unchanged(gateway, play, chunked):
    edge = await gateway([play.answer()])
    content = json.dumps(edge.body(system="x" * 20_000_000)).encode()

    async def pieces():
        for begin in range(0, len(content), 1_000_000):
            yield content[begin : begin + 1_000_000]

    answer = await edge.http.post("/v1/messages", content=pieces() if chunked else content)
    assert answer.status_code == 200
    assert edge.upstreams[0].requests[0].body == content


async def test_a_compressed_body_is_refused(gateway, play):
    edge = await gateway([play.answer()])
    answer = await edge.http.post("/v1/messages", content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


async def test_large_headers_are_refused(gateway, play):
    edge = await gateway([play.answer()])
    answer = await raw(edge, b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 300_000)
    status, headers, body = headers_of(answer)
    assert status.startswith("HTTP/1.1 431 ")
    assert len(body) == int(headers["content-length"])
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


async def test_who_still_sends_hears_the_refusal_too(gateway, play):
    edge = await gateway([play.answer()])
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port)
    writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 300_000)
    await writer.drain()
    for _ in range(5):
        await asyncio.sleep(0.02)
        writer.write(b"a" * 300_000)
        await writer.drain()
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 431 ")
    writer.close()


async def test_headers_as_large_as_real_clients_send_pass(gateway, play):
    edge = await gateway([play.answer()])
    answer = await edge.post(headers={"x-codex-turn-metadata": "a" * 30_000})
    assert answer.status_code == 200


async def test_a_head_that_does_not_come_ends_the_connection(gateway, play, monkeypatch):
    monkeypatch.setattr("penstock_edge.client_timers.HEAD_SECONDS", 0.1)
    edge = await gateway([play.answer()])
    assert await raw(edge, b"") == b""
    assert await raw(edge, b"POST /v1/mess") == b""
    body = json.dumps(edge.body()).encode()
    good = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\ncontent-length: %d\r\n\r\n"
    whole = good % (play.key.encode(), len(body)) + body
    answer = await raw(edge, whole + b"POST /v1/mess")
    assert answer.startswith(b"HTTP/1.1 200 ")
    # A kept connection between two requests owes no head.
    assert (await edge.post()).status_code == 200
    await asyncio.sleep(0.3)
    connections = len(edge.server.server_state.connections)
    assert connections == 1
    assert (await edge.post()).status_code == 200


async def test_pipelined_requests_are_answered_in_order(gateway, books, play):
    edge = await gateway([play.answer(delay=0.05)])
    body = json.dumps(edge.body()).encode()
    one = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\n%scontent-length: %d\r\n\r\n"
    first = one % (play.key.encode(), b"", len(body)) + body
    last = one % (play.key.encode(), b"connection: close\r\n", len(body)) + body
    answer = await raw(edge, first + first + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert [c.state for c in books.finished] == ["complete"] * 3


async def test_a_client_that_leaves_ends_pipelined_requests_too(gateway, books, play):
    edge = await gateway([play.hang])
    body = json.dumps(edge.body()).encode()
    one = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\ncontent-length: %d\r\n\r\n"
    whole = one % (play.key.encode(), len(body)) + body
    with pytest.raises(TimeoutError):
        await raw(edge, whole + whole, seconds=0.2)
    await books.settled_count(1)
    await asyncio.sleep(0.1)
    assert (books.holds, books.slots) == (0, 0)


async def test_a_plain_asgi_server_serves_as_well(gateway, books, play):
    # Without the edge's own protocol a watcher of receive() tells that the client has left.
    edge = await gateway([play.answer(), play.hang], http="httptools")
    assert (await edge.post()).status_code == 200
    request = asyncio.create_task(edge.post(stream=True))
    await asyncio.sleep(0.2)
    request.cancel()
    closed = (await books.settled_count(2))[1]
    assert closed.state == "client_left"
    await asyncio.sleep(0.05)
    assert edge.upstreams[0].gone == 1


@pytest.mark.parametrize("http", [EdgeProtocol, "httptools"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_closes_its_side_has_left(gateway, books, play, http, stream):
    edge = await gateway([play.hang], http=http)
    body = json.dumps(edge.body(stream=stream)).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port)
    writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\n" % play.key.encode())
    writer.write(b"content-length: %d\r\n\r\n" % len(body) + body)
    while not edge.upstreams[0].requests:
        await asyncio.sleep(0.01)
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    assert [closed.state for closed in await books.settled_count(1)] == ["client_left"]
    writer.close()


@pytest.mark.parametrize("http", [EdgeProtocol, "httptools"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("more", [b"", b"te: trailers\r\n"])
async def test_what_is_not_that_plain_is_served_as_well(gateway, play, http, version, more):
    edge = await gateway([play.answer()], http=http)
    body = json.dumps(edge.body()).encode()
    head = b"POST /v1/messages?beta=true HTTP/%s\r\nhost: x\r\nx-api-key: %s\r\n%scontent-length: %d\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port)
    writer.write(head % (version, play.key.encode(), more, len(body)) + body)
    answer = await asyncio.wait_for(reader.readuntil(b"}}"), 5)
    status, headers, _ = headers_of(answer)
    assert status == "HTTP/1.1 200 OK"
    assert (headers.get("connection") == "close") == (version == b"1.0")
    writer.close()


async def test_session_headers_make_requests_meet_again(gateway, play):
    scripts = [play.answer()]
    edge = await gateway(scripts, scripts, scripts, rng=iter([i * 0.37 % 1 for i in range(10_000)]).__next__)
    for _ in range(9):
        await edge.post(headers={"x-claude-code-session-id": "session-1"})
    assert sorted(len(u.requests) for u in edge.upstreams) == [0, 0, 9]
    for number in range(30):
        await edge.post(metadata={"user_id": f"user-{number}"})
    assert all(len(u.requests) > 2 for u in edge.upstreams)


async def test_the_answers_to_a_burst_come_in_one_packet_each(gateway, play):
    edge = await gateway([play.answer()])
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port)
    body = json.dumps(edge.body()).encode()
    one = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\ncontent-length: %d\r\n\r\n"
    for _ in range(3):
        writer.write(one % (play.key.encode(), len(body)) + body)
        answer = await reader.read(65536)
        status, headers, rest = headers_of(answer)
        assert status == "HTTP/1.1 200 OK"
        assert len(rest) == int(headers["content-length"])
    writer.close()


async def test_a_slow_reader_slows_the_upstream_and_counts_as_gone_in_the_end(gateway, books, play):
    from penstock_edge.dispatch import Pace

    async def flood(request):
        w = request.writer
        w.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in (play.start(), play.block):
            w.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        delta = play.text("x" * 100_000)
        for number in range(2000):
            w.write(b"%x\r\n%s\r\n" % (len(delta), delta))
            await w.drain()
            flood.sent = number
        return True

    edge = await gateway([flood], pace=Pace(keepalive=0.1, stall=0.4))
    _reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port, limit=1024)
    body = json.dumps(edge.body(stream=True)).encode()
    one = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\ncontent-length: %d\r\n\r\n"
    writer.write(one % (play.key.encode(), len(body)) + body)
    [closed] = await books.settled_count(1)
    assert closed.state == "client_left"
    # Kernel buffers and two high-water marks, not 200 MB.
    assert flood.sent < 600
    writer.transport.abort()
