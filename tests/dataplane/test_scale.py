"""Processes come and go under load, as in a cluster with PostgreSQL and a Redis Cluster: clients do not notice.

Every story runs over mutual TLS with two auths and two routers, and looks at the books afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.client import payload
from tests.large_stack import LargeStack, Ledger, Load, bad, compare, most_at_once, most_in
from tests.postgres import postgres_server
from tests.servers import redis_cluster
from tests.stack import Simulator, account, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.xdist_group("scale"), pytest.mark.timeout(600)]

WINDOW_SECONDS, PER_WINDOW = 10, 20
SLOTS = 3
ACCOUNT_SLOTS = 6
# Connections between processes end so often that every story sees edges move between replicas.
CONNECTION_SECONDS = "3"


def key(name: str, follows: str) -> dict[str, Any]:
    """An APIKey."""
    spec = {"project": name, "planRef": {"name": follows}, "secretName": name}
    return {"apiVersion": "penstock.dev/v1alpha1", "kind": "APIKey", "metadata": {"name": name}, "spec": spec}


def resources(simulator: Simulator) -> list[dict[str, Any]]:
    limit = {"name": "few", "unit": "Requests", "amount": PER_WINDOW, "window": f"{WINDOW_SECONDS}s"}
    return [
        plan("open", maxConcurrentRequests=1000, onStoreOutage="Degraded"),
        plan("rated", limits=[limit], maxConcurrentRequests=1000),
        plan("narrow", maxConcurrentRequests=SLOTS),
        *(key(name, follows) for name, follows in (("free", "open"), ("rated", "rated"), ("narrow", "narrow"))),
        *account("a", simulator.url, "sim-key-a", limits={"maxConcurrentRequests": ACCOUNT_SLOTS}),
        *account("b", simulator.url, "sim-key-b"),
    ]


def mixed() -> Callable[[], bytes]:
    """Short answers and streams by turns."""
    kinds = itertools.cycle(
        [
            payload("latency=200ms tokens=20"),
            payload("chunks=15 pace=100ms tokens=45", stream=True),
            payload("latency=400ms tokens=30"),
        ]
    )
    return lambda: next(kinds)


def streams() -> bytes:
    """A stream of three seconds."""
    return payload("chunks=30 pace=100ms tokens=90", stream=True)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    started = Simulator(tmp_path_factory.mktemp("simulator"), ["a", "b"])
    yield started
    started.end()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Iterator[tuple[LargeStack, Ledger]]:
    """Two auths, two routers and two edges, of stores that they share."""
    with postgres_server() as postgres, redis_cluster() as redis:
        database = postgres.database()
        shared = {"REDIS_URL": redis.url, "REDIS_CLUSTER": "true", "MAX_CONNECTION_AGE_SECONDS": CONNECTION_SECONDS}
        shared["REDIS_DEADLINE_SECONDS"] = "2"  # A busy machine is no failing store.
        stack = LargeStack(
            tmp_path_factory.mktemp("large"),
            resources(simulator),
            keys=("free", "rated", "narrow"),
            auth=shared | {"DATABASE_URL": database},
            router=shared,
        )
        try:
            stack.start("auth-0", "auth-1", "router-0", "router-1", "edge-0", "edge-1")
            yield stack, Ledger(database)
        finally:
            stack.end()


def test_edges_come_and_go_and_nothing_is_lost_nor_any_limit_exceeded(
    large: tuple[LargeStack, Ledger], simulator: Simulator
) -> None:
    stack, ledger = large
    more = ("edge-2", "edge-3", "edge-4", "edge-5")

    async def story() -> list[list[Any]]:
        free = Load(stack, "free", mixed(), clients=5)
        rated = Load(stack, "rated", lambda: payload("latency=20ms"), clients=3, pause=0.4)
        narrow = Load(stack, "narrow", lambda: payload("latency=400ms"), clients=6, pause=0.4)
        await free.served(10)
        await asyncio.to_thread(stack.start, *more)
        await free.served_by_all()
        await rated.refused()
        await narrow.refused()
        await asyncio.to_thread(stack.stop, *more)
        await free.served(10)
        return [await load.stop() for load in (free, rated, narrow)]

    free, rated, narrow = asyncio.run(story())
    assert not bad(free)
    assert not bad(rated, 429)
    assert not bad(narrow, 429)
    # What clients were promised was in the books before the edges went: their volumes are empty.
    assert not stack.unsettled()
    rows = ledger.await_rows({one.request_id for one in (*free, *rated, *narrow) if one.good})
    compare(simulator, rows, [*free, *rated, *narrow])
    assert len({row["edge_session"] for row in rows}) == 6, "every edge has served somebody"

    records = simulator.messages()
    sent = {one.request_id: one.began for one in rated if one.good}
    admitted = [(sent[one["request_id"]], one["arrived_at"]) for one in records if one["request_id"] in sent]
    assert most_in(WINDOW_SECONDS, admitted) <= PER_WINDOW
    by_id = {row["request_id"] for row in rows if row["key"] == "narrow"}
    assert most_at_once([record for record in records if record["request_id"] in by_id]) <= SLOTS
    assert simulator.peaks()["a"]["most_open"] <= ACCOUNT_SLOTS


def test_a_rolling_update_of_edges_cuts_no_stream_and_refuses_nobody(
    large: tuple[LargeStack, Ledger], simulator: Simulator
) -> None:
    stack, ledger = large
    simulator.forget()
    before = {row["request_id"] for row in ledger.rows()}

    async def story() -> list[Any]:
        loads = [Load(stack, "free", streams, clients=4), Load(stack, "free", mixed(), clients=2)]
        await loads[1].served(4)
        for old, new in (("edge-0", "edge-6"), ("edge-1", "edge-7")):
            await asyncio.to_thread(stack.start, new)
            await loads[0].streaming()
            await asyncio.to_thread(stack.stop, old)
            await loads[1].served(4)
        return [one for load in loads for one in await load.stop()]

    answers = asyncio.run(story())
    assert not bad(answers)
    assert any(one.whole_stream for one in answers)
    assert not stack.unsettled()
    rows = ledger.await_rows({one.request_id for one in answers})
    compare(simulator, [row for row in rows if row["request_id"] not in before], answers)


@pytest.mark.parametrize("kind", ["auth", "router"])
def test_clients_do_not_notice_that_auths_and_routers_are_exchanged_or_fail(
    large: tuple[LargeStack, Ledger], simulator: Simulator, kind: str
) -> None:
    stack, ledger = large
    simulator.forget()
    before = {row["request_id"] for row in ledger.rows()}

    async def story() -> list[Any]:
        loads = [Load(stack, "free", streams, clients=2), Load(stack, "free", mixed(), clients=3)]
        await loads[1].served(4)
        await asyncio.to_thread(stack.start, f"{kind}-2")
        for old in (f"{kind}-0", f"{kind}-1"):
            await asyncio.to_thread(stack.stop, old)
            await loads[1].served(4)
        # Now every edge uses the one that is left, and the next one is all that they can move to.
        await asyncio.to_thread(stack.start, f"{kind}-0")
        await asyncio.to_thread(stack.kill, f"{kind}-2")
        await loads[1].served(6)
        if kind == "auth":
            await asyncio.to_thread(stack.start, "auth-1")
            stack.freeze("auth-0")
            await loads[1].served(8)
            # It is the other one that books them: this one still stands there.
            good = {one.request_id for one in loads[1].answers if one.good}
            await asyncio.to_thread(ledger.await_rows, good)
            await asyncio.to_thread(stack.kill, "auth-0")
        return [one for load in loads for one in await load.stop()]

    answers = asyncio.run(story())
    assert not bad(answers)
    assert Counter(one.status for one in answers) == {200: len(answers)}
    rows = ledger.await_rows({one.request_id for one in answers})
    compare(simulator, [row for row in rows if row["request_id"] not in before], answers)


def test_in_a_small_cluster_the_one_router_is_exchanged_unnoticed_and_auth_is_missed_by_plans_that_say_so(
    tmp_path: Path, simulator: Simulator
) -> None:
    simulator.forget()
    database = f"sqlite:///{tmp_path}/ledger.db"
    stack = LargeStack(tmp_path, resources(simulator), keys=("free", "rated", "narrow"), auth={"DATABASE_URL": database}, router={})  # fmt: skip
    try:
        stack.start("auth-0", "router-0", "edge-0")

        async def story() -> list[Any]:
            load = Load(stack, "free", mixed(), clients=5)
            await load.served(5)
            await asyncio.to_thread(stack.stop, "router-0")
            await load.served(10)
            await asyncio.to_thread(stack.start, "router-0")
            await load.served(10)
            # SQLite has one writer, so the old auth goes before the new one comes.
            await asyncio.to_thread(stack.stop, "auth-0")
            await load.served(5)
            await asyncio.to_thread(stack.start, "auth-0")
            await load.served(5)
            return await load.stop()

        answers = asyncio.run(story())
        assert not bad(answers)
        assert simulator.peaks()["a"]["most_open"] <= ACCOUNT_SLOTS
        stack.stop("edge-0")
        assert not stack.unsettled()
        assert len(simulator.messages()) == len(answers)
    finally:
        stack.end()
