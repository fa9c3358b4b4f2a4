"""The happy ways, with Anthropic's own SDK where it can ask for them."""

import asyncio
import gzip
import hashlib
import json

import anthropic
import httpx
import pytest

from penstock_simulator.server import Simulator
from penstock_simulator.settings import AccountLimits, AccountSettings, SimulatorSettings
from penstock_simulator.text import tokens

from .conftest import MODEL, message, until

HI = [{"role": "user", "content": "hi [[sim: tokens=30]]"}]
TOOLS = [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]


@pytest.fixture
async def sdk(sim):
    async with anthropic.AsyncAnthropic(api_key="key-a", base_url=sim.url, max_retries=0) as client:
        yield client


async def test_unary(sim, sdk):
    answer = await sdk.messages.create(model=MODEL, max_tokens=100, messages=HI)
    assert (answer.stop_reason, answer.usage.output_tokens, len(answer.content[0].text)) == ("end_turn", 30, 120)
    (record,) = sim.records
    assert (record.account, record.state, record.complete, record.reported) == ("a", "complete", True, True)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (answer.usage.input_tokens, 30)
    assert (record.relayed_tokens, record.relayed_chars) == (30, 120)
    assert record.upstream_request_id == answer._request_id
    assert record.arrived <= record.first_byte <= record.ended


async def test_stream(sim, sdk):
    async with sdk.messages.stream(model=MODEL, max_tokens=100, messages=HI) as stream:
        answer = await stream.get_final_message()
    assert answer.usage.output_tokens == 30
    (record,) = sim.records
    assert (record.streamed, record.complete, record.relayed_tokens) == (True, True, 30)
    assert record.usage.output_tokens == 30


async def test_stream_says_what_unary_says(sdk):
    answer = await sdk.messages.create(
        model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "[[sim: say=hey]]"}]
    )
    assert answer.content[0].text == "hey"


async def test_tools_both_ways(sdk):
    asked = {"model": MODEL, "max_tokens": 100, "messages": HI, "tools": TOOLS, "tool_choice": {"type": "any"}}
    answer = await sdk.messages.create(**asked)
    async with sdk.messages.stream(**asked) as stream:
        streamed = await stream.get_final_message()
    assert (answer.stop_reason, streamed.stop_reason) == ("tool_use", "tool_use")
    assert answer.content[0].name == "weather"
    assert set(answer.content[0].input) == set(streamed.content[0].input) == {"city"}


async def test_huge_tool_input(sdk):
    prompt = [{"role": "user", "content": "[[sim: tool=* tool_bytes=300000 text=unicode]]"}]
    async with sdk.messages.stream(model=MODEL, max_tokens=128_000, messages=prompt, tools=TOOLS) as stream:
        answer = await stream.get_final_message()
    assert len(answer.content[0].input["city"]) == 300_000


async def test_thinking(sdk):
    asked = {"model": MODEL, "max_tokens": 100, "messages": HI, "thinking": {"type": "adaptive"}}
    async with sdk.messages.stream(**asked) as stream:
        answer = await stream.get_final_message()
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].signature
    assert answer.usage.output_tokens == 62
    assert answer.usage.output_tokens_details.thinking_tokens == 32


async def test_count_tokens_is_not_billed(sim, sdk):
    prompt = [{"role": "user", "content": "x" * 40}]
    counted = await sdk.messages.count_tokens(model=MODEL, messages=prompt)
    assert counted.input_tokens == 10
    (record,) = sim.records
    assert (record.operation, record.reported, record.state) == ("count_tokens", False, "complete")
    answer = await sdk.messages.create(model=MODEL, max_tokens=5, messages=prompt)
    assert answer.usage.input_tokens == 10


async def test_models(sim, sdk):
    seen = [model.id async for model in await sdk.models.list(limit=5)]
    assert len(seen) == len(set(seen)) > 10
    assert (await sdk.models.retrieve("claude-haiku-4-5")).id == "claude-haiku-4-5-20251001"
    with pytest.raises(anthropic.NotFoundError, match="model: gpt-4o"):
        await sdk.models.retrieve("gpt-4o")
    assert {record.operation for record in sim.records} == {"models"}
    assert not any(record.reported for record in sim.records)


