"""A plan gets a limit, or a key another plan: windows that a key has no counter for yet start from the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from random import Random

import pytest

from penstock_auth.counters import (
    Amounts,
    Kind,
    LeaseReturn,
    LedgerRow,
    Limit,
    ProjectHistory,
    Scope,
    SettleEffect,
    StoreDown,
    Unit,
)
from tests.contract.counters.conftest import Desk

MINUTE, HOUR, DAY, MONTH = 60_000, 3_600_000, 86_400_000, 31 * 86_400_000
RPM = Limit("per-minute", Unit.REQUESTS, 100, MINUTE)
RPH = Limit("per-hour", Unit.REQUESTS, 1_000, HOUR)
RPH_OF_ALL = Limit("all-per-hour", Unit.REQUESTS, 1_000, HOUR, Scope.PROJECT)
TOKENS = Limit("tokens", Unit.TOTAL_TOKENS, 10_000, HOUR)
MONTHLY = Limit("monthly", Unit.TOTAL_TOKENS, 10_000, MONTH)
TOKENS_OF_ALL = Limit("all-tokens", Unit.INPUT_TOKENS, 100_000, DAY, Scope.PROJECT)
MONEY = Limit("money", Unit.COST, 10_000, DAY)


class Office:
    """A ledger, plans and keys around a desk's store; the store sees of the ledger what an auth's would."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.rows: list[LedgerRow] = []
        self.plans: dict[str, tuple[Limit, ...]] = {}
        self.reads = 0
        self.pause: asyncio.Event | None = None
        self.reading = asyncio.Event()
        self.down = False
        desk.truth.history = self.history

    async def history(self, project: str) -> ProjectHistory:
        self.reads += 1
        if self.down:
            raise StoreDown("the ledger is down")
        history = ProjectHistory(list(self.rows), dict(self.plans))
        self.reading.set()
        if self.pause is not None:
            await self.pause.wait()
        return history

    async def allow(self, session: str = "edge-a", key: str = "k1", **fields: object):
        return await self.desk.allow(session, key, limits=self.plans[key], **fields)

    def commit(self, key: str = "k1", session: str = "edge-a", **fields: int) -> LedgerRow:
        used = {"admitted_at_ms": self.desk.clock.now, "input_tokens": 10} | fields
        row = LedgerRow(key, request_id=f"r{len(self.rows)}", session=session, **used)
        self.rows.append(row)
        return row

    async def count(self, row: LedgerRow) -> None:
        fields = {name: getattr(row, name) for name in ("key", "session", "request_id", "admitted_at_ms")}
        used = {name: getattr(row, name) for name in ("input_tokens", "output_tokens", "micro_usd")}
        await self.desk.store.settle([SettleEffect("p1", limits=self.plans[row.key], **fields, **used)])

    async def settle(self, key: str = "k1", session: str = "edge-a", **fields: int) -> None:
        await self.count(self.commit(key, session, **fields))

    async def left(self, key: str = "k1", **fields: object) -> dict[str, int]:
        return {state.name: state.remaining for state in (await self.allow(key=key, **fields)).limits}


@pytest.fixture
def office(desk):
    made = Office(desk)
    made.plans = {"k1": (RPM, TOKENS), "k2": (RPM,)}
    return made


async def test_a_new_limit_starts_from_the_ledger(office):
    await office.allow()
    await office.settle(input_tokens=7_000, micro_usd=900)
    assert office.reads == 1  # the first look at the project
    office.plans["k1"] = (RPM, TOKENS, MONTHLY, MONEY)
    assert await office.left() == {"per-minute": 100, "tokens": 3_000, "monthly": 3_000, "money": 9_100}
    assert (await office.allow(need=Amounts(input_tokens=3_001))).denial.limit == "monthly"


