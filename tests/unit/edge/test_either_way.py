"""The same stream through a task (no idle connection) and without one: the same bytes, and the same row in the books."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
import zlib
from dataclasses import replace
from itertools import pairwise

import pytest

from penstock_edge.dispatch import Pace
from penstock_edge.estimates import Estimates
from penstock_edge.reply import Reply
from penstock_edge.unattended import Unattended
from penstock_edge.upstream import Call
from penstock_routing import Policy, RetryBudget
from penstock_routing.policy import EFFECTS, Scope

SEEDS = range(8)
NAME = "claude-sonnet-4-6"
CHAT = {"model": NAME, "messages": [{"role": "user", "content": "Hi"}], "stream": True}


def chat(delta=None, finish=None, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def gemini(words="", **more):
    candidate = {"content": {"role": "model", "parts": [{"text": words}]}, "index": 0, **more.pop("candidate", {})}
    return b"data: " + json.dumps({"candidates": [candidate], "modelVersion": "m", **more}).encode() + b"\r\n\r\n"


def messages(play, words):
    return play.whole_stream(words)


def completions(play, words):
    usage = chat(usage={"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
    said = [chat({"content": each}) for each in words]
    return [chat({"role": "assistant", "content": ""}), *said, chat({}, "stop"), usage, b"data: [DONE]\n\n"]


def responses(play, words):
    answer = {"id": "resp_1", "object": "response", "output": [], "status": "in_progress"}
    used = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    said = [play.event("response.output_text.delta", sequence_number=n, delta=w, **where) for n, w in enumerate(words)]
    done = answer | {"status": "completed", "usage": used}
    return [
        play.event("response.created", sequence_number=0, response=answer),
        *said,
        play.event("response.completed", sequence_number=9, response=done),
    ]


def contents(play, words):
    figures = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    said = [gemini(each, usageMetadata=figures) for each in words]
    return [*said, gemini("", candidate={"finishReason": "STOP"}, usageMetadata=figures)]


ASKED = {
    "messages": ("/v1/messages", CHAT | {"max_tokens": 100}),
    "chat": ("/v1/chat/completions", CHAT),
    "chat with usage": ("/v1/chat/completions", CHAT | {"stream_options": {"include_usage": True}}),
    "responses": ("/v1/responses", {"model": NAME, "input": "Hi", "stream": True}),
    "gemini": (
        f"/v1beta/models/{NAME}:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    ),
    "gemini list": (
        f"/v1beta/models/{NAME}:streamGenerateContent",
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    ),
}
SPOKEN = {
    "Anthropic": {name: messages for name in ASKED},
    "OpenAICompatible": {name: completions for name in ASKED},
    "OpenAI": {name: completions for name in ASKED} | {"responses": responses},
    "Gemini": {name: contents for name in ASKED},
}


def events(play, rng, provider, dialect):
    """Return what an upstream says, well or not, as pieces of bytes that know no events."""
    words = ["".join(rng.choices("ab ü\u2028", k=rng.choice([1, 20, 60_000]))) for _ in range(rng.randrange(1, 9))]
    said = SPOKEN[provider][dialect](play, words)
    fault = rng.choice(["", "", "", "", "error", "error at once", "short", "no event", "more"])
    if fault.startswith("error"):
        at = rng.randrange(len(said)) if fault == "error" else 0
        error = {"type": "api_error", "message": "boom", "code": "server_error", "status": "INTERNAL"}
        said[at:] = [play.event("error", error=error), *said[at:]]
    elif fault == "short":
        del said[rng.randrange(len(said)) :]
    elif fault == "no event":
        said.insert(rng.randrange(len(said)), b"data: {no json\n\n")
    elif fault == "more":
        said += [b": more\n\n", said[0]]
    return said


def cut_up(said, rng):
    """Return the same bytes as other pieces: whole events, many at once, or parts of some."""
    how = rng.choice(["events", "all", "parts"])
    if how == "events":
        return said
    raw = b"".join(said)
    if how == "all":
        return [raw]
    cuts = sorted({0, len(raw), *(rng.randrange(len(raw) + 1) for _ in range(10))})
    return [raw[a:b] for a, b in pairwise(cuts)]


def script(play, rng, provider, dialect):
    """Return one upstream's behaviour, drawn once: it does the same whenever it is played."""
    pieces = cut_up(events(play, rng, provider, dialect), rng)
    pauses = [rng.choice([0, 0, 0.002]) for _ in pieces]
    coded, ends = rng.random() < 0.25, rng.choice(["close", "close", "close", "cut", "linger"])
    framed = ends != "close" or rng.random() < 0.8
    damaged = coded and rng.random() < 0.2

    async def serve(request):
        w, packer = request.writer, zlib.compressobj(wbits=31)
        w.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        w.write(b"content-encoding: gzip\r\n" if coded else b"")
        w.write(b"transfer-encoding: chunked\r\n\r\n" if framed else b"connection: close\r\n\r\n")
        for number, (piece, pause) in enumerate(zip(pieces, pauses, strict=True)):
            data = packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) if coded else piece
            data = b"\xff" * 9 if damaged and number == len(pieces) // 2 else data
            w.write(b"%x\r\n%b\r\n" % (len(data), data) if framed and data else data)
            await w.drain()
            await asyncio.sleep(pause)
        if ends == "linger":
            await asyncio.sleep(0.02)
        if ends != "cut" and framed:
            w.write(b"0\r\n\r\n")
        if ends == "cut" or not framed:
            w.close()
            await w.wait_closed()
            return False
        return True

    return serve


