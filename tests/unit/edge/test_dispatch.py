"""The attempt loop before scripted upstreams: failover, commit points, deadlines, books."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time

import pytest

from penstock_edge.attempts import Attempts
from penstock_edge.dispatch import Pace
from penstock_edge.records import Refused
from penstock_edge.upstream.connection import Connection
from penstock_routing import Cooldown, Policy, RetryBudget, Share, Timeouts


async def test_a_unary_request_goes_through(gateway, books, play):
    edge = await gateway([play.answer()])
    answer = await edge.post()
    assert answer.status_code == 200
    assert answer.json()["content"][0]["text"] == "Hello"
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["penstock-model"] == "claude-sonnet-4-6"
    assert answer.headers["penstock-input-tokens"] == "10"
    assert answer.headers["penstock-output-tokens"] == "5"
    assert answer.headers["penstock-cost-micro"] == str(10 * 3 + 5 * 15)
    [closed] = await books.settled_count(1)
    assert closed.request_id == answer.headers["request-id"]
    assert (closed.state, closed.delivered, closed.estimated, closed.client_status) == ("complete", 0, False, 200)
    [attempt] = closed.attempts
    assert (attempt.account, attempt.cls, attempt.status, attempt.reported) == ("a", "Ok", 200, True)
    assert (attempt.usage.input_tokens, attempt.usage.output_tokens) == (10, 5)
    assert attempt.upstream_request_id == "req_up"
    assert 0 <= attempt.first_byte_ms <= attempt.duration_ms + 1
    assert (books.holds, books.slots) == (0, 0)


@pytest.mark.parametrize("second", ["claude-sonnet-4-6", "anthropic/claude-sonnet-4.6"])
async def test_estimates_learn_whatever_name_a_client_or_an_upstream_gives_the_model(gateway, books, play, second):
    known = play.model(upstream_names={"Anthropic": "claude-sonnet-4-6-20260101"})
    edge = await gateway([play.answer()], models=[known])
    for name in ("anthropic/claude-sonnet-4.6", second):
        assert (await edge.post(model=name, max_tokens=4000)).status_code == 200
        await books.settled_count(len(books.needs))
    assert books.finished[0].attempts[0].upstream_model == "claude-sonnet-4-6-20260101"
    assert [need.output_tokens for need in books.needs] == [1024, 6]
    assert books.needs[1].input_tokens < books.needs[0].input_tokens


async def test_a_stream_goes_through_byte_for_byte(gateway, books, play):
    edge = await gateway([play.stream()])
    answer, names = await edge.events()
    assert answer.status_code == 200
    assert answer.content == b"".join(play.whole_stream())
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert names[-1] == "message_stop"
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.estimated, closed.attempts[0].usage.output_tokens) == ("complete", False, 5)
    assert (books.holds, books.slots) == (0, 0)


async def test_a_key_that_is_known_asks_nobody(gateway, books, play, monkeypatch):
    """In steady state a request makes no call but the one to the upstream."""
    asked = []
    for name in ("admit", "identify"):
        honest = getattr(books, name)
        monkeypatch.setattr(books, name, lambda *told, name=name, honest=honest: asked.append(name) or honest(*told))
    edge = await gateway([play.answer(), play.answer(), play.stream(), play.answer(body={"input_tokens": 9})])
    assert (await edge.post()).status_code == 200

    async def pieces():
        yield json.dumps(edge.body()).encode()

    # Whose length nobody knows is waited for elsewhere.
    assert (await edge.http.post("/v1/messages", content=pieces())).status_code == 200
    assert (await edge.events())[1][-1] == "message_stop"
    body = {"model": "claude-sonnet-4-6", "messages": []}
    assert (await edge.http.post("/v1/messages/count_tokens", json=body)).status_code == 200
    assert asked == []
    books.asks_auth = True
    await edge.post()
    assert asked == ["identify", "admit"]


async def test_a_slot_is_kept_until_the_answer_has_ended(gateway, books, play):
    edge = await gateway([play.stream([*play.whole_stream()[:3], 0.2, *play.whole_stream()[3:]])])
    async with edge.http.stream("POST", "/v1/messages", json=edge.body(stream=True)) as answer:
        async for chunk in answer.aiter_raw():
            if b"content_block_delta" in chunk:
                break
        assert (books.holds, books.slots) == (1, 1)
        await books.settled_count(1)
    assert (books.holds, books.slots) == (0, 0)


async def test_the_spool_is_written_before_the_upstream_hears_anything(gateway, books, play):
    answer = play.answer()

    async def note(request):
        books.order.append("upstream")
        await answer(request)

    edge = await gateway([note])
    await edge.post()
    assert books.order == ["open", "upstream"]


async def test_the_body_goes_upstream_byte_for_byte(gateway, play):
    edge = await gateway([play.answer()], base_path="/base/")
    raw = (
        b'{ "max_tokens":5,\n"unknown":{"b":1,"a":[1.0,2e3]}, "messages" : [{"role":"user","content":"\xc3\xa9\\u00e9"}],'
        b'"model":"claude-sonnet-4-6" , "metadata":null }'
    )
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "anthropic-beta": "a-2025,b-2026",
        "anthropic-version": "2026-10-21",
        "cookie": "secret=1",
        "x-forwarded-for": "1.2.3.4",
        "user-agent": "test",
    }
    answer = await edge.http.post("/v1/messages?beta=true&x=%20", content=raw, headers=headers)
    assert answer.status_code == 200
    [sent] = edge.upstreams[0].requests
    assert sent.body == raw
    assert sent.line == "POST /base/v1/messages?beta=true&x=%20 HTTP/1.1"
    assert sent.headers["x-api-key"] == ["sk-upstream-0"]
    assert sent.headers["anthropic-beta"] == ["a-2025,b-2026"]
    assert sent.headers["anthropic-version"] == ["2026-10-21"]
    assert sent.headers["accept-encoding"] == ["identity"]
    assert sent.headers["content-type"] == ["application/json"]
    assert sent.headers["x-request-id"] == [answer.headers["request-id"]]
    assert not {"cookie", "x-forwarded-for", "authorization"} & sent.headers.keys()
    assert play.key.encode() not in sent.head


async def test_the_version_is_added_when_the_client_names_none(gateway, play):
    edge = await gateway([play.answer()])
    await edge.post()
    assert edge.upstreams[0].requests[0].headers["anthropic-version"] == ["2023-06-01"]


async def test_only_the_model_name_changes_when_the_catalogue_says_so(gateway, books, play):
    edge = await gateway([play.answer()], models=[play.model(upstream_names={"Anthropic": "other-name"})])
    raw = b'{"messages":[{"role":"user","content":"\\"model\\":\\"x\\""}],"model" : "claude-sonnet-4-6","max_tokens":5}'
    await edge.http.post("/v1/messages", content=raw)
    assert edge.upstreams[0].requests[0].body == raw.replace(b'"claude-sonnet-4-6"', b'"other-name"')
    [closed] = await books.settled_count(1)
    assert closed.attempts[0].upstream_model == "other-name"


async def test_headers_of_an_upstream_do_not_leak(gateway, play):
    headers = {
        "set-cookie": "a=b",
        "cf-ray": "1",
        "anthropic-organization-id": "org",
        "anthropic-ratelimit-requests-remaining": "1",
        "server": "x",
        "retry-after": "7",
    }
    edge = await gateway([play.answer(headers=headers)])
    answer = await edge.post()
    assert not {"set-cookie", "cf-ray", "anthropic-organization-id", "server", "retry-after"} & answer.headers.keys()
    # The gateway's own limits, of the window with the least room.
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "900"
    assert answer.headers["anthropic-ratelimit-tokens-limit"] == "50000"
    assert answer.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")


# Failover


FAILURES = {
    "429 with a hint": ("failure", (429, "rate_limit_error"), {"retry_after": "7"}, "Throttled", 429),
    "429": ("failure", (429, "rate_limit_error"), {}, "ThrottledNoHint", 429),
    "529": ("failure", (529, "overloaded_error"), {}, "Overloaded", 529),
    "503": ("failure", (503,), {}, "Overloaded", 529),
    "500": ("failure", (500,), {}, "Unstable", 502),
    "408": ("failure", (408,), {}, "Unstable", 502),
    "409": ("failure", (409,), {}, "Unstable", 502),
    "redirect": ("failure", (302,), {"location": "http://127.0.0.1/"}, "Unstable", 502),
    "401": ("failure", (401, "authentication_error"), {}, "CredentialInvalid", 502),
    "402": ("failure", (402, "billing_error"), {}, "QuotaExhausted", 502),
    "403": ("failure", (403, "permission_error"), {}, "Forbidden", 502),
    "credit balance": (
        "failure",
        (400, "invalid_request_error", "Your credit balance is too low to access the API"),
        {},
        "QuotaExhausted",
        502,
    ),
    "404 of a model": ("failure", (404, "not_found_error", "model: claude-sonnet-4-6"), {}, "ModelMissing", 502),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_before_output_is_absorbed(gateway, books, play, name, streamed):
    _, args, headers, cls, _ = FAILURES[name]
    good = play.stream() if streamed else play.answer()
    edge = await gateway([play.failure(*args, **headers)], [good], tiers=True)
    answer = await edge.post(stream=streamed)
    assert answer.status_code == 200
    [closed] = await books.settled_count(1)
    assert [(a.account, a.cls) for a in closed.attempts] == [("a", cls), ("b", "Ok")]
    assert (closed.state, closed.delivered) == ("complete", 1)
    assert [o.cls for o in books.outcomes if o.cls != "Begun"] == [cls, "Ok"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", FAILURES)
async def test_the_last_failure_decides_what_the_client_sees(gateway, books, play, name, streamed):
    _, args, headers, _, status = FAILURES[name]
    edge = await gateway([play.failure(*args, **headers)])
    answer = await edge.post(stream=streamed)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()
    assert error["type"] == "error"
    assert error["error"]["type"] == {429: "rate_limit_error", 529: "overloaded_error", 502: "api_error"}[status]
    assert error["request_id"] == answer.headers["request-id"]
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.delivered, closed.client_status) == ("error_before_output", -1, status)
    assert (books.holds, books.slots) == (0, 0)


BROKEN = {
    "cut": lambda play: play.cut,
    "no json": lambda play: play.answer(body=b"<html>"),
    "an error with status 200": lambda play: play.answer(body={"type": "error", "error": {"type": "api_error"}}),
    "html error page": lambda play: play.answer(502, b"<html>Bad Gateway</html>", {"content-type": "text/html"}),
    "unknown encoding": lambda play: play.answer(headers={"content-encoding": "br"}),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_is_absorbed(gateway, books, play, name):
    edge = await gateway([BROKEN[name](play)], [play.answer()], tiers=True)
    answer = await edge.post()
    assert (answer.status_code, answer.json()["type"]) == (200, "message")
    [closed] = await books.settled_count(1)
    assert [a.cls for a in closed.attempts] == ["Unstable", "Ok"]


ERROR_EVENT = 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'

BEFORE_OUTPUT = {
    "error event at once": ([ERROR_EVENT.encode()], "close", "Overloaded"),
    "error event after message_start": (["start", "ping", ERROR_EVENT.encode()], "close", "Overloaded"),
    "cut after message_start": (["start"], "cut", "Unstable"),
    "end after message_start": (["start", "ping"], "close", "Unstable"),
    "no events at all": ([b": hello\n\n"], "close", "Unstable"),
    "not json": ([b"event: message_start\ndata: {\n\n"], "close", "Unstable"),
    "silence after message_start": (["start"], "hang", "Unstable"),
}


def pieces_of(play, names):
    known = {"start": play.start(7), "ping": play.event("ping"), "block": play.block, "text": play.text("hello")}
    return [known.get(name, name) if isinstance(name, str) else name for name in names]


@pytest.mark.parametrize("name", BEFORE_OUTPUT)
async def test_a_stream_that_fails_before_output_is_taken_over_unseen(gateway, books, play, name):
    names, end, cls = BEFORE_OUTPUT[name]
    quick = Timeouts(connect=2, first_byte=0.3, idle=0.3, response=2)
    edge = await gateway([play.stream(pieces_of(play, names), end=end)], [play.stream()], tiers=True, timeouts=quick)
    answer, _ = await edge.events()
    assert answer.status_code == 200
    # Nothing of the first account's stream is seen.
    assert answer.content == b"".join(play.whole_stream())
    [closed] = await books.settled_count(1)
    assert [a.cls for a in closed.attempts] == [cls, "Ok"]
    # What the failed attempt reported stays in the books.
    assert closed.attempts[0].usage.input_tokens == (7 if "start" in names else 0)
    assert closed.attempts[0].reported == ("start" in names)
    assert (closed.state, closed.delivered) == ("complete", 1)


AFTER_OUTPUT = {
    "error event": (ERROR_EVENT.encode(), "close", "Overloaded"),
    "cut": (b"", "cut", "Unstable"),
    "cut inside an event": (b"event: content_block_delta\ndata: {", "cut", "Unstable"),
    "end without message_stop": (b"", "close", "Unstable"),
    "silence": (b"", "hang", "Unstable"),
}


@pytest.mark.parametrize("name", AFTER_OUTPUT)
async def test_a_failure_after_output_ends_in_an_error_event(gateway, books, play, name):
    last, end, cls = AFTER_OUTPUT[name]
    pieces = (
        [*pieces_of(play, ["start", "block", "text", "text"]), last]
        if last
        else pieces_of(play, ["start", "block", "text", "text"])
    )
    quick = Timeouts(connect=2, first_byte=0.3, idle=0.3, response=2)
    edge = await gateway([play.stream(pieces, end=end)], [play.stream()], tiers=True, timeouts=quick)
    answer, names = await edge.events()
    assert answer.status_code == 200
    assert names == ["message_start", "content_block_start", "content_block_delta", "content_block_delta", "error"]
    assert answer.content.endswith(b"\n\n")
    error = json.loads(answer.text.rstrip().rsplit("data: ", 1)[1])
    assert error["error"]["type"] == ("overloaded_error" if name == "error event" else "api_error")
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.delivered, closed.estimated) == ("error_after_output", 0, True)
    assert [a.cls for a in closed.attempts] == [cls]
    usage = closed.attempts[0].usage
    # Ten characters were relayed; the upstream had reported one token.
    assert (usage.input_tokens, usage.output_tokens) == (7, 2)
    assert len(edge.upstreams[1].requests) == 0


async def test_the_usage_of_a_stream_that_broke_after_its_last_report_is_exact(gateway, books, play):
    pieces = [play.start(7), play.block, play.text("hello hello hello"), play.ending(42)]
    edge = await gateway([play.stream(pieces, end="cut")])
    await edge.events()
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.estimated, closed.attempts[0].usage.output_tokens) == ("error_after_output", False, 42)


FAULTS = {
    400: ("invalid_request_error", "messages: roles must alternate"),
    404: ("not_found_error", "there is no such file"),
    413: ("request_too_large", "too large"),
    422: ("invalid_request_error", "unprocessable"),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("status", FAULTS)
async def test_a_clients_own_fault_goes_to_the_client_in_the_upstreams_words(gateway, books, play, status, streamed):
    kind, message = FAULTS[status]
    body = {"type": "error", "error": {"type": kind, "message": message, "details": {"a": 1}}, "request_id": "req_up"}
    edge = await gateway([play.answer(status, body)], [play.answer()], tiers=True)
    answer = await edge.post(stream=streamed)
    assert answer.status_code == status
    assert answer.json()["error"] == body["error"]
    assert answer.json()["request_id"] == answer.headers["request-id"]
    assert answer.headers["x-should-retry"] == "false"
    [closed] = await books.settled_count(1)
    assert [a.cls for a in closed.attempts] == ["ClientFault"]
    assert len(edge.upstreams[1].requests) == 0


async def test_a_fault_without_an_envelope_is_still_explained(gateway, play):
    edge = await gateway([play.answer(400, b"nope", {"content-type": "text/plain"})])
    answer = await edge.post()
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "nope" not in answer.text


async def test_an_error_event_that_is_the_clients_fault_is_a_plain_error(gateway, play):
    event = play.event("error", error={"type": "invalid_request_error", "message": "too many images"})
    edge = await gateway([play.stream([play.start(), event])], [play.stream()], tiers=True)
    answer = await edge.post(stream=True)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "too many images")


async def test_a_poison_request_is_not_tried_on_a_third_account(gateway, books, play):
    bad = [play.failure(500)]
    edge = await gateway(bad, bad, [play.answer()], tiers=True)
    answer = await edge.post()
    assert answer.status_code == 502
    assert len(edge.upstreams[2].requests) == 0
    [closed] = await books.settled_count(1)
    assert len(closed.attempts) == 2


async def test_attempts_are_bounded(gateway, books, play):
    bad = [play.failure(529)]
    edge = await gateway(bad, bad, bad, [play.answer()], tiers=True, policy=Policy(max_attempts=3))
    assert (await edge.post()).status_code == 529
    [closed] = await books.settled_count(1)
    assert len(closed.attempts) == 3


async def test_the_retry_budget_ends_failover(gateway, books, play):
    edge = await gateway([play.failure(529)], [play.answer()], tiers=True)
    edge.dispatcher._budget = RetryBudget(minimum=0, fraction=0.0)
    assert (await edge.post()).status_code == 529
    assert len(edge.upstreams[1].requests) == 0
    assert edge.pool.in_flight("b") == 0


async def test_a_unary_timeout_after_the_whole_body_went_out_is_not_repeated(gateway, books, play):
    quick = Timeouts(connect=2, first_byte=2, idle=2, response=0.2)
    edge = await gateway([play.hang], [play.answer()], tiers=True, timeouts=quick)
    answer = await edge.post()
    assert answer.status_code == 502
    assert len(edge.upstreams[1].requests) == 0


async def test_a_stream_without_a_first_byte_is_taken_over(gateway, play):
    quick = Timeouts(connect=2, first_byte=0.2, idle=2, response=2)
    edge = await gateway([play.hang], [play.stream()], tiers=True, timeouts=quick)
    _answer, names = await edge.events()
    assert names[-1] == "message_stop"


async def test_the_total_deadline_ends_failover(gateway, books, play):
    edge = await gateway([play.hang], [play.stream()], tiers=True, pace=Pace(total=0.3, wait=0.1))
    answer = await edge.post(stream=True)
    assert answer.status_code == 502
    [closed] = await books.settled_count(1)
    assert [a.account for a in closed.attempts] == ["a"]


async def test_a_stale_connection_is_no_failure(gateway, books, play, monkeypatch):
    edge = await gateway([play.answer(), play.answer()])
    begin = Connection.begin

    def hung_up_before(connection, request, deadlines):
        if edge.upstreams[0].requests and connection.reused:
            # The goodbye is under way while we speak.
            spoken = edge.upstreams[0].requests[-1].writer.get_extra_info("socket")
            with socket.socket(fileno=os.dup(spoken.fileno())) as theirs:
                theirs.shutdown(socket.SHUT_RDWR)
        return begin(connection, request, deadlines)

    monkeypatch.setattr(Connection, "begin", hung_up_before)
    assert (await edge.post()).status_code == 200
    assert (await edge.post()).status_code == 200
    await books.settled_count(2)
    assert [a.account for a in books.finished[1].attempts] == ["a", "a"]
    assert [o.cls for o in books.outcomes] == ["Ok", "Ok"]


async def test_a_request_that_arrived_is_not_sent_again_to_the_same_account(gateway, books, play):
    edge = await gateway([play.answer(), play.cut, play.answer()])
    assert (await edge.post()).status_code == 200
    assert (await edge.post()).status_code >= 500
    await books.settled_count(2)
    assert [a.account for a in books.finished[1].attempts] == ["a"]
    assert len(edge.upstreams[0].requests) == 2


async def test_nobody_listens(gateway, books, play):
    edge = await gateway([play.answer()], [play.answer()], tiers=True)
    await edge.upstreams[0].stop()
    assert (await edge.post()).status_code == 200
    [closed] = await books.settled_count(1)
    assert [(a.cls, a.status) for a in closed.attempts] == [("Unstable", 0), ("Ok", 200)]


# No account


async def test_without_any_account_the_answer_is_529(gateway, books, play):
    edge = await gateway()
    answer = await edge.post()
    assert (answer.status_code, answer.json()["error"]["type"]) == (529, "overloaded_error")
    assert int(answer.headers["retry-after"]) >= 1
    assert books.opened_records == {}
    assert (books.holds, books.slots) == (0, 0)


async def test_when_all_are_throttled_the_answer_is_429_with_the_soonest_return(gateway, play):
    edge = await gateway([play.failure(429, "rate_limit_error", retry_after="40")])
    first = await edge.post()
    second = await edge.post()
    assert (first.status_code, second.status_code) == (429, 429)
    assert 30 <= int(second.headers["retry-after"]) <= 40
    assert "x-should-retry" not in second.headers
    assert len(edge.upstreams[0].requests) == 1


@pytest.mark.parametrize(
    ("waits", "told"),
    [(("7", "7"), (7, 7)), (("50", "7"), (7, 7)), (("7", "50"), (7, 7)), (("90", "100"), (89, 90))],
)
async def test_the_one_who_finds_out_that_all_are_throttled_is_told_the_soonest_return(gateway, play, waits, told):
    edge = await gateway(*[[play.failure(429, "rate_limit_error", retry_after=wait)] for wait in waits])
    answer = await edge.post()
    assert answer.status_code == 429
    assert len(edge.upstreams[0].requests) == len(edge.upstreams[1].requests) == 1
    assert told[0] <= int(answer.headers["retry-after"]) <= told[1]
    assert (answer.headers.get("x-should-retry") == "false") is (told[1] > 60)


async def test_after_a_failure_that_cools_nothing_nobody_is_told_to_wait(gateway, play):
    edge = await gateway([play.failure(500, "api_error", retry_after="30")])
    answer = await edge.post()
    assert answer.status_code == 502
    assert "retry-after" not in answer.headers


async def test_a_wait_beyond_a_minute_is_not_retried_by_clients(gateway, play):
    edge = await gateway([play.failure(429, "rate_limit_error", retry_after="400")])
    await edge.post()
    answer = await edge.post()
    assert int(answer.headers["retry-after"]) > 300
    assert answer.headers["x-should-retry"] == "false"


async def test_a_request_waits_for_an_account_that_is_about_to_return(gateway, play):
    edge = await gateway([play.failure(429, "rate_limit_error", retry_after="1"), play.answer()], pace=Pace(wait=3.0))
    await edge.post()
    answers = await asyncio.gather(*[edge.post() for _ in range(3)])
    assert [a.status_code for a in answers] == [200, 200, 200]


async def test_requests_wait_for_a_slot_and_say_so(gateway, books, play):
    edge = await gateway([play.answer(delay=0.1)], pace=Pace(wait=3.0))
    edge.pool.set_share("a", 1, Share(slots=1), time.monotonic())
    answers = await asyncio.gather(*[edge.post() for _ in range(4)])
    assert [a.status_code for a in answers] == [200] * 4
    assert books.most_wanted >= 1
    assert books.wanted == {"a": 0}


async def test_a_failed_request_that_waits_holds_nobody_up(gateway, books, play):
    # The first one has tried a, and waits for b, which is cooling; a serves everybody else meanwhile.
    edge = await gateway(
        [play.failure(500), play.answer()],
        [play.failure(429, "rate_limit_error", retry_after="1"), play.answer()],
        tiers=True,
        pace=Pace(wait=3.0),
    )
    edge.pool.set_cooldown(Cooldown(account="b", cls="Throttled", remaining_seconds=1.0), time.monotonic())
    loop = asyncio.get_running_loop()
    first = asyncio.create_task(edge.post())
    await asyncio.sleep(0.1)
    began = loop.time()
    assert (await edge.post()).status_code == 200
    assert loop.time() - began < 0.5
    assert (await first).status_code in {200, 429}


# Refusals of the books


@pytest.mark.parametrize(
    ("refusal", "status", "kind", "retry_after", "should_retry"),
    [
        (Refused("DISABLED"), 401, "authentication_error", None, "false"),
        (Refused("EXPIRED"), 403, "permission_error", None, "false"),
        (Refused("REQUESTS", "per-minute", 100, "Requests", 2300), 429, "rate_limit_error", "3", None),
        (Refused("TOKENS", "five-hours", 100, "TotalTokens", 7_200_000), 429, "rate_limit_error", "7200", "false"),
        (Refused("CONCURRENCY", "", 10), 429, "rate_limit_error", "1", None),
        (Refused("SPEND_LIMIT", reset_ms=5_000), 403, "permission_error", None, "false"),
        (Refused("CREDIT"), 402, "billing_error", None, "false"),
        (Refused("TOO_LARGE", "five-hours", 100), 400, "invalid_request_error", None, "false"),
        (Refused("RECOVERING", reset_ms=250), 503, "api_error", "1", None),
        (Refused("AUTH_UNAVAILABLE"), 503, "api_error", "2", None),
        (Refused("STORE_DOWN"), 503, "api_error", "2", None),
    ],
)
@pytest.mark.parametrize("asks", [False, True])
async def test_refusals(gateway, books, play, refusal, status, kind, retry_after, should_retry, asks):
    books.refusal = refusal
    books.asks_auth = asks
    edge = await gateway([play.answer()])
    answer = await edge.post()
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert answer.headers.get("retry-after") == retry_after
    assert answer.headers.get("x-should-retry") == should_retry
    assert edge.upstreams[0].requests == []
    assert books.opened_records == {}


async def test_the_error_profile_may_forbid_instead(gateway, books, play):
    books.refusal = Refused("CREDIT", key=play.key_facts(error_profile="ForbiddenWhenOutOfCredit"))
    edge = await gateway([play.answer()])
    answer = await edge.post()
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")


async def test_a_full_spool_refuses_before_anything_is_sent(gateway, books, play):
    books.full = True
    edge = await gateway([play.answer()])
    answer = await edge.post()
    assert answer.status_code == 503
    assert edge.upstreams[0].requests == []
    assert (books.holds, books.slots, edge.pool.in_flight("a")) == (0, 0, 0)


# Clients that leave


async def test_a_client_that_leaves_a_stream_cancels_the_upstream(gateway, books, play):
    pieces = [play.start(7), play.block, *[play.text("abcdefgh")] * 5]
    edge = await gateway([play.stream(pieces, end="hang")])
    async with edge.http.stream("POST", "/v1/messages", json=edge.body(stream=True)) as answer:
        seen = b""
        async for chunk in answer.aiter_raw():
            seen += chunk
            if seen.count(b"abcdefgh") == 5:
                break
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.delivered, closed.estimated) == ("client_left", 0, True)
    usage = closed.attempts[0].usage
    assert (usage.input_tokens, usage.output_tokens, closed.attempts[0].cls) == (7, 10, "ClientLeft")
    await asyncio.sleep(0.05)
    assert edge.upstreams[0].gone == 1
    assert (books.holds, books.slots, edge.pool.in_flight("a"), len(edge.dispatcher.active)) == (0, 0, 0, 0)


async def test_a_stream_keeps_nothing_of_the_request_that_it_answers(gateway, books, play):
    edge = await gateway([play.stream([play.start(7), play.block, play.text("hello")], end="hang")])
    async with edge.http.stream("POST", "/v1/messages", json=edge.body(stream=True)) as answer:
        async for chunk in answer.aiter_raw():
            if b"hello" in chunk:
                break
        [exchange] = edge.dispatcher.active
        assert (exchange.body, exchange.asked.prefix, exchange.current.passage.body) == (b"", (), b"")
        assert exchange.body_bytes > 0
        # With them goes the key.
        assert (exchange.client_headers, exchange.turn.headers) == ([], [])
    await books.settled_count(1)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_leaves_before_the_first_byte_cancels_the_upstream(gateway, books, play, streamed):
    edge = await gateway([play.hang], [play.answer()], tiers=True)
    request = asyncio.create_task(edge.post(stream=streamed))
    await asyncio.sleep(0.2)
    assert len(edge.upstreams[0].requests) == 1
    request.cancel()
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.attempts[0].cls) == ("client_left", "ClientLeft")
    assert (closed.attempts[0].usage.input_tokens, closed.attempts[0].usage.output_tokens) == (0, 0)
    await asyncio.sleep(0.05)
    assert edge.upstreams[0].gone == 1
    assert len(edge.upstreams[1].requests) == 0
    assert (books.holds, books.slots) == (0, 0)


async def test_a_client_that_leaves_while_it_waits_for_admission_holds_nothing(gateway, books, play):
    books.asks_auth = True
    books.admit_seconds = 0.3
    edge = await gateway([play.answer()])
    request = asyncio.create_task(edge.post())
    await asyncio.sleep(0.1)
    request.cancel()
    await asyncio.sleep(0.5)
    assert (books.holds, books.slots) == (0, 0)
    assert edge.upstreams[0].requests == []


# Header commit


async def test_silence_is_kept_alive_and_failover_goes_on_behind_it(gateway, books, play):
    slow = play.stream([play.start(), 0.3, ERROR_EVENT.encode()])
    edge = await gateway([slow], [play.stream(delay=0.15)], tiers=True, pace=Pace(keepalive=0.1, wait=0.1))
    answer, names = await edge.events()
    assert answer.status_code == 200
    assert names[:2] == ["ping", "ping"]
    assert [n for n in names if n != "ping"] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    [closed] = await books.settled_count(1)
    assert closed.state == "complete"


async def test_a_final_failure_after_header_commit_is_an_error_event(gateway, books, play):
    edge = await gateway([play.stream([play.start(), 0.25], end="cut")], pace=Pace(keepalive=0.1, wait=0.1))
    answer, names = await edge.events()
    assert (answer.status_code, set(names[:-1]), names[-1]) == (200, {"ping"}, "error")
    [closed] = await books.settled_count(1)
    assert (closed.state, closed.client_status, closed.delivered) == ("error_before_output", 200, -1)


async def test_a_silent_stretch_inside_a_stream_is_kept_alive(gateway, play):
    pieces = [play.start(), play.block, play.text("a"), 0.35, *play.whole_stream()[3:]]
    edge = await gateway([play.stream(pieces)], pace=Pace(keepalive=0.1))
    _answer, names = await edge.events()
    assert names.count("ping") >= 2
    assert names[-1] == "message_stop"


async def test_a_unary_answer_gets_no_pings(gateway, play):
    edge = await gateway([play.answer(delay=0.3)], pace=Pace(keepalive=0.1))
    answer = await edge.post()
    assert answer.json()["type"] == "message"


# The drain


@pytest.mark.parametrize("begun", [False, True])
async def test_the_drain_ends_streams_with_an_error(gateway, books, play, begun):
    pieces = [play.start(7), play.block, play.text("hello")] if begun else []
    edge = await gateway([play.stream(pieces, end="hang")])
    request = asyncio.create_task(edge.events())
    await asyncio.sleep(0.2)
    for exchange in list(edge.dispatcher.active):
        exchange.interrupt("draining")
        exchange.interrupt("client_left")
    answer, names = await request
    [closed] = await books.settled_count(1)
    if begun:
        assert (answer.status_code, names[-1]) == (200, "error")
        assert (closed.state, closed.delivered, closed.estimated) == ("error_after_output", 0, True)
    else:
        assert answer.status_code == 503
        assert (closed.state, closed.delivered) == ("error_before_output", -1)
    assert (books.holds, books.slots) == (0, 0)


async def test_a_crash_is_answered_and_settled(gateway, books, play, monkeypatch):
    edge = await gateway([play.answer()])

    async def crash(*args):
        raise RuntimeError("bug")

    monkeypatch.setattr(Attempts, "make", crash)
    answer = await edge.post()
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "api_error")
    assert "bug" not in answer.text
    assert (books.holds, books.slots) == (0, 0)


@pytest.mark.parametrize("where", ["make", "try_begin", "try_end", "_end"])
async def test_a_crash_is_logged_without_what_it_was_about(gateway, books, play, monkeypatch, where):
    edge = await gateway([play.answer(), play.answer()])
    if where != "make":
        # The connection stays for the one that is sent at once.
        assert (await edge.post()).status_code == 200
        await books.settled_count(1)
    lines = []

    class Log:
        def error(self, event, **fields):
            lines.append((event, fields))

    def crash(self, exchange, attempt, *_):
        raise RuntimeError(f"{exchange.body} {exchange.client_headers} {attempt.account.api_key}")

    async def crash_later(*told):
        crash(*told)

    monkeypatch.setattr(Attempts, where, crash_later if where == "make" else crash)
    monkeypatch.setattr("penstock_edge.dispatch.log", Log())
    answer = await edge.post(system="the launch code is 1234")
    [(event, fields)] = lines
    assert (event, fields["request_id"], fields["error"]) == (
        "exchange_crashed",
        answer.headers["request-id"],
        "RuntimeError",
    )
    assert "test_dispatch.py" in fields["where"][-1]
    for secret in ("launch code", play.key, "sk-upstream-0"):
        assert secret not in f"{lines} {answer.text}"


# count_tokens


async def test_count_tokens_has_no_row_and_a_need_of_its_own(gateway, books, play):
    edge = await gateway([play.answer(body={"input_tokens": 9})])
    answer = await edge.http.post(
        "/v1/messages/count_tokens?beta=true", json={"model": "claude-sonnet-4-6", "messages": []}
    )
    assert (answer.status_code, answer.json()) == (200, {"input_tokens": 9})
    assert edge.upstreams[0].requests[0].line == "POST /v1/messages/count_tokens?beta=true HTTP/1.1"
    assert (books.opened_records, books.finished) == ({}, [])
    assert (books.needs[0].kind, books.needs[0].input_tokens, books.needs[0].micro_usd) == ("count_tokens", 0, 0)
    assert (books.holds, books.slots) == (0, 0)
    assert "penstock-cost-micro" not in answer.headers


async def test_count_tokens_fails_over_and_cools_only_itself(gateway, books, play):
    edge = await gateway(
        [play.failure(429, "rate_limit_error", retry_after="60"), play.answer()],
        [play.answer(body={"input_tokens": 9})],
        tiers=True,
    )
    body = {"model": "claude-sonnet-4-6", "messages": []}
    assert (await edge.http.post("/v1/messages/count_tokens", json=body)).status_code == 200
    assert [(o.cls, o.operation) for o in books.outcomes] == [("Throttled", "count_tokens"), ("Ok", "count_tokens")]
    # The account still serves messages.
    await edge.post()
    [closed] = await books.settled_count(1)
    assert closed.attempts[0].account == "a"
