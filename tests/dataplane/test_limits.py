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
    from collections.abc import Mapping, Sequence

    from tests.stack import Gateway

PER_MINUTE = 100
OFFERED_PER_MINUTE = 500
MINUTES = 3
KEYS = 2
APART_SECONDS = 7.0
SLOTS = 10
STREAMS = 64


async def offer(gateway: Gateway, key: str, after: float) -> list[Exchange]:
    """Offer requests at an even pace, whatever comes back."""
    await asyncio.sleep(after)
    begun = time.monotonic()
    tasks = []
    number = 0
    while time.monotonic() - begun < MINUTES * 60:
        tasks.append(asyncio.create_task(exchange(gateway.port, key, payload("tokens=4"))))
        number += 1
        await asyncio.sleep(max(0.0, begun + number * 60 / OFFERED_PER_MINUTE - time.monotonic()))
    return list(await asyncio.gather(*tasks))


def judge(exchanges: Sequence[Exchange], arrivals: Mapping[str, Mapping[str, float]]) -> None:
    """Look at one key's requests, and at those of them that arrived at the upstream."""
    sent = {one.request_id: one.began for one in exchanges if one.status == 200}
    records = [arrivals[request_id] for request_id in sent]
    assert most_in(60.0, [(sent[name], arrivals[name]["arrived_at"]) for name in sent]) <= PER_MINUTE
    moments = sorted(record["arrived"] for record in records)
    later = [moment for moment in moments if moment >= moments[0] + 60.0]
    assert len(later) / (MINUTES - 1) >= 95
    refused = [one for one in exchanges if one.status != 200]
    assert {one.status for one in refused} == {429}
    assert all(b"rate_limit_error" in one.body and int(one.headers["retry-after"]) >= 1 for one in refused)


@pytest.mark.timeout(700)
@pytest.mark.xdist_group("limits-minutes")
def test_requests_per_minute_hold_in_any_minute_and_are_used(tmp_path: Path) -> None:
    """With both stores, and keys whose minutes begin at other moments, all in the same minutes."""
    limit = {"name": "per-minute", "unit": "Requests", "amount": PER_MINUTE, "window": "1m"}
    plans = [plan("slow", limits=[limit])]
    with (
        redis_server() as server,
        running(tmp_path / "memory", "--edges", "2", plans=plans) as in_memory,
        running(tmp_path / "redis", "--edges", "2", "--redis-url", server.url, plans=plans) as in_redis,
    ):
        stacks = (in_memory, in_redis)
        offers = [(stack, stack[0].key(plan="slow"), number) for stack in stacks for number in range(KEYS)]

        async def offer_all() -> list[list[Exchange]]:
            return await asyncio.gather(*(offer(stack[0], key, n * APART_SECONDS) for stack, key, n in offers))

        seen = asyncio.run(offer_all())
        for stack in stacks:
            arrivals = {record["request_id"]: record for record in stack[1].messages()}
            its = [exchanges for (whose, _, _), exchanges in zip(offers, seen, strict=True) if whose is stack]
            for exchanges in its:
                judge(exchanges, arrivals)
            assert len(arrivals) == sum(one.status == 200 for exchanges in its for one in exchanges)


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