async def answer(edge, play, path, body, rng, *, slow):
    """Return what a client gets that reads fast or not, with all that differs by request made the same."""
    raw = json.dumps(body).encode()
    head = "POST {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: {}\r\ncontent-length: {}\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096 if slow else 1_000_000)
        client.connect(("127.0.0.1", edge.server.port))
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, head.format(path, play.key, len(raw)).encode() + raw)
        seen = []
        while piece := await loop.sock_recv(client, 65536):
            seen.append(piece)
            if slow and rng.random() < 0.05:
                await asyncio.sleep(0.003)
    status, said = unframed(b"".join(seen))
    for pattern in (rb"req_\w+", rb'"created(_at)?": ?\d+', rb'"(id|item_id|responseId)": ?"[^"]*"'):
        said = re.sub(pattern, b"*", said)
    return status, said


def unframed(raw):
    """Return the status line and the body of an answer, which has to be whole."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return head.partition(b"\r\n")[0], rest
    said = []
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        said.append(rest[:length])
        assert rest[length : length + 2] == b"\r\n"
        rest = rest[length + 2 :]
        if not length:
            assert rest == b""
            return head.partition(b"\r\n")[0], b"".join(said)


def row(closed):
    """Return of a row what does not hang on time."""
    tried = [(a.account, a.cls, a.status, vars_of(a.usage), a.reported, a.estimated) for a in closed.attempts]
    return closed.state, closed.estimated, closed.delivered, closed.client_status, tried


def vars_of(usage):
    return {name: getattr(usage, name) for name in ("input_tokens", "output_tokens", "cache_read_input_tokens")}


async def cool(edge):
    """Let no connection be there: the next request begins in a task."""
    pools = edge.client._pools.values()
    async with asyncio.timeout(10):
        # The one of the stream before may linger.
        while sum(len(pool.idle) for pool in pools) < edge.client.open_connections():
            await asyncio.sleep(0.002)
    for pool in pools:
        while pool.idle:
            pool.give_up_oldest()


def healthy():
    """Return a policy by which no failure keeps an account from the next request."""
    effects = {cls: replace(effect, scope=Scope.NONE) for cls, effect in EFFECTS.items()}
    return Policy(effects=effects, demote_failures=1_000_000)


@pytest.mark.parametrize("provider", SPOKEN)
async def test_the_client_and_the_books_see_no_difference(gateway, books, play, monkeypatch, provider):
    # What is learned of one stream would change what is estimated of the other.
    monkeypatch.setattr(Estimates, "learn", lambda *_, **__: None)
    monkeypatch.setattr(RetryBudget, "try_retry", lambda *_: True)
    honest, unattended = Unattended.wait, []
    monkeypatch.setattr(Unattended, "wait", lambda self: (unattended.append(self), honest(self)))
    books.key = play.key_facts(messages_translation="Allow")
    edge = await gateway([], [], providers=[provider, "Anthropic"], tiers=True, policy=healthy())
    refusal = play.failure(400, "invalid_request_error")
    for seed in SEEDS:
        rng = random.Random(f"{provider} {seed}")
        dialect = rng.choice(sorted(ASKED))
        serve, slow = script(play, rng, provider, dialect), rng.random() < 0.3
        edge.upstreams[1].scripts = [rng.choice([play.failure(500), play.stream()])]
        found = []
        for warm in (False, True):
            edge.upstreams[0].scripts = [refusal, serve]
            assert (await edge.post()).status_code == 400
            if not warm:
                await cool(edge)
            unattended.clear()
            told = await answer(edge, play, *ASKED[dialect], rng, slow=slow)
            async with asyncio.timeout(10):
                while edge.dispatcher.active:
                    await asyncio.sleep(0.002)
            assert len(unattended) == warm
            found.append((told, row(books.finished[-1])))
            assert (books.holds, books.slots, edge.pool.in_flight("a"), edge.pool.in_flight("b")) == (0, 0, 0, 0)
        assert found[0] == found[1], (seed, dialect)


@pytest.mark.parametrize("asks_auth", [False, True])
async def test_interruptions_at_any_moment_leave_one_whole_row_and_nothing_held(
    gateway, books, play, monkeypatch, asks_auth
):
    rng, loop, seen = random.Random(asks_auth), asyncio.get_running_loop(), set()
    books.key, books.asks_auth = play.key_facts(messages_translation="Allow"), asks_auth
    pace = Pace(keepalive=0.005, wait=0.2)
    edge = await gateway([], [], providers=["Anthropic"] * 2, tiers=True, policy=healthy(), pace=pace)

    def interrupt(where):
        for exchange in list(edge.dispatcher.active):
            if exchange.asked.stream and rng.random() < 0.1:
                seen.add(where)
                why = rng.choice(["client_left", "draining"])
                rng.choice([loop.call_soon, lambda *told: loop.call_soon(loop.call_soon, *told)])(
                    exchange.interrupt, why
                )

    def watch(owner, name):
        honest = getattr(owner, name)

        def watched(self, *told):
            result = honest(self, *told)
            interrupt(name)
            return result

        monkeypatch.setattr(owner, name, watched)

    watch(Reply, "try_end")
    watch(Reply, "try_piece")
    watch(Reply, "ping")
    watch(Unattended, "_hand_over")
    watch(Call, "take")
    for _ in range(30):
        dialect, slow = rng.choice(["messages", "chat"]), rng.random() < 0.3
        edge.upstreams[0].scripts = [play.answer(), script(play, rng, "Anthropic", dialect)]
        edge.upstreams[1].scripts = [rng.choice([play.failure(500), play.stream()])]
        assert (await edge.post()).status_code == 200
        # A client that is said to have left, and has not, may get half of a chunk.
        with contextlib.suppress(ConnectionError, ValueError, AssertionError):
            await asyncio.wait_for(answer(edge, play, *ASKED[dialect], rng, slow=slow), 10)
        async with asyncio.timeout(10):
            while edge.dispatcher.active or edge.server.server_state.tasks:
                await asyncio.sleep(0.002)
        assert (books.holds, books.slots, edge.pool.in_flight("a"), edge.pool.in_flight("b")) == (0, 0, 0, 0)
        await cool(edge)
    assert len(seen) >= 3
    assert sorted(books.opened_records) == sorted(closed.request_id for closed in books.finished)
    assert all(closed.attempts for closed in books.finished)
