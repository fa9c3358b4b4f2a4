"""A limit is a limit: with real processes, measured at the upstream."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.client import Exchange, exchange, payload
from tests.large_stack import most_in
from tests.servers import redis_server
from tests.stack import plan, running, wait_until

if TYPE_CHECKING:
    from tests.stack import Gateway, Simulator

PER_MINUTE = 100
OFFERED_PER_MINUTE = 1000
MINUTES = 4
SLOTS = 10
STREAMS = 64


async def offer(gateway: Gateway, key: str, seconds: float) -> list[Exchange]:
    """Offer requests at an even pace, whatever comes back."""
    begun = time.monotonic()
    tasks = []
    number = 0
    while time.monotonic() - begun < seconds:
        tasks.append(asyncio.create_task(exchange(gateway.port, key, payload("tokens=4"))))
        number += 1
        await asyncio.sleep(max(0.0, begun + number * 60 / OFFERED_PER_MINUTE - time.monotonic()))
    return list(await asyncio.gather(*tasks))


@pytest.mark.timeout(700)
@pytest.mark.parametrize(
    "store",
    [pytest.param(name, marks=pytest.mark.xdist_group(f"limits-{name}")) for name in ("memory", "redis")],
)
def test_requests_per_minute_hold_in_any_minute_and_are_used(store: str, tmp_path: Path) -> None:
    limit = {"name": "per-minute", "unit": "Requests", "amount": PER_MINUTE, "window": "1m"}
    plans = [plan("slow", limits=[limit])]

    def measure(gateway: Gateway, simulator: Simulator) -> None:
        key = gateway.key(plan="slow")
        minutes = MINUTES if store == "memory" else 2
        exchanges = asyncio.run(offer(gateway, key, minutes * 60))
        sent = {one.request_id: one.began for one in exchanges if one.status == 200}
        records = simulator.messages()
        assert most_in(60.0, [(sent[one["request_id"]], one["arrived_at"]) for one in records]) <= PER_MINUTE
        moments = sorted(record["arrived"] for record in records)
        later = [moment for moment in moments if moment >= moments[0] + 60.0]
        assert len(later) / (minutes - 1) >= 95
        refused = [one for one in exchanges if one.status != 200]
        assert {one.status for one in refused} == {429}
        assert all(b"rate_limit_error" in one.body and int(one.headers["retry-after"]) >= 1 for one in refused)
        assert len(moments) == len(sent)

    if store == "memory":
        with running(tmp_path, "--edges", "2", plans=plans) as (gateway, simulator):
            measure(gateway, simulator)
    else:
        with (
            redis_server() as server,
            running(tmp_path, "--edges", "2", "--redis-url", server.url, plans=plans) as (gateway, simulator),
        ):
            measure(gateway, simulator)


@pytest.mark.xdist_group("limits-slots")
def test_concurrency_is_never_exceeded_and_is_used(tmp_path: Path) -> None:
    plans = [plan("narrow", maxConcurrentRequests=SLOTS)]
    with running(tmp_path, "--edges", "2", plans=plans) as (gateway, simulator):
        key = gateway.key(plan="narrow")

        async def insist() -> int:
            """Repeat a stream until it is served; returns how often it was refused."""
            refusals = 0
            while True:
                seen = await exchange(gateway.port, key, payload("chunks=10 pace=120ms", stream=True))
                if seen.status == 200:
                    assert seen.good
                    return refusals
                assert (seen.status, b"rate_limit_error" in seen.body) == (429, True), seen.body
                refusals += 1
                await asyncio.sleep(0.1)

        async def all_of_them() -> list[int]:
            return list(await asyncio.gather(*(insist() for _ in range(STREAMS))))

        refusals = asyncio.run(all_of_them())
        records = simulator.messages()
        edges = sorted([(record["arrived"], 1) for record in records] + [(record["ended"], -1) for record in records])
        open_now = most = 0
        for _, step in sorted(edges, key=lambda pair: (pair[0], pair[1])):
            open_now += step
            most = max(most, open_now)
        assert most <= SLOTS
        assert most >= SLOTS - 2, "the slots that there are should be used"
        assert sum(refusals) > 0


@pytest.mark.xdist_group("limits-slots")
def test_credit_and_spend_limits_end_requests_with_their_own_errors(tmp_path: Path) -> None:
    plans = [
        plan("prepaid", credit="Required"),
        plan("forbidding", credit="Required", errorProfile="ForbiddenWhenOutOfCredit"),
    ]
    with running(tmp_path, plans=[*plans, plan("open")]) as (gateway, simulator):
        broke = gateway.key("broke", "prepaid")
        seen = asyncio.run(exchange(gateway.port, broke, payload()))
        assert (seen.status, b"billing_error" in seen.body) == (402, True)
        assert seen.headers["x-should-retry"] == "false"
        forbidden = gateway.key("broke", "forbidding")
        seen = asyncio.run(exchange(gateway.port, forbidden, payload()))
        assert (seen.status, b"permission_error" in seen.body) == (403, True)
        gateway.cli("credit", "add", "--project", "broke", "--usd", "5.00")
        wait_until("credit is there", lambda: asyncio.run(exchange(gateway.port, broke, payload())).status == 200)
        limited = gateway.key("limited", "open", "--spend-limit-usd", "0.01")
        statuses = []
        for _ in range(40):
            seen = asyncio.run(exchange(gateway.port, limited, payload("tokens=500", max_tokens=500)))
            statuses.append(seen.status)
            if seen.status != 200:
                break
        assert statuses[-1] == 403
        assert b"permission_error" in seen.body
        assert b"spend limit" in seen.body
        spent = gateway.cli("usage", "summary", "--project", "limited")["cost_micro"]
        assert 0 < spent <= 10_000
        assert simulator.messages()
