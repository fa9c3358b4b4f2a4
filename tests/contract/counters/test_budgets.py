"""Keys that share the limits of another: one budget, each with leases, holdings and answers of its own."""

from __future__ import annotations

import pytest

from penstock_auth.counters import (
    Amounts,
    Declaration,
    KeyDeclaration,
    LeaseReturn,
    LedgerRow,
    Limit,
    ProjectHistory,
    Reason,
    Scope,
    SettleEffect,
    SpendLimit,
    Unit,
    Versioned,
)
from tests.contract.counters.conftest import slots

REQUESTS = (Limit("m", Unit.REQUESTS, 4, 60_000),)
TOKENS = (Limit("t", Unit.TOTAL_TOKENS, 100, 60_000),)
ONE, TWO, OTHER = "one", "one/two", "other"


async def test_requests_of_all_keys_of_a_budget_fill_one_window(desk):
    assert (await desk.allow(key=ONE, need_requests=2, limits=REQUESTS)).grant
    assert (await desk.allow(key=TWO, need_requests=2, limits=REQUESTS)).grant
    for key in (ONE, TWO):
        denied = await desk.allow(key=key, need_requests=1, limits=REQUESTS)
        assert denied.denial.reason is Reason.REQUESTS
    assert (await desk.allow(key=OTHER, need_requests=4, limits=REQUESTS)).grant


async def test_each_has_its_own_seq_and_leases(desk):
    first = await desk.allow(key=ONE, need_requests=1, limits=REQUESTS)
    second = await desk.allow(key=TWO, need_requests=1, limits=REQUESTS)
    again = await desk.store.allow(desk.call(key=TWO, seq=1, need_requests=1, limits=REQUESTS))
    assert again.grant.lease_id == second.grant.lease_id
    back = (LeaseReturn(second.grant.lease_id, 0),)
    seen = await desk.allow(key=TWO, returned=back, limits=REQUESTS)
    assert [state.remaining for state in seen.limits] == [3]
    assert first.grant.requests == 1


async def test_slots_are_shared_and_end_with_the_session(desk):
    assert (await desk.allow(key=ONE, need=slots(1), max_slots=2)).grant
    assert (await desk.allow("edge-b", key=TWO, need=slots(1), max_slots=2)).grant
    denied = await desk.allow(key=TWO, need=slots(1), max_slots=2)
    assert denied.denial.reason is Reason.CONCURRENCY
    await desk.store.end_session("edge-b")
    await desk.pass_ms(2_000, silent=("edge-b",))
    assert (await desk.allow(key=ONE, keeping=slots(1), need=slots(1), max_slots=2)).grant


async def test_turns_are_those_of_the_budget(desk):
    await desk.allow(key=ONE, need=slots(1), max_slots=1)
    assert (await desk.allow("edge-b", key=TWO, need=slots(1), max_slots=1)).denial
    await desk.allow(key=ONE, max_slots=1)
    # The other key asked first.
    assert (await desk.allow("edge-c", key=ONE, need=slots(1), max_slots=1)).denial
    assert (await desk.allow("edge-b", key=TWO, need=slots(1), max_slots=1)).grant


@pytest.mark.parametrize(("settled", "asks"), [(ONE, TWO), (TWO, ONE)])
async def test_tokens_and_spend_that_one_used_are_gone_for_the_other(desk, settled, asks):
    limit = SpendLimit(1000, Versioned(0, 0))
    await desk.allow(key=ONE, limits=TOKENS, spend_limit=limit)
    effect = SettleEffect("p1", settled, "edge-a", "r1", desk.clock.now, 60, 30, 990, TOKENS, spent=Versioned(990, 5))
    await desk.store.settle([effect])
    tokens = await desk.allow(key=asks, need=Amounts(input_tokens=20), limits=TOKENS)
    assert tokens.denial.reason is Reason.TOKENS
    spend = await desk.allow(key=asks, need=Amounts(micro_usd=20), spend_limit=limit)
    assert spend.denial.reason is Reason.SPEND_LIMIT
    assert (
        await desk.allow(key=OTHER, need=Amounts(micro_usd=20, input_tokens=20), limits=TOKENS, spend_limit=limit)
    ).grant


async def test_a_loss_gives_nobody_a_second_budget(desk):
    await desk.allow(key=ONE, need_requests=1, limits=REQUESTS)
    desk.truth.unclean = {"edge-a"}
    rows = [LedgerRow(TWO, desk.clock.now, request_id="r1"), LedgerRow(ONE, desk.clock.now, request_id="r2")]
    desk.truth.projects["p1"] = ProjectHistory(rows, {ONE: REQUESTS, TWO: REQUESTS})
    await desk.lose()
    told = tuple(KeyDeclaration("p1", key, REQUESTS, slots(1)) for key in (ONE, TWO))
    await desk.store.declare(Declaration("edge-a", desk.epoch, complete=True, keys=told))
    assert (await desk.allow(key=ONE, keeping=slots(1), need_requests=3, limits=REQUESTS)).denial
    assert (await desk.allow(key=TWO, keeping=slots(1), need_requests=2, limits=REQUESTS)).grant
    assert (await desk.allow(key=TWO, keeping=slots(1), need=slots(1), max_slots=2)).denial


async def test_a_limit_of_the_project_holds_for_all(desk):
    limits = (Limit("p", Unit.REQUESTS, 2, 60_000, Scope.PROJECT),)
    assert (await desk.allow(key=TWO, need_requests=1, limits=limits)).grant
    assert (await desk.allow(key=OTHER, need_requests=1, limits=limits)).grant
    assert (await desk.allow(key=ONE, need_requests=1, limits=limits)).denial
