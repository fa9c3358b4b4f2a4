"""Spans of requests through the real plane, and who gets any."""

import asyncio

import pytest

from penstock_chassis.tracing import CURRENT, Sampling, TraceContext, Tracer
from penstock_edge.records import Refused
from penstock_edge.tracing import Tracing
from penstock_routing import Share

CALLER = TraceContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7)
ASKS = {"traceparent": CALLER.header()}
PROMPT, ANSWER = "the prompt nobody may see", "the answer nobody may see"
SECONDS = 1_000_000_000


class Kept:
    def __init__(self):
        self.spans = []

    def put(self, spans):
        self.spans += spans

    def named(self, name):
        return [span for span in self.spans if span.name == name]

    @property
    def names(self):
        return [span.name for span in self.spans]


@pytest.fixture
def kept(monkeypatch):
    # A busy machine's pauses are no waiting.
    monkeypatch.setattr("penstock_edge.tracing._WAIT_SECONDS", 0.05)
    return Kept()


def made(books, kept, ratio=1.0, *, parent_based=True, asked=1.0, clock=None):
    tracer = Tracer(Sampling(ratio, parent_based), kept)
    more = {} if clock is None else {"clock": clock}
    return Tracing(tracer, books.known, asked_per_second=asked, **more)


async def test_a_failover_is_told_step_by_step(gateway, books, kept, play):
    tracing = made(books, kept)
    edge = await gateway(
        [play.failure(529, "overloaded_error")],
        [play.answer(delay=0.02)],
        tracing=tracing,
        tiers=True,
    )
    answer = await edge.post(messages=[{"role": "user", "content": PROMPT}])
    assert answer.status_code == 200
    assert kept.names == ["POST /v1/messages", "admit", "chat claude-sonnet-4-6", "chat claude-sonnet-4-6"]
    server, admit, first, second = kept.spans
    assert {span.context.trace_id for span in kept.spans} == {server.context.trace_id}
    assert len({span.context.span_id for span in kept.spans}) == 4
    assert server.parent_id == 0
    assert {span.parent_id for span in (admit, first, second)} == {server.context.span_id}
    assert server.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/messages",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "claude-sonnet-4-6",
        "gen_ai.request.stream": False,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "penstock.request_id": answer.headers["request-id"],
        "penstock.dialect": "anthropic",
        "penstock.attempts": 2,
        "penstock.project": "demo",
        "penstock.key.id": "key-1",
        "penstock.plan": "team",
        "penstock.delivery.state": "complete",
        "penstock.usage.estimated": False,
    }
    assert (first.attributes["penstock.account"], second.attributes["penstock.account"]) == ("a", "b")
    assert (first.attributes["penstock.class"], second.attributes["penstock.class"]) == ("Overloaded", "Ok")
    assert (first.attributes["http.response.status_code"], first.error) == (529, "Overloaded")
    assert (second.attributes["server.address"], second.attributes["server.port"]) == (
        "127.0.0.1",
        edge.upstreams[1].port,
    )
    assert (server.kind, first.kind, admit.kind) == ("server", "client", "internal")
    assert (server.error, second.error) == ("", "")
    assert server.start_ns <= admit.start_ns <= admit.end_ns <= first.start_ns <= first.end_ns <= second.start_ns
    assert second.end_ns <= server.end_ns
    ((name, at),) = second.events
    assert name == "first_byte"
    assert second.start_ns + 0.01 * SECONDS <= at <= second.end_ns
    assert abs(second.attributes["gen_ai.response.time_to_first_chunk"] - (at - second.start_ns) / SECONDS) < 1e-6


async def test_the_settlement_is_a_span_of_its_own_once_it_is_final(gateway, books, kept, play):
    tracing = made(books, kept)
    edge = await gateway([play.answer()], tracing=tracing)
    answer = await edge.post()
    request_id = answer.headers["request-id"]
    tracing.settled({"req_other": True})
    assert kept.named("settle") == []
    tracing.settled({request_id: True, "req_other": True})
    tracing.settled({request_id: True})
    (settle,) = kept.named("settle")
    (server,) = kept.named("POST /v1/messages")
    assert (settle.parent_id, settle.context.trace_id) == (server.context.span_id, server.context.trace_id)
    assert settle.start_ns >= server.end_ns - SECONDS // 1000
    assert settle.error == ""


async def test_a_quarantined_settlement_is_an_error(gateway, books, kept, play):
    tracing = made(books, kept)
    edge = await gateway([play.answer()], tracing=tracing)
    tracing.settled({(await edge.post()).headers["request-id"]: False})
    assert [span.error for span in kept.named("settle")] == ["quarantined"]


async def test_nothing_secret_is_in_any_span(gateway, books, kept, play):
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": ANSWER}],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    edge = await gateway([play.answer(body=body)], tracing=made(books, kept), base_path="/a-path-of-ours")
    answer = await edge.http.post(
        f"/v1/messages?key={play.key}", json=edge.body(messages=[{"role": "user", "content": PROMPT}])
    )
    assert answer.status_code == 200
    said = repr(kept.spans)
    for secret in (PROMPT, ANSWER, play.key, "sk-upstream-0", "a-path-of-ours"):
        assert secret not in said


