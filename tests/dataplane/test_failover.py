"""A client never sees a failure that another account could have absorbed; and one that it must see looks like one."""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.client import many, payload
from tests.effort import examples
from tests.stack import account, plan, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Gateway, Simulator

REQUESTS = examples(600)
AT_ONCE = 32
# Short enough to wait for, and longer than a busy machine keeps a healthy upstream waiting.
SHORT = {"timeouts": {"connectSeconds": 20, "firstByteSeconds": 5, "idleSeconds": 5, "responseSeconds": 60}}
# Each class of failure, as an upstream shows it, and whether the unbilled probe fails with it.
CLASSES: dict[str, tuple[dict[str, Any], bool]] = {
    "Throttled": ({"fault": "429", "retry_after": "2"}, False),
    "ThrottledNoHint": ({"fault": "429"}, False),
    "Overloaded": ({"fault": "529"}, False),
    "Overloaded by 503": ({"fault": "503"}, False),
    "Overloaded in the stream": ({"fault": "stream_error_before", "error": "overloaded_error"}, False),
    "Unstable by 500": ({"fault": "500"}, False),
    "Unstable by a cut before headers": ({"fault": "cut_before_headers"}, False),
    "Unstable by a cut after headers": ({"fault": "cut_after_headers"}, False),
    "Unstable by a cut after message_start": ({"fault": "cut_mid_stream", "after": 0}, False),
    "Unstable by a body that is no JSON": ({"fault": "not_json"}, False),
    "Unstable by a page of HTML": ({"fault": "html"}, False),
    "CredentialInvalid": ({"fault": "401"}, True),
    "Forbidden": ({"fault": "403"}, False),
    "QuotaExhausted": ({"fault": "credit"}, False),
    "QuotaExhausted by 402": ({"fault": "402"}, False),
    "ModelMissing": ({"fault": "404"}, False),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Simulator]]:
    with running(tmp_path_factory.mktemp("failover"), account_spec=SHORT) as pair:
        yield pair


def fresh_accounts(gateway: Gateway, simulator: Simulator, tag: str) -> None:
    """Give the next test accounts that nobody has seen failing: same credentials, new names."""
    documents: list[Any] = [plan("open", maxConcurrentRequests=4096)]
    for name in simulator.accounts:
        documents += account(f"{name}-{tag}", simulator.url, f"sim-key-{name}", **SHORT)
    gateway.write(documents)
    wanted = {f"{name}-{tag}" for name in simulator.accounts}
    wait_until("the router has them", lambda: {row["name"] for row in gateway.accounts()} == wanted, pause=0.2)
    gateway.await_catalog()


@pytest.mark.timeout(400)
@pytest.mark.xdist_group("failover")
@pytest.mark.parametrize("name", list(CLASSES))
def test_no_client_sees_one_account_fail(stack: tuple[Gateway, Simulator], name: str) -> None:
    gateway, simulator = stack
    number = list(CLASSES).index(name)
    fresh_accounts(gateway, simulator, f"n{number}")
    simulator.clear()
    simulator.forget()
    behaviour, probe_too = CLASSES[name]
    simulator.faults("b", {"operation": "any" if probe_too else "messages", "set": behaviour})
    key = gateway.key()
    stream_only = "stream" in name or "message_start" in name
    bodies = [payload("tokens=8", stream=stream_only or index % 2 == 0) for index in range(REQUESTS)]
    seen = asyncio.run(many(gateway.port, key, bodies, AT_ONCE))
    failed = collections.Counter((one.status, one.body[-200:]) for one in seen if not one.good)
    assert not failed, failed.most_common(3)
    faulty = [record for record in simulator.messages() if record["fault"]]
    assert faulty, "the fault was never met"
    assert {record["account"] for record in faulty} == {"b"}


@pytest.mark.xdist_group("failover")
def test_silence_is_absorbed_too(stack: tuple[Gateway, Simulator]) -> None:
    gateway, simulator = stack
    fresh_accounts(gateway, simulator, "silent")
    simulator.clear()
    simulator.forget()
    simulator.faults("b", {"operation": "messages", "set": {"fault": "silence"}})
    key = gateway.key()
    seen = asyncio.run(many(gateway.port, key, [payload("tokens=8", stream=True)] * 300, AT_ONCE))
    failed = collections.Counter((one.status, one.body[-200:]) for one in seen if not one.good)
    assert not failed, failed.most_common(3)
    assert any(record["fault"] for record in simulator.messages())


