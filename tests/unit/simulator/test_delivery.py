"""Every fault, as a reader of raw bytes meets it."""

import asyncio
import json
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from penstock_simulator.delivery import seams

from .conftest import message, until


def ask(directive, *, stream=False, **fields):
    return message(f"hello [[sim: {directive}]]", **({"stream": True} if stream else {}), **fields)


def error_of(wire):
    return json.loads(wire.body)["error"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("400", 400, "invalid_request_error"),
        ("401", 401, "authentication_error"),
        ("402", 402, "billing_error"),
        ("403", 403, "permission_error"),
        ("404", 404, "not_found_error"),
        ("408", 408, "timeout_error"),
        ("409", 409, "conflict_error"),
        ("413", 413, "request_too_large"),
        ("422", 422, "invalid_request_error"),
        ("429", 429, "rate_limit_error"),
        ("500", 500, "api_error"),
        ("502", 502, "api_error"),
        ("503", 503, "overloaded_error"),
        ("504", 504, "timeout_error"),
        ("520", 520, "api_error"),
        ("529", 529, "overloaded_error"),
        ("credit", 400, "invalid_request_error"),
    ],
)
async def test_statuses(sim, post, fault, status, kind, stream):
    wire = await post(ask(f"fault={fault}", stream=stream))
    assert (wire.status, error_of(wire)["type"]) == (status, kind)
    assert "application/json" in wire.head
    assert "retry-after" not in wire.head
    (record,) = sim.records
    assert (record.status, record.fault, record.state, record.reported) == (status, fault, "refused", False)
    assert record.error_type == kind


async def test_words_of_errors(post):
    assert "credit balance is too low" in error_of(await post(ask("fault=credit")))["message"]
    assert error_of(await post(ask("fault=404")))["message"] == "model: claude-sonnet-4-6"
    own = error_of(await post(ask('fault=500 error=my_error message="so it is"')))
    assert own == {"type": "my_error", "message": "so it is"}


async def test_hints(post):
    assert "retry-after: 7\r\n" in (await post(ask("fault=429 retry_after=7"))).head + "\r\n"
    head = (await post(ask("fault=529 retry_after=date:60"))).head
    (date,) = [line[13:] for line in head.split("\r\n") if line.startswith("retry-after: ")]
    assert 55 < parsedate_to_datetime(date).timestamp() - time.time() <= 61


@pytest.mark.parametrize("stream", [False, True])
async def test_html(sim, post, stream):
    wire = await post(ask("fault=html", stream=stream))
    assert (wire.status, wire.body[:6]) == (502, b"<html>")
    assert "content-type: text/html" in wire.head
    assert (await post(ask("fault=html status=503"))).status == 503
    assert {record.state for record in sim.records} == {"refused"}


@pytest.mark.parametrize("stream", [False, True])
async def test_not_json(sim, post, stream):
    wire = await post(ask("fault=not_json", stream=stream))
    assert wire.status == 200
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(wire.body)
    assert [(record.state, record.reported) for record in sim.records] == [("broken", False)]


async def test_latency_and_pace(post):
    started = time.monotonic()
    wire = await post(ask("latency=100ms stall=50ms chunks=5 pace=20ms pings=2", stream=True))
    assert time.monotonic() - started >= 0.1 + 0.05 + 7 * 0.02
    assert wire.ended_well
    assert wire.events.count("content_block_delta") == 5
    assert wire.events[:4] == ["message_start", "ping", "ping", "content_block_start"]
    assert len(wire.reads) >= 7


@pytest.mark.parametrize(
    ("directive", "kind", "deltas"),
    [
        ("fault=stream_error_before", "overloaded_error", 0),
        ("fault=stream_error_before error=api_error", "api_error", 0),
        ("fault=stream_error_after", "overloaded_error", 3),
        ("fault=stream_error_after after=5 error=api_error message=oh", "api_error", 5),
        ("fault=stream_error_after after=999", "overloaded_error", 9),
    ],
)
@pytest.mark.parametrize("pace", ["", " pace=1ms"])
async def test_errors_within_a_stream(sim, post, directive, kind, deltas, pace):
    wire = await post(ask(f"{directive} chunks=9 tokens=36{pace}", stream=True))
    assert wire.status == 200
    assert wire.ended_well
    assert wire.events[0] == "message_start"
    assert wire.events[-1] == "error"
    assert wire.events.count("content_block_delta") == deltas
    assert ("content_block_start" in wire.events) == (deltas > 0)
    assert not {"message_delta", "message_stop"} & set(wire.events)
    last = json.loads(wire.body.rsplit(b"data: ", 1)[1])
    assert (last["type"], last["error"]["type"]) == ("error", kind)
    (record,) = sim.records
    assert (record.state, record.error_type, record.complete) == ("broken", kind, False)
    assert (record.usage.output_tokens, record.reported, record.relayed_chars) == (1, True, deltas * 16)