async def test_a_geminis_path_shows_no_text_of_the_client(gateway, books, kept, play):
    edge = await gateway([play.answer()], tracing=made(books, kept))
    path = "/v1beta/models/whatever-i-say:generateContent"
    await edge.http.post(path, json={"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]})
    (server, *_) = kept.spans
    assert server.attributes["http.route"] == "/v1beta/models/{model}:generateContent"
    assert "whatever" not in repr(kept.spans)


async def test_a_refused_request_says_whose_and_how(gateway, books, kept, play):
    books.refusal = Refused("REQUESTS", reset_ms=1000, key=books.key)
    edge = await gateway([play.answer()], tracing=made(books, kept))
    assert (await edge.post()).status_code == 429
    assert kept.names == ["POST /v1/messages", "admit"]
    server = kept.spans[0]
    assert server.attributes["http.response.status_code"] == 429
    assert server.attributes["penstock.key.id"] == "key-1"
    assert "penstock.delivery.state" not in server.attributes
    assert server.error == ""
    assert CURRENT.get() is None


async def test_who_has_no_key_has_no_name(gateway, books, kept, play):
    edge = await gateway([play.answer()], tracing=made(books, kept))
    assert (await edge.post(headers={"x-api-key": play.other_key})).status_code == 401
    assert kept.spans[0].attributes["http.response.status_code"] == 401
    assert "penstock.key.id" not in kept.spans[0].attributes
    assert play.other_key not in repr(kept.spans)


async def test_a_stream_that_breaks_is_an_error_after_output(gateway, books, kept, play):
    edge = await gateway([play.stream(play.whole_stream()[:3], end="cut")], tracing=made(books, kept))
    await edge.events()
    server, _, attempt = kept.spans
    assert server.attributes["penstock.delivery.state"] == server.error == "error_after_output"
    assert attempt.error == "Unstable"


async def test_waiting_for_an_account_shows(gateway, books, kept, play):
    edge = await gateway([play.answer(delay=0.1)], tracing=made(books, kept))
    edge.pool.set_share("a", 1, Share(slots=1), asyncio.get_running_loop().time())
    first, second = await asyncio.gather(edge.post(), edge.post())
    assert (first.status_code, second.status_code) == (200, 200)
    (wait,) = kept.named("wait")
    assert wait.end_ns - wait.start_ns > 0.05 * SECONDS


async def test_asking_auth_belongs_to_the_request(gateway, books, kept, play):
    seen = []
    identify = books.identify

    async def watched(digest, deadline):
        seen.append(CURRENT.get())
        return await identify(digest, deadline)

    books.asks_auth, books.identify = True, watched
    edge = await gateway([play.answer()], tracing=made(books, kept, 0.0))
    assert (await edge.post(headers=ASKS)).status_code == 200
    (admit,) = kept.named("admit")
    assert {context.trace_id for context in seen} == {CALLER.trace_id}
    assert {context.span_id for context in seen} == {admit.context.span_id}


async def test_a_client_may_ask_now_and_then(gateway, books, kept, play):
    now = [0.0]
    edge = await gateway([play.answer()], tracing=made(books, kept, 0.0, asked=0.5, clock=lambda: now[0]))
    for _ in range(8):
        await edge.post(headers=ASKS)
    assert len(kept.named("POST /v1/messages")) == 5
    assert {(span.context.trace_id, span.parent_id) for span in kept.named("POST /v1/messages")} == {
        (CALLER.trace_id, CALLER.span_id)
    }
    now[0] = 2.0
    for _ in range(2):
        await edge.post(headers=ASKS)
    assert len(kept.named("POST /v1/messages")) == 6


@pytest.mark.parametrize("header", ["nonsense", CALLER._replace(sampled=False).header()])
async def test_others_are_left_to_the_lot(gateway, books, kept, play, header):
    edge = await gateway([play.answer()], tracing=made(books, kept, 0.0))
    assert (await edge.post(headers={"traceparent": header, "x-claude-code-session-id": "s"})).status_code == 200
    assert kept.spans == []


async def test_a_session_does_not_hide_the_clients_wish(gateway, books, kept, play):
    edge = await gateway([play.answer()], tracing=made(books, kept, 0.0))
    await edge.post(headers={"x-claude-code-session-id": "s"} | ASKS)
    assert len(kept.named("POST /v1/messages")) == 1


async def test_a_client_that_is_not_traced_is_left_alone(gateway, books, kept, play):
    edge = await gateway([play.answer()], tracing=made(books, kept))
    await edge.post(headers={"traceparent": CALLER._replace(sampled=False).header()})
    assert kept.spans == []


async def test_where_clients_have_no_say_their_header_means_nothing(gateway, books, kept, play):
    edge = await gateway([play.answer()], tracing=made(books, kept, parent_based=False))
    await edge.post(headers={"traceparent": CALLER._replace(sampled=False).header()})
    (server,) = kept.named("POST /v1/messages")
    assert server.context.trace_id != CALLER.trace_id
    none = await gateway([play.answer()], tracing=made(books, kept, 0.0, parent_based=False))
    await none.post(headers=ASKS)
    assert len(kept.named("POST /v1/messages")) == 1


async def test_unsettled_requests_are_not_remembered_for_ever(gateway, books, kept, play, monkeypatch):
    monkeypatch.setattr("penstock_edge.tracing._MOST_SETTLING", 2)
    tracing = made(books, kept)
    edge = await gateway([play.answer()], tracing=tracing)
    names = [(await edge.post()).headers["request-id"] for _ in range(4)]
    tracing.settled(dict.fromkeys(names, True))
    assert len(kept.named("settle")) == 2
