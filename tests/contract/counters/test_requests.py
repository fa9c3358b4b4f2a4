"""Requests windows: leases are booked at their expiry, re-dated when returned, and never lent twice."""

from __future__ import annotations

import dataclasses

import pytest

from penstock_auth.counters import Kind, LeaseReturn, Limit, Reason, Scope, Unit

RPM = (Limit("per-minute", Unit.REQUESTS, 100, 60_000),)
PROJECT_RPM = (Limit("project", Unit.REQUESTS, 10, 60_000, Scope.PROJECT),)


async def test_a_lease_is_granted_with_room_for_others(desk):
    result = await desk.allow(need_requests=1, want_requests=40, limits=RPM)
    assert result.grant.requests == 40
    assert result.grant.lease_id == "edge-a/1"
    assert 500 < result.grant.life_ms <= 30_000
    state = result.limits[0]
    assert (state.name, state.amount, state.remaining, state.window_ms, state.scope) == (
        "per-minute",
        100,
        60,
        60_000,
        Scope.KEY,
    )
    assert 60_000 < state.reset_ms <= 30_000 + 61_000


async def test_no_more_than_half_of_what_is_free_goes_to_one_edge(desk):
    result = await desk.allow(need_requests=1, want_requests=1000, limits=RPM)
    assert result.grant.requests == 50
    assert result.grant.life_ms == 500
    await desk.store.touch_session("edge-b")
    result = await desk.allow(session="edge-b", need_requests=1, want_requests=1000, limits=RPM)
    assert (result.edges, result.grant.requests) == (2, 50 // 4)


async def test_a_full_window_denies_until_its_oldest_bucket_leaves(desk):
    await desk.allow(need_requests=100, want_requests=100, limits=RPM)
    denied = (await desk.allow(need_requests=1, limits=RPM)).denial
    assert (denied.reason, denied.limit, denied.unit, denied.amount) == (Reason.REQUESTS, "per-minute", "Requests", 100)
    assert 60_000 < denied.reset_ms <= 61_500
    assert denied.valid_ms == 1000
    await desk.pass_ms(denied.reset_ms - 1)
    assert (await desk.allow(need_requests=1, limits=RPM)).denial.reset_ms == 1
    await desk.pass_ms(1)
    assert (await desk.allow(need_requests=1, limits=RPM)).grant.requests == 1


async def test_a_returned_lease_frees_what_was_not_spent_and_redates_the_rest(desk):
    lease = (await desk.allow(need_requests=100, limits=RPM)).grant
    await desk.pass_ms(100)
    back = (LeaseReturn(lease.lease_id, 30),)
    result = await desk.allow(returned=back, limits=RPM)
    assert result.limits[0].remaining == 70
    # A second return, and one of an unknown lease, do nothing.
    result = await desk.allow(returned=(*back, LeaseReturn("edge-x/9", 5)), limits=RPM)
    assert result.limits[0].remaining == 70


async def test_units_that_never_come_back_count_from_the_expiry(desk):
    lease = (await desk.allow(need_requests=100, limits=RPM)).grant
    await desk.pass_ms(lease.life_ms + 60_000)
    assert (await desk.allow(need_requests=1, limits=RPM)).denial
    await desk.pass_ms(1_000)
    result = await desk.allow(need_requests=100, limits=RPM)
    assert result.grant.requests == 100


async def test_more_spent_than_lent_is_not_believed(desk):
    lease = (await desk.allow(need_requests=10, limits=RPM)).grant
    result = await desk.allow(returned=(LeaseReturn(lease.lease_id, 99),), limits=RPM)
    assert result.limits[0].remaining == 90


@pytest.mark.parametrize("limits", [(), (Limit("other", Unit.REQUESTS, 7, 1_000),)])
async def test_what_was_lent_under_another_plan_is_given_back(desk, limits):
    both = (*RPM, Limit("all", Unit.REQUESTS, 200, 86_400_000, Scope.PROJECT))
    lent = (await desk.allow(limits=both, want_requests=40)).grant
    await desk.allow(limits=limits, returned=(LeaseReturn(lent.lease_id, 3),))
    assert [state.remaining for state in (await desk.allow(limits=both)).limits] == [97, 197]


async def test_a_late_return_is_dated_to_the_expiry(desk):
    lease = (await desk.allow(need_requests=100, limits=RPM)).grant
    await desk.pass_ms(40_000)
    await desk.allow(returned=(LeaseReturn(lease.lease_id, 100),), limits=RPM)
    await desk.pass_ms(22_000)
    assert (await desk.allow(need_requests=100, limits=RPM)).grant


async def test_repeating_a_seq_repeats_the_answer_without_spending(desk):
    call = desk.call(need_requests=60, want_requests=60, limits=RPM)
    first = await desk.store.allow(call)
    await desk.pass_ms(200)
    again = await desk.store.allow(call)
    assert again.grant == dataclasses.replace(first.grant, life_ms=first.grant.life_ms - 200)
    assert (await desk.allow(limits=RPM)).limits[0].remaining == 40


async def test_repeating_a_denied_seq_repeats_the_denial(desk):
    await desk.allow(need_requests=100, limits=RPM)
    call = desk.call(need_requests=1, limits=RPM)
    first = await desk.store.allow(call)
    await desk.pass_ms(200)
    again = await desk.store.allow(call)
    assert again.denial.reset_ms == first.denial.reset_ms - 200
    assert again.denial.valid_ms == first.denial.valid_ms - 200


async def test_an_older_seq_gets_nothing(desk):
    old = desk.call(need_requests=5, limits=RPM)
    await desk.allow(need_requests=1, limits=RPM)
    assert (await desk.store.allow(old)).denial.reason is Reason.STALE
    assert (await desk.allow(limits=RPM)).limits[0].remaining == 99


async def test_count_tokens_has_its_own_window(desk):
    await desk.allow(need_requests=100, limits=RPM)
    result = await desk.allow(need_requests=100, limits=RPM, kind=Kind.COUNT_TOKENS)
    assert result.grant.requests == 100
    back = (LeaseReturn(result.grant.lease_id, 40),)
    result = await desk.allow(limits=RPM, returned=back)
    assert result.limits[0].remaining == 0
    assert (await desk.allow(limits=RPM, kind=Kind.COUNT_TOKENS)).limits[0].remaining == 60


async def test_keys_of_a_project_share_its_window(desk):
    assert (await desk.allow(need_requests=6, limits=PROJECT_RPM)).grant
    denied = (await desk.allow(key="k2", need_requests=6, limits=PROJECT_RPM)).denial
    assert (denied.reason, denied.limit) == (Reason.REQUESTS, "project")
    assert (await desk.allow(key="k2", need_requests=4, limits=PROJECT_RPM)).grant
    other = await desk.allow(key="k9", need_requests=6, limits=PROJECT_RPM, project="p2")
    assert other.grant


async def test_the_tightest_of_several_limits_decides(desk):
    limits = (*RPM, *PROJECT_RPM, Limit("hourly", Unit.REQUESTS, 5, 3_600_000))
    assert (await desk.allow(need_requests=5, limits=limits)).grant.life_ms == 500
    denied = (await desk.allow(need_requests=1, limits=limits)).denial
    assert denied.limit == "hourly"
    assert denied.reset_ms > 3_600_000


async def test_a_need_above_the_limit_is_for_people(desk):
    denied = (await desk.allow(need_requests=101, limits=RPM)).denial
    assert (denied.reason, denied.reset_ms) == (Reason.REQUESTS, 0)
    nothing = (Limit("none", Unit.REQUESTS, 0, 60_000),)
    assert (await desk.allow(need_requests=1, limits=nothing)).denial.reset_ms == 0


async def test_no_limit_lends_all_that_is_wanted(desk):
    grant = (await desk.allow(need_requests=1, want_requests=50)).grant
    assert (grant.requests, grant.life_ms) == (50, 30_000)


async def test_an_amount_that_changes_counts_at_once(desk):
    await desk.allow(need_requests=50, limits=RPM)
    smaller = (dataclasses.replace(RPM[0], amount=40),)
    assert (await desk.allow(need_requests=1, limits=smaller)).denial
    bigger = (dataclasses.replace(RPM[0], amount=51),)
    assert (await desk.allow(need_requests=1, limits=bigger)).grant


async def test_a_caller_that_was_denied_goes_first_when_there_is_room(desk):
    for session in ("edge-a", "edge-b"):
        await desk.store.touch_session(session)
    lease = (await desk.allow("edge-a", need_requests=100, limits=RPM)).grant
    assert (await desk.allow("edge-b", need_requests=1, limits=RPM)).denial
    await desk.pass_ms(300)
    # edge-a gives one back and asks in the same breath, but it is edge-b's turn.
    denied = (
        await desk.allow("edge-a", need_requests=1, limits=RPM, returned=(LeaseReturn(lease.lease_id, 99),))
    ).denial
    assert denied.reason is Reason.REQUESTS
    assert (await desk.allow("edge-b", need_requests=1, limits=RPM)).grant


async def test_a_turn_that_nobody_takes_lapses(desk):
    lease = (await desk.allow("edge-a", need_requests=100, limits=RPM)).grant
    assert (await desk.allow("edge-b", need_requests=1, limits=RPM)).denial.valid_ms == 1000
    await desk.pass_ms(1251)
    back = (LeaseReturn(lease.lease_id, 99),)
    assert (await desk.allow("edge-a", need_requests=1, limits=RPM, returned=back)).grant


async def test_time_that_steps_back_opens_nothing(desk):
    await desk.allow(need_requests=100, limits=RPM)
    before = (await desk.store.epoch()).store_time_ms
    desk.clock.pass_ms(-3_600_000)
    result = await desk.allow(need_requests=1, limits=RPM)
    assert result.denial
    assert result.store_time_ms >= before
    desk.clock.pass_ms(3_600_000)
    await desk.pass_ms(62_000)
    assert (await desk.allow(need_requests=100, limits=RPM)).grant