async def test_errors_within_a_stream_are_statuses_without_one(post):
    assert (await post(ask("fault=stream_error_before"))).status == 529
    assert (await post(ask("fault=stream_error_after error=api_error"))).status == 500


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reset", ["", " reset"])
async def test_cut_before_headers(sim, post, stream, reset):
    wire = await post(ask(f"fault=cut_before_headers{reset}", stream=stream))
    assert (wire.all, wire.reset, wire.silent) == (b"", bool(reset), False)
    (record,) = sim.records
    assert (record.status, record.state, record.client_left, record.reported) == (0, "broken", None, False)


@pytest.mark.parametrize("stream", [False, True])
async def test_cut_after_headers(sim, post, stream):
    wire = await post(ask("fault=cut_after_headers", stream=stream))
    assert (wire.status, wire.rest, wire.silent) == (200, b"", False)
    (record,) = sim.records
    assert (record.status, record.state, record.reported) == (200, "broken", False)


@pytest.mark.parametrize(("after", "deltas"), [(0, 0), (1, 1), (4, 4), (99, 9)])
async def test_cut_mid_stream(sim, post, after, deltas):
    wire = await post(ask(f"fault=cut_mid_stream after={after} chunks=9", stream=True))
    assert not wire.ended_well
    assert not wire.silent
    assert wire.events.count("content_block_delta") == deltas
    assert ("content_block_start" in wire.events) == (deltas > 0)
    assert "message_delta" not in wire.events
    assert sim.records.select()[0].state == "broken"


async def test_cut_mid_chunk(sim, post):
    wire = await post(ask("fault=cut_mid_chunk after=2 chunks=9", stream=True))
    assert wire.body.count(b"content_block_delta") == 2 * 2
    assert wire.all.count(b"event: content_block_delta") == 3
    (record,) = sim.records
    assert record.sent_bytes == len(wire.body)


@pytest.mark.parametrize("fault", ["cut_mid_stream", "cut_mid_chunk", "end_early"])
async def test_a_unary_answer_cut_in_its_body(sim, post, fault):
    wire = await post(ask(f"fault={fault}"))
    (length,) = [int(line[16:]) for line in wire.head.split("\r\n") if line.startswith("content-length: ")]
    assert 0 < len(wire.rest) < length
    assert not wire.silent
    (record,) = sim.records
    assert (record.state, record.reported, record.relayed_chars) == ("broken", False, 0)


async def test_an_early_end_in_due_form(sim, post):
    wire = await post(ask("fault=end_early chunks=9", stream=True))
    assert wire.ended_well
    assert wire.events[-1] == "content_block_delta"
    (record,) = sim.records
    assert (record.state, record.complete) == ("broken", False)


@pytest.mark.parametrize(
    ("directive", "stream", "seen"),
    [
        ("fault=silence", False, b""),
        ("fault=silence", True, b""),
        ("fault=silence_after_headers", False, b"HTTP/1.1 200"),
        ("fault=silence_after_headers", True, b"HTTP/1.1 200"),
        ("fault=silence_mid_stream", True, b"content_block_delta"),
        ("fault=silence_mid_stream after=0", True, b"message_start"),
        ("fault=silence_mid_stream", False, b"HTTP/1.1 200"),
    ],
)
async def test_silence_lasts_until_the_client_leaves(sim, post, directive, stream, seen):
    wire = await post(ask(directive, stream=stream), patience=0.4)
    assert wire.silent
    assert seen in wire.all
    assert not wire.ended_well
    await until(lambda: sim.accounts["a"].open == 0)
    assert sim.records.select()[0].state == "client_left"


@pytest.mark.parametrize("silence_seconds", [0.05])
async def test_silence_ends_some_day(post):
    wire = await post(ask("fault=silence"))
    assert (wire.all, wire.silent) == (b"", False)


@pytest.mark.parametrize("stream", [False, True])
async def test_drip(sim, post, stream):
    wire = await post(ask("drip=1us tokens=2 thinking=0", stream=stream))
    assert len(wire.reads) > 50
    assert wire.ended_well or json.loads(wire.body)
    assert sim.records.select()[0].complete