async def test_a_limit_whose_window_changed_starts_from_the_ledger(office):
    await office.allow()
    await office.settle(input_tokens=7_000)
    await office.desk.pass_ms(2 * HOUR)
    await office.settle(input_tokens=1_000)
    office.plans["k1"] = (dataclasses.replace(TOKENS, window_ms=5 * HOUR),)
    assert await office.left() == {"tokens": 2_000}
    office.plans["k1"] = (dataclasses.replace(TOKENS, window_ms=HOUR // 2),)
    assert await office.left() == {"tokens": 9_000}


async def test_another_name_or_amount_asks_the_ledger_nothing(office):
    await office.allow()
    await office.settle(input_tokens=7_000)
    office.plans["k1"] = (RPM, dataclasses.replace(TOKENS, name="other", amount=8_000))
    assert await office.left() == {"per-minute": 100, "other": 1_000}
    assert office.reads == 1


async def test_nothing_is_asked_for_a_new_key_nor_for_fewer_limits_nor_when_nothing_changed(office):
    for _ in range(3):
        await office.allow()
    office.plans["new"] = (RPM, MONTHLY, TOKENS_OF_ALL)
    assert await office.left("new") == {"per-minute": 100, "monthly": 10_000, "all-tokens": 100_000}
    await office.settle("new", input_tokens=4)
    office.plans["k1"] = (TOKENS,)
    await office.allow()
    assert office.reads == 1


async def test_a_key_that_comes_back_to_a_plan_has_used_what_it_used_elsewhere(office):
    for key in ("k1", "k2"):
        await office.allow(key=key)
    await office.settle(input_tokens=1_000)
    office.plans["k1"] = (RPM,)
    await office.allow()
    await office.settle(input_tokens=2_000)
    office.plans["k1"] = (RPM, TOKENS, TOKENS_OF_ALL)
    assert await office.left() == {"per-minute": 100, "tokens": 7_000, "all-tokens": 97_000}


async def test_what_is_settled_under_another_plan_before_anybody_asks_is_not_missed(office):
    await office.allow()
    office.plans["k1"] = (RPM,)
    await office.settle(input_tokens=2_000)
    office.plans["k1"] = (RPM, TOKENS)
    assert (await office.left())["tokens"] == 8_000


async def test_a_project_s_window_that_a_key_joins_has_its_use(office):
    office.plans["k2"] = (TOKENS_OF_ALL, RPH_OF_ALL)
    for key in ("k1", "k2"):
        await office.allow(key=key)
        await office.settle(key, input_tokens=500)
    assert await office.left("k2") == {"all-tokens": 99_500, "all-per-hour": 1_000}
    office.plans["k1"] = (TOKENS_OF_ALL, RPH_OF_ALL)
    assert (await office.left("k1"))["all-tokens"] == 99_000
    assert (await office.left("k2"))["all-tokens"] == 99_000
    assert office.reads == 2


async def test_leases_go_with_the_change_once(office):
    lent = (await office.allow(need_requests=10)).grant
    other = (await office.allow("edge-b", need_requests=5)).grant
    for _ in range(4):  # of the ten
        await office.settle()
    office.plans["k1"] = (RPM, RPH)
    assert await office.left() == {"per-minute": 85, "per-hour": 985}
    await office.allow(returned=(LeaseReturn(lent.lease_id, 6),))
    assert await office.left() == {"per-minute": 89, "per-hour": 989}
    for _ in range(2):  # the others of the six
        await office.settle()
    await office.allow("edge-b", returned=(LeaseReturn(other.lease_id, 0),))
    assert await office.left() == {"per-minute": 94, "per-hour": 994}


async def test_requests_of_leases_that_came_back_count_by_their_rows(office):
    lent = (await office.allow(need_requests=10)).grant
    await office.settle()
    await office.allow(returned=(LeaseReturn(lent.lease_id, 3),))
    open_since = office.desk.clock.now
    await office.desk.pass_ms(5_000)
    office.plans["k1"] = (RPM, RPH)
    assert await office.left() == {"per-minute": 97, "per-hour": 999}  # two are open, and have no row yet
    for _ in range(2):
        row = office.commit(admitted_at_ms=open_since)
        for _ in range(2):
            await office.count(row)
    assert await office.left() == {"per-minute": 97, "per-hour": 997}


async def test_leases_of_count_tokens_go_with_the_change_too(office):
    await office.allow(kind=Kind.COUNT_TOKENS, need_requests=7)
    office.plans["k1"] = (RPM, RPH)
    assert await office.left(kind=Kind.COUNT_TOKENS) == {"per-minute": 93, "per-hour": 993}
    assert await office.left() == {"per-minute": 100, "per-hour": 1_000}


async def test_what_is_settled_while_the_ledger_is_read_counts_once(office):
    await office.allow()
    await office.settle(input_tokens=100)
    committed = office.commit(input_tokens=20)  # the counters have not heard of it
    office.plans["k1"] = (RPM, TOKENS, MONTHLY)
    office.pause = asyncio.Event()
    office.reading.clear()
    asking = asyncio.create_task(office.left())
    await office.reading.wait()
    later = office.commit(input_tokens=3)
    settling = [asyncio.create_task(office.count(row)) for row in (committed, later)]
    await asyncio.sleep(0.1)
    office.pause.set()
    await asyncio.gather(asking, *settling)
    assert await office.left() == {"per-minute": 100, "tokens": 9_877, "monthly": 9_877}
    for row in (committed, later):
        await office.count(row)
    assert (await office.left())["monthly"] == 9_877


async def test_while_the_ledger_is_down_only_keys_whose_plan_changed_wait(office):
    for key in ("k1", "k2"):
        await office.allow(key=key)
    await office.settle(input_tokens=100)
    before, office.plans["k1"] = office.plans["k1"], (RPM, TOKENS, MONTHLY)
    office.down = True
    with pytest.raises(StoreDown):
        await office.allow()
    assert (await office.allow(key="k2", need_requests=1)).grant
    await office.settle("k2")
    assert (await office.desk.allow(limits=before)).limits[1].remaining == 9_900
    office.down = False
    assert await office.left() == {"per-minute": 100, "tokens": 9_900, "monthly": 9_900}


async def test_who_gives_up_waiting_for_a_frozen_ledger_does_not_end_the_count(office):
    await office.allow()
    await office.settle(input_tokens=100)
    office.plans["k1"] = (RPM, TOKENS, MONTHLY)
    office.pause = asyncio.Event()
    for _ in range(3):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await office.allow()
    office.pause.set()
    assert (await office.left())["monthly"] == 9_900
    assert office.reads == 2


async def test_ten_thousand_keys_of_a_project_are_one_question(office):
    keys = [f"key-{n}" for n in range(10_000)]
    office.plans = dict.fromkeys(keys, (RPM,))
    office.rows = [LedgerRow(key, office.desk.clock.now, 1, 10) for key in keys]
    await office.allow(key="key-0")
    office.plans = dict.fromkeys(keys, (RPM, TOKENS, TOKENS_OF_ALL))
    async with asyncio.timeout(60):
        left = await asyncio.gather(*(office.left(key) for key in keys[::100]))
    assert all(each["tokens"] == 9_990 and each["all-tokens"] == 0 for each in left)
    assert office.reads == 2


async def test_many_projects_whose_plan_changed_are_not_read_all_at_once(office):
    desk, names = office.desk, [f"p{n}" for n in range(60)]
    for name in names:
        await desk.allow(key=name, project=name, limits=(RPM,))
    office.plans = dict.fromkeys(names, (RPM, TOKENS))
    reading = most = 0
    honest = desk.truth.history

    async def counted(project):
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await asyncio.sleep(0.005)
        reading -= 1
        return await honest(project)

    desk.truth.history = counted
    await asyncio.gather(*(desk.allow(key=name, project=name, limits=office.plans[name]) for name in names))
    assert 1 < most <= 8


PLANS = [
    (),
    (RPM,),
    (RPM, TOKENS),
    (TOKENS, MONTHLY, MONEY),
    (RPM, RPH, MONTHLY),
    (TOKENS_OF_ALL, RPH_OF_ALL),
    (RPM, TOKENS_OF_ALL, MONEY, RPH_OF_ALL),
    (dataclasses.replace(TOKENS, window_ms=5 * HOUR), RPH),
]


@pytest.mark.parametrize("seed", range(12))
async def test_a_counter_after_any_changes_is_the_sum_of_the_ledger(desk, seed):
    """Settlements, moves between plans, time and repeats in any order; a bucket's worth of time is left out."""
    random, office = Random(seed), Office(desk)
    keys = ["k1", "k2", "k3", "k1/next"]
    office.plans = {key: random.choice(PLANS) for key in keys}
    for key in keys:
        await office.allow(key=key)
    for _ in range(60):
        key = random.choice(keys)
        what = random.choices(["settle", "move", "move all", "ask", "wait", "again"], [8, 3, 1, 3, 2, 1])[0]
        if what == "settle":
            used = {name: random.randrange(200) for name in ("input_tokens", "output_tokens", "micro_usd")}
            await office.settle(key, **used)
        elif what == "again" and office.rows:
            await office.count(random.choice(office.rows[-5:]))
        elif what == "move":
            office.plans[key] = random.choice(PLANS)
        elif what == "move all":
            office.plans = {key: random.choice(PLANS) for key in keys}
        elif what == "wait":
            await desk.pass_ms(random.choice([1_000, 40_000, 10 * MINUTE]))
        else:
            await office.allow(key=key)
    for _ in range(2):  # A key brings its use into the project's windows when it first asks.
        states = {key: (await office.allow(key=key)).limits for key in keys}
    for key, its in states.items():
        for state, limit in zip(its, _in_order(office.plans[key]), strict=True):
            if state.unit is not Unit.REQUESTS:
                assert state.amount - state.remaining == _sum(office, key, limit), (key, limit)


def _sum(office: Office, key: str, limit: Limit) -> int:
    size = -(-limit.window_ms // 120)
    since = office.desk.clock.now // size - 122
    whose = {
        other
        for other, plan in office.plans.items()
        if any((each.unit, each.window_ms, each.scope) == (limit.unit, limit.window_ms, limit.scope) for each in plan)
        and (limit.scope is Scope.PROJECT or other.partition("/")[0] == key.partition("/")[0])
    }
    rows = [row for row in office.rows if row.key in whose and row.admitted_at_ms // size > since]
    of_input = limit.unit in (Unit.INPUT_TOKENS, Unit.TOTAL_TOKENS)
    of_output = limit.unit in (Unit.OUTPUT_TOKENS, Unit.TOTAL_TOKENS)
    money = limit.unit is Unit.COST
    return sum(of_input * r.input_tokens + of_output * r.output_tokens + money * r.micro_usd for r in rows)


def _in_order(limits: tuple[Limit, ...]) -> list[Limit]:
    """Sort limits as answers have them."""
    return sorted(limits, key=lambda limit: limit.unit is Unit.TOTAL_TOKENS)
