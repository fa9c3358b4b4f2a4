"""Slots, tokens and money: absolute holdings of (session, key), settled usage, spend limits and credit."""

from __future__ import annotations

import pytest

from penstock_auth.counters import Amounts, Limit, Reason, Scope, SettleEffect, SpendLimit, Unit, Versioned

TPM = (Limit("tokens", Unit.INPUT_TOKENS, 1000, 60_000),)
TOTAL = (Limit("total", Unit.TOTAL_TOKENS, 1000, 60_000),)
COST = (Limit("cost", Unit.COST, 1000, 3_600_000, Scope.PROJECT),)


def effect(desk, request_id="req_1", key="k1", session="edge-a", **fields):
    base = {"input_tokens": 0, "output_tokens": 0, "micro_usd": 0, "admitted_at_ms": desk.clock.now}
    return SettleEffect(project="p1", key=key, session=session, request_id=request_id, **(base | fields))


async def test_slots_of_all_edges_never_exceed_the_limit(desk):
    for session in ("edge-a", "edge-b"):
        await desk.store.touch_session(session)
    first = await desk.allow("edge-a", need=Amounts(slots=6), max_slots=10)
    assert first.grant.holding == Amounts(slots=6)
    denied = (await desk.allow("edge-b", need=Amounts(slots=5), max_slots=10)).denial
    assert (denied.reason, denied.limit, denied.unit, denied.amount) == (
        Reason.CONCURRENCY,
        "concurrent-requests",
        "ConcurrentRequests",
        10,
    )
    assert 0 < denied.valid_ms <= 250
    assert (await desk.allow("edge-b", need=Amounts(slots=4), max_slots=10)).grant
    freed = await desk.allow("edge-a", keeping=Amounts(slots=1), max_slots=10)
    assert freed.grant.holding == Amounts(slots=1)
    assert freed.limits[-1].remaining == 5
    assert (await desk.allow("edge-b", keeping=Amounts(slots=4), need=Amounts(slots=5), max_slots=10)).grant


async def test_spare_slots_are_lent_where_there_is_room(desk):
    roomy = (await desk.allow(need=Amounts(slots=1), want=Amounts(slots=8), max_slots=64)).grant
    assert (roomy.holding.slots, roomy.life_ms > 500) == (8, True)
    tight = (await desk.allow(key="k2", need=Amounts(slots=5), want=Amounts(slots=8), max_slots=10)).grant
    assert (tight.holding.slots, tight.life_ms) == (5, 30_000)


async def test_a_denied_call_still_lowers_what_is_kept(desk):
    await desk.allow(need=Amounts(slots=9), max_slots=10)
    denied = await desk.allow(keeping=Amounts(slots=3), need=Amounts(slots=20), max_slots=10)
    assert denied.denial.reason is Reason.CONCURRENCY
    assert (await desk.allow("edge-b", need=Amounts(slots=7), max_slots=10)).grant


async def test_one_key_does_not_use_another_keys_slots(desk):
    assert (await desk.allow(need=Amounts(slots=10), max_slots=10)).grant
    assert (await desk.allow(key="k2", need=Amounts(slots=10), max_slots=10)).grant


async def test_tokens_are_held_and_then_settled(desk):
    assert (await desk.allow(need=Amounts(input_tokens=700), limits=TPM)).grant
    denied = (await desk.allow("edge-b", need=Amounts(input_tokens=400), limits=TPM)).denial
    assert (denied.reason, denied.limit, denied.reset_ms) == (Reason.TOKENS, "tokens", 1000)
    await desk.store.settle([effect(desk, input_tokens=200, limits=TPM)])
    result = await desk.allow(limits=TPM)
    assert result.limits[0].remaining == 800
    await desk.pass_ms(61_001)
    assert (await desk.allow(limits=TPM)).limits[0].remaining == 1000


async def test_a_settlement_counts_once_at_its_admission(desk):
    admitted = desk.clock.now
    await desk.pass_ms(50_000)
    await desk.allow()
    for _ in range(2):
        await desk.store.settle(
            [effect(desk, input_tokens=300, output_tokens=200, limits=TOTAL, admitted_at_ms=admitted)]
        )
    assert (await desk.allow(limits=TOTAL)).limits[0].remaining == 500
    await desk.pass_ms(11_001)
    assert (await desk.allow(limits=TOTAL)).limits[0].remaining == 1000
    await desk.store.settle([effect(desk, "req_2", input_tokens=300, limits=TOTAL, admitted_at_ms=admitted)])
    assert (await desk.allow(limits=TOTAL)).limits[0].remaining == 1000


async def test_a_settlement_from_the_future_counts_now(desk):
    await desk.allow()
    await desk.store.settle([effect(desk, input_tokens=300, limits=TPM, admitted_at_ms=desk.clock.now + 3_600_000)])
    assert (await desk.allow(limits=TPM)).limits[0].remaining == 700
    await desk.pass_ms(61_001)
    assert (await desk.allow(limits=TPM)).limits[0].remaining == 1000


