"""What people see of a request that real processes serve: its trace, and why it went where it went."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.client import exchange, payload
from tests.collector import Collector
from tests.stack import MODEL, account, plan, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Gateway, Simulator

pytestmark = pytest.mark.xdist_group("insight")

PROMPT, COMPLETION = "the-prompt-that-nobody-may-see", "the-completion-that-nobody-may-see"
CALLER, CALLERS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

SESSIONS = 12
PLANS = [
    plan("open", maxConcurrentRequests=4096),
    plan("staff", maxConcurrentRequests=4096, routeHeader="Show"),
    plan("small", models=["gpt-*"], translation="Deny"),
]

Stack = tuple["Gateway", "Simulator", Collector]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    collector = Collector()
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20for-the-collector-alone",
        "OTEL_TRACES_SAMPLER": "parentbased_always_on",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        # Whoever waited for a collector that does not answer would wait that long.
        "OTEL_EXPORTER_OTLP_TIMEOUT": "200",
    }
    try:
        with running(tmp_path_factory.mktemp("insight"), plans=PLANS, env=variables) as (gateway, simulator):
            yield gateway, simulator, collector
    finally:
        collector.end()


def body(directive: str = "", *, stream: bool = False) -> bytes:
    text = f'{PROMPT} [[sim: say="{COMPLETION}" {directive}]]'
    fields = {"model": MODEL, "max_tokens": 99, "stream": stream, "messages": [{"role": "user", "content": text}]}
    return json.dumps(fields).encode()


def test_a_failover_is_one_trace_from_the_edge_to_auth(stack: Stack) -> None:
    gateway, simulator, collector = stack
    key = gateway.key()
    simulator.faults("a", {"operation": "messages", "set": {"fault": "529"}})

    async def until_one_failed() -> None:
        for _ in range(40):
            assert (await exchange(gateway.port, key, body())).good
            if any(record["account"] == "a" for record in simulator.messages()):
                return
        pytest.fail("account a was never tried")

    asyncio.run(until_one_failed())
    simulator.clear()

    def served() -> list:
        return [one for one in collector.named("POST /v1/messages") if one.attributes["penstock.attempts"] == 2]

    (server,) = collector.wait("the request's span", served)
    trace = collector.wait(
        "its settlement", lambda: (found := of(collector, server.trace_id)) and "settle" in found and found
    )
    first, second = sorted(trace[f"chat {MODEL}"], key=lambda one: one.start)
    assert (first.attributes["penstock.account"], first.attributes["penstock.class"]) == ("a", "Overloaded")
    assert second.attributes["penstock.account"] in {"b", "c"}
    assert second.attributes["penstock.class"] == "Ok"
    assert (first.failed, second.failed, server.failed) == (True, False, False)
    assert "first_byte" in second.events
    assert server.attributes["penstock.delivery.state"] == "complete"
    assert server.attributes["penstock.project"] == "demo"
    (row,) = [one for one in gateway.usage() if one["request_id"] == server.attributes["penstock.request_id"]]
    assert server.attributes["gen_ai.usage.output_tokens"] == row["output_tokens"]
    assert server.attributes["http.response.status_code"] == 200
    below = [one for name, spans in trace.items() for one in spans if name != server.name]
    assert {one.parent_id for one in below if one.service == "penstock-edge"} == {server.span_id}
    assert {one.service for one in (server, first, second)} == {"penstock-edge"}
    assert server.resource["service.instance.id"] == "edge-0"
    assert server.resource["deployment.environment.name"] == "test"
    assert collector.headers[0]["authorization"] == "Bearer for-the-collector-alone"

    # The key's first request waited for auth.
    allow = "penstock.auth.v1.AuthService/Allow"
    asked = collector.wait("auth's span", lambda: [one for one in collector.named(allow) if one.parent_id])
    (admit,) = [one for one in collector.named("admit") if one.span_id == asked[0].parent_id]
    assert asked[0].service == "penstock-auth"
    assert asked[0].trace_id == admit.trace_id
    assert admit.start <= asked[0].start <= asked[0].end <= admit.end


def of(collector: Collector, trace_id: str) -> dict[str, list]:
    found: dict[str, list] = {}
    for span in list(collector.spans):
        if span.trace_id == trace_id:
            found.setdefault(span.name, []).append(span)
    return found


def test_the_admin_apis_calls_go_on_to_auth(stack: Stack) -> None:
    gateway, _, collector = stack
    token = (gateway.data_dir / "admin-token").read_text().strip()
    headers = {"authorization": f"Bearer {token}", "traceparent": f"00-{CALLER}-{CALLERS_SPAN}-01"}
    httpx.get(f"{gateway.admin_url}/admin/v1/plans", headers=headers, timeout=90).raise_for_status()
    trace = collector.wait(
        "both spans", lambda: len(found := of(collector, CALLER)) == 2 and [one for (one,) in found.values()]
    )
    auth, status = sorted(trace, key=lambda one: one.service)
    assert (status.service, status.name, status.parent_id) == (
        "penstock-status",
        "GET /admin/v1/plans",
        CALLERS_SPAN,
    )
    assert (auth.service, auth.name) == ("penstock-auth", "penstock.auth.v1.AdminService/ListPlans")
    assert auth.parent_id == status.span_id


def test_nothing_secret_is_exported(stack: Stack) -> None:
    gateway, _, collector = stack
    key = gateway.key()

    async def some_of_everything() -> None:
        for directive in ("", "fault=500", "fault=400", "fault=401", "fault=stream_error_after", "fault=not_json"):
            for stream in (False, True):
                await exchange(gateway.port, key, body(directive, stream=stream))
        await exchange(gateway.port, f"{key[:-1]}x", body())
        async with httpx.AsyncClient(base_url=gateway.url, timeout=90) as client:
            path = f"/v1beta/models/{PROMPT}:generateContent"
            asked = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
            await client.post(f"{path}?key={key}", json=asked)

    asyncio.run(some_of_everything())
    collector.wait("the last of them", lambda: collector.named("POST /v1beta/models/{model}:generateContent"))
    token = (gateway.data_dir / "admin-token").read_text().strip()
    for secret in (PROMPT, COMPLETION, key, "sim-key-", token, "for-the-collector-alone"):
        assert secret.encode() not in collector.raw, secret
    assert key.encode()[:-1] not in collector.raw


async def routes(gateway: Gateway, key: str, sessions: list[str]) -> dict[str, str]:
    """The header that each session is shown; "" where there is none."""
    shown = {}
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
        for session in sessions:
            headers = {"x-api-key": key, "x-session-affinity": session}
            answer = await client.post("/v1/messages", content=payload(), headers=headers)
            assert answer.status_code == 200, answer.text
            shown[session] = answer.headers.get("penstock-route", "")
    return shown


def explained(gateway: Gateway, **question: str) -> dict[str, Any]:
    token = (gateway.data_dir / "admin-token").read_text().strip()
    answer = httpx.post(
        f"{gateway.admin_url}/admin/v1/explain",
        json={"model": MODEL} | question,
        headers={"authorization": f"Bearer {token}"},
        timeout=90,
    )
    assert answer.is_success, answer.text
    return dict(answer.json())


def taken(told: dict[str, Any]) -> list[str]:
    return [row["account"] for row in told["candidates"] if row["verdict"] == "taken"]


def test_what_is_explained_is_what_is_done(stack: Stack) -> None:
    gateway, simulator, _ = stack
    simulator.clear()
    # Accounts that nobody has seen failing: the same credentials under new names.
    wanted = {f"{name}-new": f"sim-key-{name}" for name in simulator.accounts}
    gateway.write([*PLANS, *(part for name, key in wanted.items() for part in account(name, simulator.url, key))])
    wait_until("new accounts", lambda: {row["name"] for row in gateway.accounts() if row["ready"]} == set(wanted))
    gateway.await_catalog()
    key = gateway.key("demo", "staff", "--name", "ci")
    sessions = [f"session-{number}" for number in range(SESSIONS)]
    shown = asyncio.run(routes(gateway, key, sessions))
    for session in sessions[:4]:
        told = explained(gateway, key="ci", session=session)
        (chosen,) = taken(told)
        assert f"{chosen}=taken(affinity)" in shown[session]
        assert told["candidates"][0]["why"] == "affinity"
        assert (told["key"]["plan"], told["project"], told["refusals"]) == ("staff", "demo", [])
    # Different sessions go to different accounts, so the four above were not right by accident.
    assert len({header.partition("=taken")[0].rpartition(" ")[2] for header in shown.values()}) > 1

    # Others are shown nothing.
    assert set(asyncio.run(routes(gateway, gateway.key(), sessions[:2])).values()) == {""}

    # An account that fails is told of, by the header and by the router.
    favourite = taken(explained(gateway, key="ci", session=sessions[0]))[0]
    simulator.faults(favourite.removesuffix("-new"), {"operation": "messages", "set": {"fault": "529"}})
    (failed_over,) = asyncio.run(routes(gateway, key, sessions[:1])).values()
    assert failed_over.startswith(f"{favourite}=tried(Overloaded), ")
    told = wait_until(
        "the router knows",
        lambda: (
            (now := explained(gateway, project="demo", session=sessions[0]))["candidates"][-1]["why"] == "Overloaded"
            and now
        ),
    )
    last = told["candidates"][-1]
    assert (last["account"], last["verdict"], last["rank"]) == (favourite, "cooling", None)
    assert 0 < last["soonest_ms"] <= 10_000
    assert last["state"]["cooldowns"][0]["class"] == "Overloaded"
    (cooled,) = asyncio.run(routes(gateway, key, sessions[:1])).values()
    assert f"{favourite}=cooling(Overloaded " in cooled
    assert f"{taken(told)[0]}=taken(affinity)" in cooled
    assert "sim-key" not in failed_over + cooled
    assert simulator.url not in failed_over + cooled

    # What a plan refuses is said, by the command too.
    gateway.key("other", "small", "--name", "poor")
    refused = gateway.cli("explain", "--model", MODEL, "--key", "poor", "--dialect", "openai_chat")
    assert [each["reason"] for each in refused["refusals"]] == ["ModelNotInPlan", "NoTranslation"]
    simulator.clear()


def test_a_frozen_collector_slows_neither_requests_nor_the_end(stack: Stack) -> None:
    gateway, _, collector = stack
    key = gateway.key()
    asyncio.run(exchange(gateway.port, key, body()))
    collector.freeze()

    async def many() -> None:
        for _ in range(60):
            assert (await exchange(gateway.port, key, body())).good

    asyncio.run(many())
    wait_until("drops are counted", lambda: gateway.metric("edge-0", "penstock_trace_spans_dropped_total") > 0)
    assert gateway.end() == 0
    said = [line for line in gateway.log().split("\n") if '"ended"' in line]
    assert any(json.loads(line)["process"] == "edge-0" for line in said), "it was killed: it waited for the collector"