async def test_cache(sim, sdk):
    system = [{"type": "text", "text": "s" * 4000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    asked = {"model": MODEL, "max_tokens": 5, "messages": HI, "system": system}
    first = (await sdk.messages.create(**asked)).usage
    async with sdk.messages.stream(**asked) as stream:
        second = (await stream.get_final_message()).usage
    assert (first.cache_creation.ephemeral_1h_input_tokens, first.cache_read_input_tokens) == (1000, 0)
    assert (second.cache_creation_input_tokens, second.cache_read_input_tokens) == (0, 1000)
    assert first.input_tokens == second.input_tokens
    one, two = sim.records
    assert (one.usage.cache_write_1h_input_tokens, one.usage.cache_write_5m_input_tokens) == (1000, 0)
    assert two.usage.cache_read_input_tokens == 1000
    other = anthropic.AsyncAnthropic(api_key="key-b", base_url=sim.url, max_retries=0)
    async with other:
        assert (await other.messages.create(**asked)).usage.cache_read_input_tokens == 0


async def test_a_mark_at_the_top_marks_the_last_block(http):
    long = message("x" * 400, cache_control={"type": "ephemeral"})
    usages = [(await http.post("/v1/messages", json=long)).json()["usage"] for _ in range(2)]
    assert [usage["cache_creation_input_tokens"] for usage in usages] == [100, 0]
    assert [usage["cache_read_input_tokens"] for usage in usages] == [0, 100]
    follow_up = message()
    follow_up["messages"] = [
        {"role": "user", "content": "x" * 400},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": [{"type": "text", "text": "y" * 80, "cache_control": {"type": "ephemeral"}}]},
    ]
    usage = (await http.post("/v1/messages", json=follow_up)).json()["usage"]
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (100, 21)


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({}, 401, "x-api-key header is required"),
        ({"x-api-key": "nope"}, 401, "invalid x-api-key"),
        ({"authorization": "Bearer nope"}, 401, "invalid bearer token"),
        ({"authorization": "Basic key-a"}, 401, "x-api-key header is required"),
        ({"x-api-key": "nope", "authorization": "Bearer key-a"}, 401, "invalid x-api-key"),
        ({"x-api-key": "key-a", "authorization": "Bearer nope"}, 200, ""),
        ({"authorization": "bearer key-a"}, 200, ""),
        ({"x-api-key": "key-a", "anthropic-version": ""}, 400, "anthropic-version: header is required"),
    ],
)
async def test_credentials_and_version(sim, headers, status, words):
    async with httpx.AsyncClient(base_url=sim.url, headers={"anthropic-version": "2023-06-01"} | headers) as client:
        for answer in (await client.post("/v1/messages", json=message()), await client.get("/v1/models")):
            assert answer.status_code == status
            assert answer.headers["request-id"].startswith("req_sim_")
            if status != 200:
                assert answer.json()["error"]["message"] == words
                assert answer.json()["request_id"] == answer.headers["request-id"]
    if status == 401:
        assert {(record.account, record.state) for record in sim.records} == {("", "refused")}