@pytest.mark.parametrize(("need", "fits"), [((400, 600), True), ((401, 600), False), ((0, 1000), True)])
async def test_total_tokens_count_input_and_output(desk, need, fits):
    result = await desk.allow(need=Amounts(input_tokens=need[0], output_tokens=need[1]), limits=TOTAL, strict=True)
    assert (result.grant is not None) is fits


async def test_spare_tokens_fit_under_a_total(desk):
    want = Amounts(input_tokens=900, output_tokens=900)
    grant = (await desk.allow(need=Amounts(input_tokens=10, output_tokens=10), want=want, limits=TOTAL)).grant
    assert grant.holding == Amounts(input_tokens=250, output_tokens=250)


async def test_strict_refuses_what_can_never_fit(desk):
    denied = (await desk.allow(need=Amounts(input_tokens=1001), limits=TPM, strict=True)).denial
    assert (denied.reason, denied.limit, denied.amount, denied.reset_ms) == (Reason.TOO_LARGE, "tokens", 1000, 0)


async def test_settled_admits_what_is_too_large_alone(desk):
    big = Amounts(input_tokens=5000)
    await desk.store.settle([effect(desk, input_tokens=1, limits=TPM)])
    denied = (await desk.allow(need=big, limits=TPM)).denial
    assert denied.reason is Reason.TOKENS
    assert denied.reset_ms > 60_000
    await desk.pass_ms(61_001)
    grant = (await desk.allow(need=big, want=Amounts(input_tokens=9000), limits=TPM)).grant
    assert grant.holding == big
    state = await desk.allow("edge-b", need=Amounts(input_tokens=1), limits=TPM)
    assert state.denial
    assert state.limits[0].remaining == 0


async def test_a_limit_of_nothing_admits_nothing(desk):
    limits = (Limit("none", Unit.INPUT_TOKENS, 0, 60_000),)
    assert (await desk.allow(need=Amounts(input_tokens=1), limits=limits)).denial.reset_ms == 0


async def test_cost_windows_hold_money(desk):
    assert (await desk.allow(need=Amounts(micro_usd=600), limits=COST)).grant
    denied = (await desk.allow("edge-b", key="k2", need=Amounts(micro_usd=600), limits=COST)).denial
    assert (denied.reason, denied.unit) == (Reason.COST, "CostMicroUSD")


async def test_credit_of_the_project_is_never_lent_twice(desk):
    credit = Versioned(1000, 7)
    assert (await desk.allow(need=Amounts(micro_usd=600), credit=credit)).grant
    denied = (await desk.allow("edge-b", key="k2", need=Amounts(micro_usd=600), credit=credit)).denial
    assert (denied.reason, denied.limit, denied.reset_ms) == (Reason.CREDIT, "credit", 1000)
    denied = (await desk.allow("edge-b", key="k2", need=Amounts(micro_usd=1001), credit=credit)).denial
    assert (denied.reason, denied.reset_ms, denied.valid_ms) == (Reason.CREDIT, 0, 1000)


async def test_the_newest_balance_counts_whoever_tells_it(desk):
    await desk.allow(credit=Versioned(1000, 7))
    await desk.store.settle([effect(desk, micro_usd=900, balance=Versioned(100, 8))])
    stale = (await desk.allow(need=Amounts(micro_usd=500), credit=Versioned(1000, 7))).denial
    assert (stale.reason, stale.amount) == (Reason.CREDIT, 100)
    assert (await desk.allow(need=Amounts(micro_usd=500), credit=Versioned(5000, 9))).grant


async def test_a_keys_spend_limit_counts_spent_and_held(desk):
    limit = SpendLimit(1000, Versioned(500, 3))
    assert (await desk.allow(need=Amounts(micro_usd=300), spend_limit=limit)).grant
    denied = (await desk.allow("edge-b", need=Amounts(micro_usd=300), spend_limit=limit)).denial
    assert (denied.reason, denied.reset_ms) == (Reason.SPEND_LIMIT, 1000)
    await desk.store.settle([effect(desk, micro_usd=480, spent=Versioned(980, 4))])
    denied = (await desk.allow(need=Amounts(micro_usd=21), spend_limit=limit)).denial
    assert (denied.reason, denied.reset_ms) == (Reason.SPEND_LIMIT, 0)
    assert (await desk.allow(key="k2", need=Amounts(micro_usd=300), spend_limit=limit)).grant


async def test_large_amounts_stay_exact(desk):
    balance = 4_000_000_000_000_001
    credit = Versioned(balance, 1)
    assert (await desk.allow(need=Amounts(micro_usd=balance), credit=credit)).grant
    held = await desk.allow(keeping=Amounts(micro_usd=balance - 1), need=Amounts(micro_usd=1), credit=credit)
    assert held.grant.holding.micro_usd == balance
    assert (await desk.allow("edge-b", need=Amounts(micro_usd=1), credit=credit)).denial
