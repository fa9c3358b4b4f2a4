"""Both ledgers under both stores of counters: new windows start from the rows, and an unanswering ledger is an outage."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import pytest

from penstock.auth.v1 import auth_pb2
from penstock_auth import lending
from penstock_auth.counters import AllowCall, SettleEffect
from penstock_auth.counters_memory import MemoryCounters
from penstock_auth.counters_redis import RedisCounters
from penstock_auth.errors import DatabaseDown
from penstock_auth.key_book import KeyBook
from penstock_auth.lending import Lender
from penstock_auth.plans import view
from penstock_auth.pricing import Usage
from penstock_auth.sessions import SessionBook
from penstock_auth.truth import SqlTruth
from penstock_catalog.documents import AuthCatalog, Plan, PlanLimit
from tests.contract.ledger.books import NOW, attempt, settlement
from tests.servers import redis_server

MINUTE, HOUR, DAY, MONTH = 60_000, 3_600_000, 86_400_000, 31 * 86_400_000
RPM = PlanLimit(name="rpm", unit="Requests", amount=1_000, window_ms=MINUTE)
MONTHLY = PlanLimit(name="monthly", unit="TotalTokens", amount=100_000, window_ms=MONTH)
DAILY_OF_ALL = PlanLimit(name="daily", unit="InputTokens", amount=100_000, window_ms=DAY, scope="Project")
MONEY = PlanLimit(name="money", unit="CostMicroUSD", amount=10**9, window_ms=5 * HOUR)
PER_DAY = PlanLimit(name="per-day", unit="Requests", amount=1_000, window_ms=DAY)


class Office:
    """An auth's parts around a ledger and a store, on the ledger's clock."""

    def __init__(self, books, url: str) -> None:
        self.books = books
        self.keys = KeyBook(books.database, monotonic=lambda: 0.0)
        sessions = SessionBook(books.database, lambda: books.now)
        truth = SqlTruth(books.database, sessions, self.keys, lambda: books.now)
        clock = {"clock": lambda: books.now}
        self.store = (
            RedisCounters(url, truth, deadline_seconds=10.0, **clock) if url else MemoryCounters(truth, **clock)
        )
        self.seq = 0
        self.made: list = []
        self.digests: dict[str, bytes] = {}

    def put(self, *limits: PlanLimit, **more) -> None:
        self.keys.catalog = view(AuthCatalog(plans=(Plan(name="team", limits=limits, **more),)).sealed())

    async def left(self, key: str = "k1") -> dict[str, int]:
        self.seq += 1
        limits = self.keys.catalog.limits_of("team")
        call = AllowCall(project="demo", key=key, session="edge-1", seq=self.seq, epoch=self.epoch, limits=limits)
        return {state.name: state.remaining for state in (await self.store.allow(call)).limits}

    async def settle(self, request_id: str, usage: Usage, key: str = "k1") -> None:
        one = settlement(request_id, key_id=key, admitted_at_ms=self.books.now, attempts=(attempt(usage=usage),))
        row = (await self.books.settle(one)).rows[request_id]
        self.made.append((row, usage))
        used = (row.usage.whole_input, row.usage.output_tokens, row.cost_micro)
        limits = self.keys.catalog.limits_of("team")
        await self.store.settle(
            [SettleEffect("demo", key, "edge-1", request_id, row.admitted_at_ms, *used, limits=limits)]
        )

    async def ask(self, key: str = "k1") -> auth_pb2.AllowResponse:
        """Ask as an edge does."""
        self.seq += 1
        lender = Lender(self.books.database, self.keys, self.store, lambda: self.books.now)
        return await lender.allow(
            auth_pb2.AllowRequest(
                edge_session="edge-1", seq=self.seq, key_sha256=self.digests[key], epoch=self.epoch, kind=1,
                need_requests=1,
            )
        )  # fmt: skip


@pytest.fixture(params=["memory", "redis"])
async def office(request, books):
    with redis_server() if request.param == "redis" else contextlib.nullcontext() as server:
        made = Office(books, server.url if server else "")
        made.digests = {key: (await books.add_key(key)).digest for key in ("k2", "k3")}
        await made.store.open()
        made.epoch = (await made.store.epoch()).id
        yield made
        await made.store.close()


async def test_new_windows_start_from_rows_of_all_ages(office):
    office.put(RPM)
    await office.left()
    for number, age in enumerate((20 * DAY, 2 * DAY, 10 * HOUR, HOUR, 30_000)):
        office.books.now = NOW - age
        await office.settle(f"r{number}", Usage(1_000, 100))
    office.books.now = NOW
    office.put(RPM, MONTHLY, DAILY_OF_ALL, MONEY, PER_DAY)
    left = {"rpm": 1_000, "monthly": 94_500, "daily": 97_000, "money": 10**9 - 2 * 4_500, "per-day": 997}
    assert await office.left() == left
    assert await office.left("k2") == {
        "rpm": 1_000,
        "monthly": 100_000,
        "daily": 97_000,
        "money": 10**9,
        "per-day": 1_000,
    }


@pytest.mark.parametrize("seed", range(8))
async def test_a_counter_is_the_sum_of_the_ledger_after_any_changes(office, seed):
    random = Random(seed)
    office.put(RPM)
    office.books.now = NOW - DAY // 2
    for key in ("k1", "k2"):
        await office.left(key)
    for number in range(30):
        office.books.now += random.choice([0, 1_000, 20 * MINUTE])
        key = random.choice(["k1", "k2"])
        if random.random() < 0.3:
            office.put(*random.sample([RPM, MONTHLY, DAILY_OF_ALL, MONEY], random.randrange(5)))
            if random.random() < 0.5:
                await office.left(key)
        await office.settle(f"r{number}", Usage(random.randrange(500), random.randrange(500)), key)
    office.put(MONTHLY, DAILY_OF_ALL)
    for key in ("k1", "k2"):  # A key brings its use into the project's windows when it first asks.
        await office.left(key)
    for key in ("k1", "k2"):
        mine = sum(row.usage.whole_input + row.usage.output_tokens for row, _ in office.made if row.key_id == key)
        everybodys = sum(row.usage.whole_input for row, _ in office.made)
        assert await office.left(key) == {"monthly": 100_000 - mine, "daily": 100_000 - everybodys}


@pytest.mark.parametrize("policy", ["Closed", "Degraded"])
@pytest.mark.parametrize("how", ["down", "frozen"])
async def test_a_ledger_that_does_not_answer_is_an_outage_for_keys_whose_plan_changed(office, how, policy, monkeypatch):
    office.put(RPM, on_store_outage=policy)
    for key in ("k2", "k3"):
        assert (await office.ask(key)).HasField("allowance")
    await office.settle("r1", Usage(1_000, 100), "k2")
    office.put(RPM, MONTHLY, on_store_outage=policy)
    honest = office.books.database.read

    async def silent(*_, **__):
        if how == "down":
            raise DatabaseDown("it did not answer")
        await asyncio.sleep(60)

    monkeypatch.setattr(lending, "_STORE_SECONDS", 0.3)
    monkeypatch.setattr(office.books.database, "read", silent)
    answer = await office.ask("k2")
    assert answer.denial.reason == auth_pb2.DENIAL_REASON_STORE_DOWN
    assert answer.key.on_store_outage == policy
    office.put(RPM, on_store_outage=policy)
    assert (await office.ask("k3")).HasField("allowance")  # one whose plan is as it was
    office.put(RPM, MONTHLY, on_store_outage=policy)
    monkeypatch.setattr(office.books.database, "read", honest)
    if how == "frozen":
        await office.store._recounting.close()
    assert (await office.left("k2"))["monthly"] == 98_900