@pytest.mark.parametrize("stream", [False, True])
async def test_split_characters(sim, post, stream):
    wire = await post(ask("split text=unicode tokens=12 chunks=3 seed=1", stream=stream), patience=2)
    halves = [data for data in wire.reads if data and data[0] & 0xC0 == 0x80]
    assert len(halves) > 3
    body = wire.body.decode()
    assert any(odd in body for odd in ("\u2028", "\u2029", "\u0085", "水", "Ü", "ö", "é"))
    assert sim.records.select()[0].complete


def test_seams_lose_nothing():
    data = "a🌊b\u2028\n\n".encode()
    parts = list(seams(data))
    assert b"".join(parts) == data
    assert len(parts) == 1 + 3 + 2 + 1
    assert list(seams(b"")) == [b""]


@pytest.mark.parametrize("stream", [False, True])
async def test_length_too_long(sim, post, stream):
    wire = await post(ask("fault=length_long", stream=stream))
    (length,) = [int(line[16:]) for line in wire.head.split("\r\n") if line.startswith("content-length: ")]
    assert length == len(wire.rest) + 64
    assert not wire.silent
    (record,) = sim.records
    assert (record.state, record.reported) == ("broken", stream)


@pytest.mark.parametrize("stream", [False, True])
async def test_length_too_short(sim, post, stream):
    wire = await post(ask("fault=length_short", stream=stream))
    (length,) = [int(line[16:]) for line in wire.head.split("\r\n") if line.startswith("content-length: ")]
    assert length < len(wire.rest)
    (record,) = sim.records
    assert record.state == "broken"
    # A reader of that length has seen message_start, but not message_stop.
    assert (record.reported, record.sent_bytes) == (stream, length)


async def test_hangup_after_a_whole_answer(post, http, sim):
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    body = json.dumps(ask("hangup")).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nx-api-key: key-a\r\nanthropic-version: 2023-06-01\r\ncontent-length: {len(body)}"
    writer.write(head.encode() + b"\r\n\r\n" + body)
    answer = await asyncio.wait_for(reader.read(), 2)
    assert b"connection: close" not in answer
    assert answer.endswith(b"}}")
    assert sim.records.select()[0].complete
    writer.close()


async def test_additional_usage(sim, post):
    wire = await post(ask("tokens=40 chunks=4 usage_updates=2 usage=output", stream=True))
    assert wire.events.count("message_delta") == 3
    deltas = [
        json.loads(line[6:]) for line in wire.body.split(b"\n") if line.startswith(b'data: {"type":"message_delta"')
    ]
    assert [delta["usage"] for delta in deltas] == [{"output_tokens": n} for n in (10, 20, 40)]
    assert sim.records.select()[0].usage.output_tokens == 40


async def test_ways_to_ask(post, sim):
    assert (await post(message(), headers=["x-simulator: fault=529"])).status == 529
    assert (await post(message(model="claude-sonnet-4-6@fault=503;retry_after=3"))).status == 503
    assert (await post(message(model="claude-sonnet-4-6@tokens=3"))).status == 200
    sim.faults.add(account="a", set={"fault": "500"})
    assert (await post(ask("fault=529"))).status == 500
    assert (await post(message(), key="key-b")).status == 200
    assert [record.model for record in sim.records] == ["claude-sonnet-4-6"] * 5


async def test_directives_for_one_account_or_some_tries(post):
    asked = ask("account=b|c fault=529")
    assert [(await post(asked, key=key)).status for key in ("key-a", "key-b")] == [200, 529]
    asked = ask("times=2 fault=503")
    headers = ["x-request-id: one"]
    assert [(await post(asked, headers=headers)).status for _ in range(3)] == [503, 503, 200]
    assert (await post(asked, headers=["x-request-id: two"])).status == 503


@pytest.mark.parametrize("directive", ["fault=nope", "wat=1", "times=x", 'say="open'])
async def test_a_mistaken_directive_is_a_400_that_names_it(post, directive):
    wire = await post(ask(directive))
    assert wire.status == 400
    assert error_of(wire)["message"].startswith("[[sim]]: ")


async def test_a_dead_account(sim, post, http):
    sim.faults.add(account="a", operation="any", set={"fault": "401"})
    assert (await post(message())).status == 401
    assert (await http.get("/v1/models")).status_code == 401
    assert (await http.get("/v1/models", headers={"x-api-key": "key-b"})).status_code == 200


async def test_a_fault_of_the_probe_alone(sim, http):
    sim.faults.add(account="a", operation="models", set={"fault": "cut_before_headers"})
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get("/v1/models")
    assert (await http.post("/v1/messages", json=message())).status_code == 200
