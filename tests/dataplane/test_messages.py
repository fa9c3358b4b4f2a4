"""POST /v1/messages through real processes: same bytes, headers, limits of size, keep-alive, leaving clients, usage."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from penstock_simulator.anthropic.signature import issue
from tests.client import Exchange, exchange, many, payload
from tests.stack import MODEL, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Gateway, Simulator

pytestmark = pytest.mark.xdist_group("messages")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Simulator, str]]:
    options = {"keep_bodies": True}
    with running(
        tmp_path_factory.mktemp("messages"),
        accounts=("a",),
        simulator=options,
        env={"PENSTOCK_EDGE_KEEPALIVE_SECONDS": "0.5"},
    ) as (gateway, simulator):
        yield gateway, simulator, gateway.key()


def post(gateway: Gateway, key: str, content: bytes, path: str = "/v1/messages", **headers: str) -> httpx.Response:
    sent = {"x-api-key": key} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(gateway.url + path, content=content, headers=sent, timeout=60)


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=60)


ODD_BODIES = [
    b'{ "messages" : [ {"role":"user","content":"h\\u00e9llo \xe2\x80\xa8 raw U+2028"} ],\n\t"max_tokens":16 ,"model":"claude-haiku-4-5"}',
    b'{"max_tokens":16,"model":"claude-haiku-4-5-20251001","messages":[{"content":[{"type":"text","text":"model","cache_control":{"type":"ephemeral","ttl":"1h"}}],"role":"user"}],"metadata":{"user_id":"u"}}',
    b'{"model":"anthropic/claude-haiku-4.5","messages":[{"role":"user","content":"\\"model\\":\\"claude-haiku-4-5\\""}],"max_tokens":16,"stop_sequences":["x"]}',
]


@pytest.mark.parametrize("body", ODD_BODIES[:2])
def test_the_same_bytes_go_up_and_come_down(stack: tuple[Gateway, Simulator, str], body: bytes) -> None:
    gateway, simulator, key = stack
    simulator.forget()
    answer = post(gateway, key, body)
    assert answer.status_code == 200, answer.text
    (record,) = simulator.messages()
    assert simulator.body(record) == body
    assert base64.b64decode(record["answer"]) == answer.content


def test_an_alias_that_only_we_know_is_replaced_and_nothing_else(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, simulator, key = stack
    simulator.forget()
    answer = post(gateway, key, ODD_BODIES[2])
    assert answer.status_code == 200, answer.text
    (record,) = simulator.messages()
    sent = simulator.body(record)
    upstream = json.loads(sent)["model"]
    assert upstream in {"claude-haiku-4-5", "claude-haiku-4-5-20251001", "anthropic/claude-haiku-4.5"}
    assert sent == ODD_BODIES[2].replace(b'"anthropic/claude-haiku-4.5"', f'"{upstream}"'.encode(), 1)


def test_a_stream_comes_down_byte_for_byte(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, simulator, key = stack
    simulator.forget()
    seen = asyncio.run(exchange(gateway.port, key, payload("tokens=80 text=unicode split=1 pings=2", stream=True)))
    assert seen.good
    (record,) = wait_until("the record is whole", lambda: [r for r in simulator.messages() if r["complete"]])
    assert seen.body == base64.b64decode(record["answer"])


def test_a_stream_for_http_1_0_comes_without_chunks(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, simulator, key = stack
    simulator.forget()
    body = payload("tokens=20", stream=True)
    head = f"POST /v1/messages HTTP/1.0\r\nx-api-key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    answered, _, events = got.partition(b"\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding" not in answered.lower()
    (record,) = wait_until("the record is whole", lambda: [r for r in simulator.messages() if r["complete"]])
    assert events == base64.b64decode(record["answer"])


def test_headers_and_query_are_carried_and_nothing_private_is(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, simulator, key = stack
    simulator.forget()
    signed = {"type": "thinking", "thinking": "hm", "signature": issue("hm")}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [signed, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ]
    body = json.dumps(
        {
            "model": MODEL,
            "max_tokens": 2048,
            "messages": messages,
            "context_management": {"edits": []},
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        }
    )
    answer = post(
        gateway, key, body.encode(), "/v1/messages?beta=true",
        anthropic_version="2023-06-01", anthropic_beta="context-management-2025-06-27,interleaved-thinking-2025-05-14",
        cookie="session=private", x_forwarded_for="10.1.2.3", user_agent="somebody/1.0",
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    (record,) = simulator.messages()
    headers = {name.lower(): value for name, value in record["headers"]}
    assert record["target"] == "/v1/messages?beta=true"
    assert headers["anthropic-beta"] == "context-management-2025-06-27,interleaved-thinking-2025-05-14"
    assert headers["anthropic-version"] == "2023-06-01"
    assert simulator.body(record) == body.encode()
    assert not {"cookie", "x-forwarded-for", "authorization"} & set(headers)
    assert "somebody" not in headers["user-agent"]
    assert key not in json.dumps(record)
    assert record["request_id"] == answer.headers["request-id"]


def test_an_answer_says_what_it_cost_and_what_is_left(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, _, key = stack
    answer = post(gateway, key, payload("tokens=100"))
    usage = answer.json()["usage"]
    assert int(answer.headers["penstock-input-tokens"]) == usage["input_tokens"]
    assert int(answer.headers["penstock-output-tokens"]) == usage["output_tokens"]
    assert answer.headers["penstock-model"] == MODEL
    cost = usage["input_tokens"] * 1 + usage["output_tokens"] * 5
    assert int(answer.headers["penstock-cost-micro"]) == cost
    row = get(f"{gateway.url}/v1/usage/{answer.headers['request-id']}", x_api_key=key).json()
    assert (row["cost_micro"], row["input_tokens"], row["output_tokens"]) == (
        cost,
        usage["input_tokens"],
        usage["output_tokens"],
    )


def test_usage_is_shown_right_after_a_stream_and_to_its_project_only(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, _, key = stack
    seen = asyncio.run(exchange(gateway.port, key, payload("tokens=50", stream=True)))
    url = f"{gateway.url}/v1/usage/{seen.request_id}"
    row = get(url, authorization=f"Bearer {key}")
    assert row.status_code in {200, 202}
    told = int(re.findall(rb'"output_tokens": ?(\d+)', seen.body)[-1])
    row = wait_until(
        "the row is committed",
        lambda: (r := get(url, x_api_key=key)).status_code == 200 and r.json(),
    )
    assert row["output_tokens"] == told
    other = gateway.key("another")
    wait_until("others see nothing", lambda: get(url, x_api_key=other).status_code in {202, 404})
    assert get(url, x_api_key=other).json().get("output_tokens") is None


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"", 400, ""),
        (b"{", 400, ""),
        (b"[]", 400, ""),
        (b'{"max_tokens":1,"messages":[]}', 400, "model"),
        (b'{"model":"claude-haiku-4-5","messages":[{"role":"user","content":"x"}]}', 400, "max_tokens"),
        (b'{"model":7,"max_tokens":1,"messages":[]}', 400, "model"),
        (b'{"model":"nobody","max_tokens":1,"messages":[]}', 404, "nobody"),
    ],
)
def test_bad_input_is_a_clear_error(
    stack: tuple[Gateway, Simulator, str], content: bytes, status: int, text: str
) -> None:
    gateway, _, key = stack
    answer = post(gateway, key, content)
    assert answer.status_code == status, answer.text
    assert answer.json()["type"] == "error"
    assert text in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["request-id"] == answer.json()["request_id"]


def test_what_the_upstream_refuses_comes_in_its_own_words(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, _, key = stack
    answer = post(
        gateway,
        key,
        json.dumps(
            {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "x"}], "nonsense": 1}
        ).encode(),
    )
    assert answer.status_code == 400
    assert "nonsense" in answer.json()["error"]["message"]


@pytest.mark.parametrize("declared", [True, False])
def test_too_large_a_body_is_413(stack: tuple[Gateway, Simulator, str], declared: bool) -> None:
    gateway, _, key = stack
    block = b"x" * (1 << 20)

    def pieces() -> Iterator[bytes]:
        for _ in range(33):
            yield block

    content: Any = block * 33 if declared else pieces()
    answer = httpx.post(f"{gateway.url}/v1/messages", content=content, headers={"x-api-key": key}, timeout=60)
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "request_too_large"


def test_a_megabyte_passes(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, simulator, key = stack
    simulator.forget()
    body = json.dumps(
        {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "word " * 100_000}]}
    ).encode()
    assert post(gateway, key, body).status_code == 200
    assert simulator.messages()[0]["body_sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"x-api-key": "psk_nonsense"}, 401), ({"authorization": "Basic Zm9v"}, 401)],
)
def test_without_a_good_key_nothing_is_served(
    stack: tuple[Gateway, Simulator, str], headers: dict[str, str], status: int
) -> None:
    gateway, simulator, _ = stack
    simulator.forget()
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        answer = httpx.post(gateway.url + path, content=payload(), headers=headers, timeout=60)
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, "authentication_error")
        assert answer.headers["x-should-retry"] == "false"
    assert httpx.get(f"{gateway.url}/v1/models", headers=headers, timeout=60).status_code == status
    assert simulator.records() == []


def test_a_disabled_key_is_refused_soon(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, _, _ = stack
    made = gateway.cli("keys", "create", "--project", "demo", "--plan", "open")
    assert post(gateway, made["key"], payload()).status_code == 200
    gateway.cli("keys", "disable", made["id"])
    wait_until("the key is refused", lambda: post(gateway, made["key"], payload()).status_code == 401)


def test_silence_is_filled_with_pings_and_failover_goes_on_behind_them(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, _, key = stack

    def pings() -> int:
        seen = asyncio.run(exchange(gateway.port, key, payload("latency=1800ms tokens=10", stream=True)))
        assert seen.good
        before = seen.body.partition(b"event: message_start")[0]
        return before.count(b"event: ping") + before.count(b":\n")

    # A machine that stalls keeps them back until the answer has come, so they have a few tries.
    assert any(pings() >= 2 for _ in range(5))


@pytest.mark.parametrize(
    ("directive", "stream"), [("latency=20s", True), ("latency=20s", False), ("pace=300ms chunks=60 tokens=300", True)]
)
def test_a_client_that_leaves_cancels_the_upstream(
    stack: tuple[Gateway, Simulator, str], directive: str, stream: bool
) -> None:
    gateway, simulator, key = stack
    simulator.forget()

    async def leave() -> None:
        seen = Exchange()
        asking = asyncio.create_task(exchange(gateway.port, key, payload(directive, stream=stream), seen=seen))
        under_way = (lambda: seen.output_at) if "pace" in directive else simulator.messages
        await asyncio.to_thread(wait_until, "it is under way", under_way)
        asking.cancel()
        await asyncio.wait([asking])

    asyncio.run(leave())
    # One that did not hear of it would go on to the end of its twenty seconds, and call that complete.
    (record,) = wait_until("the upstream is done", lambda: [r for r in simulator.messages() if r["state"] != "open"])
    assert record["state"] == "client_left"
    (row,) = wait_until(
        "it is settled", lambda: [r for r in gateway.usage() if r["request_id"] == record["request_id"]]
    )
    assert row["state"] == "client_left"


def test_count_tokens_costs_nothing_and_has_no_row(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, simulator, key = stack
    simulator.forget()
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "count me"}]}).encode()
    answer = post(gateway, key, body, "/v1/messages/count_tokens")
    assert answer.json()["input_tokens"] > 0
    later = post(gateway, key, payload()).headers["request-id"]
    rows = wait_until(
        "a later request has its row",
        lambda: (ids := {row["request_id"] for row in gateway.usage()}) and later in ids and ids,
    )
    assert answer.headers["request-id"] not in rows


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def test_slow_readers_do_not_fill_the_edge(stack: tuple[Gateway, Simulator, str]) -> None:
    """Back-pressure: sixteen streams of 6 MB wait in the kernel and at the upstream, not in the edge's memory."""
    gateway, _, key = stack
    body = payload("tokens=60000 chunks=60000", stream=True, max_tokens=60_000)
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    before = resident_mb(gateway.pid("edge-0"))

    async def stall() -> float:
        writers = []
        for _ in range(16):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
            writer.write(head.encode() + body)
            writer.transport.pause_reading()
            writers.append(writer)
        await asyncio.sleep(4)
        held = resident_mb(gateway.pid("edge-0"))
        for writer in writers:
            writer.transport.abort()
        return held

    assert asyncio.run(stall()) - before < 24


def test_many_at_once_are_all_served_and_all_in_the_books(stack: tuple[Gateway, Simulator, str]) -> None:
    gateway, _, key = stack
    seen: list[Exchange] = asyncio.run(
        many(gateway.port, key, [payload("tokens=5", stream=n % 2 == 0) for n in range(400)], 64)
    )
    assert all(one.good for one in seen)
    ids = {one.request_id for one in seen}
    assert len(ids) == 400
    wait_until("all are settled", lambda: ids <= {row["request_id"] for row in gateway.usage()}, pause=0.3)