@pytest.mark.xdist_group("failover")
def test_a_burst_does_not_herd(stack: tuple[Gateway, Simulator]) -> None:
    """64 at once against accounts that take 40 at once: one fails, the others are not tripped by what it leaves."""
    gateway, simulator = stack
    fresh_accounts(gateway, simulator, "burst")
    simulator.clear()
    simulator.forget()
    simulator.faults("b", {"operation": "messages", "set": {"fault": "429", "retry_after": "5"}})
    key = gateway.key()
    seen = asyncio.run(many(gateway.port, key, [payload("latency=300ms tokens=8")] * 64, 64))
    assert all(one.good for one in seen)
    most = {name: max((r["concurrent"] for r in simulator.messages(account=name)), default=0) for name in "ac"}
    assert max(most.values()) <= 44, most
    states = {row["name"]: row["ready"] for row in gateway.accounts()}
    assert states["a-burst"]
    assert states["c-burst"]


@pytest.mark.xdist_group("failover")
def test_a_poison_request_hurts_no_account(stack: tuple[Gateway, Simulator]) -> None:
    gateway, simulator = stack
    fresh_accounts(gateway, simulator, "poison")
    simulator.clear()
    simulator.forget()
    key = gateway.key()
    poison = asyncio.run(many(gateway.port, key, [payload("fault=500")] * 6, 1))
    assert {one.status for one in poison} == {502}
    by_request = collections.Counter(record["request_id"] for record in simulator.messages())
    assert set(by_request.values()) == {2}, "a poison request walks through the pool"
    # Accounts that failed last are tried less often for a moment, so it takes some requests to see them all.
    healthy = asyncio.run(many(gateway.port, key, [payload("tokens=4")] * 400, 16))
    assert all(one.good for one in healthy)
    served = {record["account"] for record in simulator.messages() if record["state"] == "complete"}
    assert served == {"a", "b", "c"}
    assert all(row["ready"] for row in gateway.accounts())


@pytest.mark.xdist_group("failover")
@pytest.mark.parametrize(
    "fault",
    ["stream_error_after error=api_error", "cut_mid_stream", "cut_mid_chunk", "end_early", "silence_mid_stream"],
)
def test_a_failure_after_output_is_an_error_event_and_never_a_normal_end(
    stack: tuple[Gateway, Simulator], fault: str
) -> None:
    gateway, simulator = stack
    fresh_accounts(gateway, simulator, f"after-{fault.partition(' ')[0].replace('_', '-')}")
    simulator.clear()
    simulator.forget()
    key = gateway.key()
    seen = asyncio.run(many(gateway.port, key, [payload(f"fault={fault} after=3 tokens=60", stream=True)] * 5, 5))
    for one in seen:
        assert one.status == 200
        assert one.error_event
        assert not one.whole_stream
        assert b"content_block_delta" in one.body
        assert one.body.rstrip().rpartition(b"event: ")[2].startswith(b"error")
    assert len(simulator.messages()) == 5, "a stream whose output has begun is not tried again"
    rows = {row["request_id"]: row for row in settled(gateway, [one.request_id for one in seen])}
    assert {rows[one.request_id]["state"] for one in seen} == {"error_after_output"}


def settled(gateway: Gateway, ids: list[str]) -> list[dict[str, Any]]:
    def rows() -> list[dict[str, Any]]:
        return [row for row in gateway.usage() if row["request_id"] in ids]

    wait_until("all are settled", lambda: len(rows()) == len(ids), pause=0.2)
    return rows()


@pytest.mark.xdist_group("failover")
@pytest.mark.parametrize(
    ("behaviour", "status", "kind"),
    [
        ({"fault": "429", "retry_after": "7"}, 429, "rate_limit_error"),
        ({"fault": "529"}, 529, "overloaded_error"),
        ({"fault": "401"}, 502, "api_error"),
        ({"fault": "403"}, 502, "api_error"),
        ({"fault": "402"}, 502, "api_error"),
        ({"fault": "cut_before_headers"}, 502, "api_error"),
    ],
)
def test_when_every_account_fails_the_last_failure_decides(
    stack: tuple[Gateway, Simulator], behaviour: dict[str, Any], status: int, kind: str
) -> None:
    gateway, simulator = stack
    fresh_accounts(gateway, simulator, "all-" + "-".join(map(str, behaviour.values())).replace("_", "-"))
    simulator.clear()
    simulator.faults("*", {"operation": "messages", "set": behaviour})
    key = gateway.key()
    answer = httpx.post(f"{gateway.url}/v1/messages", content=payload(), headers={"x-api-key": key}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert answer.json()["request_id"] == answer.headers["request-id"]
    again = httpx.post(f"{gateway.url}/v1/messages", content=payload(), headers={"x-api-key": key}, timeout=60)
    if status == 429:
        assert again.status_code == 429
        assert 1 <= int(again.headers["retry-after"]) <= 8
    if status == 529:
        assert again.status_code == 529
        assert 1 <= int(again.headers["retry-after"]) <= 11