async def test_headers_that_a_gateway_must_not_pass_on(http):
    headers = (await http.post("/v1/messages", json=message())).headers
    assert {"set-cookie", "cf-ray", "anthropic-organization-id"} <= set(headers)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", gzip.compress(b"{}", mtime=0), b"[" * 100_000])
async def test_a_body_that_is_no_json(http, body):
    answer = await http.post("/v1/messages", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_a_prompt_longer_than_the_context(http):
    answer = await http.post("/v1/messages", json=message("x" * 800_004, model="claude-haiku-4-5"))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "prompt is too long: 200001 tokens > 200000 maximum"


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/v1/messages"), ("POST", "/v1/complete")])
async def test_other_paths(http, method, path):
    answer = await http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")


async def test_healthz(http):
    assert (await http.get("/healthz")).json() == {"alive": True}


async def test_the_record_tells_what_came(sim, http):
    body = json.dumps(message("grüß dich"), ensure_ascii=False).encode()
    answer = await http.post("/v1/messages?beta=true", content=body, headers={"x-request-id": "req_1", "X-Extra": "1"})
    (record,) = sim.records
    assert (record.request_id, record.target, record.model) == ("req_1", "/v1/messages?beta=true", MODEL)
    assert (record.body_bytes, record.body_sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert {"x-extra", "x-api-key"} <= set(record.header_names)
    assert record.body == body
    assert dict(record.headers)["x-extra"] == "1"
    assert "key-a" not in str(record.headers)
    assert record.answer == answer.content


async def test_bodies_are_not_kept_by_default():
    async with Simulator() as sim, httpx.AsyncClient(base_url=sim.url) as client:
        await client.post("/v1/messages", json=message(), headers={"x-api-key": "sim-key-a"})
        (record,) = sim.records
        assert (record.body, record.headers, record.answer) == (None, None, None)


async def test_limits_on_the_wire():
    limits = AccountLimits(requests_per_minute=2, input_tokens_per_minute=1000, output_tokens_per_minute=1000)
    settings = SimulatorSettings(accounts=(AccountSettings(name="a", key="k", limits=limits),))
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    async with Simulator(settings) as sim, httpx.AsyncClient(base_url=sim.url, headers=headers) as client:
        first, _, third = [await client.post("/v1/messages", json=message()) for _ in range(3)]
        assert first.headers["anthropic-ratelimit-requests-remaining"] == "1"
        assert first.headers["anthropic-ratelimit-input-tokens-limit"] == "1000"
        assert first.headers["anthropic-ratelimit-tokens-limit"] == "2000"
        assert third.status_code == 429
        assert 1 <= int(third.headers["retry-after"]) <= 30
        assert third.json()["error"]["type"] == "rate_limit_error"
        shown = (await client.get("/simulator/accounts")).json()[0]
        sent = sum(record.relayed_tokens for record in sim.records)
        assert shown["remaining"]["output-tokens"] == pytest.approx(1000 - sent, abs=20)


async def test_open_requests_are_counted_per_account(sim, http):
    slow = [http.post("/v1/messages", json=message("[[sim: latency=100ms]]")) for _ in range(5)]
    await asyncio.gather(*slow, http.post("/v1/messages", json=message(), headers={"x-api-key": "key-b"}))
    assert sorted(record.concurrent for record in sim.records.select(account="a")) == [1, 2, 3, 4, 5]
    assert (sim.accounts["a"].most_open, sim.accounts["a"].open, sim.accounts["b"].most_open) == (5, 0, 1)


async def test_probes_and_counts_take_no_slot(sim, http):
    sim.faults.add(operation="any", set={"latency": "50ms"})
    counting = {"model": MODEL, "messages": HI}
    await asyncio.gather(http.get("/v1/models"), http.post("/v1/messages/count_tokens", json=counting))
    assert (sim.accounts["a"].most_open, sim.accounts["a"].served) == (0, 2)
    assert {record.concurrent for record in sim.records} == {0}


async def test_a_mistake_of_its_own_cuts_the_connection_and_ends_the_record(sim, http, monkeypatch):
    def fail(call):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(sim._serving._formats[0], "answer", fail)
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post("/v1/messages", json=message())
    assert [(record.state, record.ended is not None) for record in sim.records] == [("broken", True)]
    assert sim.accounts["a"].open == 0


async def test_a_refusal_of_the_model_has_its_details(http):
    answer = (await http.post("/v1/messages", json=message("[[sim: stop=refusal]]"))).json()
    assert (answer["stop_reason"], answer["stop_details"]["type"]) == ("refusal", "refusal")
    streamed = await http.post("/v1/messages", json=message("[[sim: stop=refusal]]", stream=True))
    assert '"stop_details":{"type":"refusal"' in streamed.text


async def test_a_client_that_leaves_before_the_first_byte(sim, http):
    with pytest.raises(httpx.ReadTimeout):
        await http.post("/v1/messages", json=message("[[sim: latency=5s]]"), timeout=0.2)
    await until(lambda: sim.accounts["a"].open == 0)
    (record,) = sim.records
    assert (record.state, record.reported, record.status, record.first_byte) == ("client_left", False, 0, None)
    assert record.client_left == pytest.approx(record.ended, abs=0.1)


async def test_a_client_that_leaves_a_stream_gets_no_more(sim, http):
    slow = message("[[sim: tokens=600 pace=5ms]]", stream=True)
    async with http.stream("POST", "/v1/messages", json=slow) as answer:
        async for _ in answer.aiter_bytes():
            break
    await until(lambda: sim.accounts["a"].open == 0)
    (record,) = sim.records
    assert record.state == "client_left"
    assert (record.usage.output_tokens, record.reported, record.complete) == (1, True, False)
    assert record.relayed_tokens == tokens(record.relayed_chars) < 600


async def test_a_reader_that_stalls_stops_the_writer(sim):
    """Bytes that wait for a slow reader have not been told."""
    body = json.dumps(message("[[sim: tokens=128000 chunks=20000]]", stream=True, max_tokens=128_000)).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nx-api-key: key-a\r\nanthropic-version: 2023-06-01\r\ncontent-length: {len(body)}"
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port, limit=1024)
    writer.write(head.encode() + b"\r\n\r\n" + body)
    await until(lambda: len(sim.records) == 1)
    (record,) = sim.records
    before = -1
    while before != record.relayed_tokens or not before:
        before = record.relayed_tokens
        await asyncio.sleep(0.1)
    assert 0 < before < 100_000
    assert record.state == "open"
    while not (await reader.read(1 << 20)).endswith(b"0\r\n\r\n"):
        pass
    assert (record.state, record.relayed_tokens) == ("complete", 128_000)
    writer.close()


async def test_stop_waits_for_open_answers_and_cuts_the_rest(settings):
    headers = {"x-api-key": "key-a", "anthropic-version": "2023-06-01"}
    sim = Simulator(settings)
    await sim.start()
    async with httpx.AsyncClient(base_url=sim.url, headers=headers) as client:
        await client.get("/healthz")
        short = asyncio.create_task(client.post("/v1/messages", json=message("[[sim: latency=100ms]]")))
        long = asyncio.create_task(client.post("/v1/messages", json=message("[[sim: latency=9s]]")))
        await until(lambda: sim.accounts["a"].open == 2)
        await sim.stop(1.0)
        assert (await short).status_code == 200
        with pytest.raises(httpx.TransportError):
            await long
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")
    await sim.stop()


def test_urls():
    sim = Simulator(SimulatorSettings(host="::1"))
    assert sim.url == "http://[::1]:0"


async def test_a_key_in_the_query_is_not_kept(sim, http):
    await http.post("/v1/messages?beta=true&key=key-a&x=1", json=message())
    (record,) = sim.records
    assert record.target == "/v1/messages?beta=true&key=(blotted out)&x=1"
    assert record.format == "anthropic"
