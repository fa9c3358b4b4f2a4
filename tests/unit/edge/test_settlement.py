from __future__ import annotations

import asyncio
import gc
import random
from contextlib import asynccontextmanager

import grpc

from penstock.auth.v1 import auth_pb2
from penstock_chassis import rpc
from penstock_edge import batch_calls
from penstock_edge import settlement as settlements
from penstock_edge.observer import Unobserved
from penstock_edge.records import Admitted, AttemptRecord, Closed, Need, Usage
from penstock_edge.settlement import Settlement
from penstock_edge.settlement_messages import SettlementMessages, abandoned
from penstock_edge.spool import Spool
from tests.unit.edge.fake_auth import FakeAuth, running, serving, until
from tests.unit.edge.test_spool import closed, left_in, opened


class Books:
    def __init__(self):
        self.gone = []

    def settled(self, admitted, *, recorded=False):
        self.gone.append((admitted, recorded))


@asynccontextmanager
async def settling(auth, tmp_path, *, run=True, serve=True, **options):
    spool = Spool.start(tmp_path / "spool", "edge-0", "s1", now_ms=1, observer=Unobserved())
    channel = rpc.channel(f"unix:{tmp_path}/auth.sock")
    books = Books()
    settlement = Settlement(
        batch_calls.settle(channel),
        spool,
        books,
        session_id="s1",
        observer=Unobserved(),
        rng=random.random,
        **{"max_delay_seconds": 0.02, "deadline_seconds": 1.0, **options},
    )
    settlement.books, settlement.spool = books, spool
    try:
        if not serve:
            yield settlement
            return
        async with serving(auth, tmp_path / "auth.sock"):
            async with running(*([settlement.run()] if run else [])):
                yield settlement
    finally:
        await channel.close()
        spool.shut()


def finish(settlement, i):
    admitted = Admitted(None, 1, Need())
    settlement.spool.open(opened(i))
    settlement.finish(opened(i), closed(i), admitted)
    return admitted


async def test_batches_and_lets_go_upon_acknowledgement(tmp_path):
    auth = FakeAuth()
    async with settling(auth, tmp_path) as settlement:
        held = [finish(settlement, i) for i in range(600)]
        assert settlement.pending(opened(5).request_id) == closed(5)
        assert settlement.opened(opened(5).request_id) == opened(5)
        assert not settlement.books.gone
        await until(lambda: settlement.waiting == 0)
        assert [len(s.settlements) for s in auth.settles] == [256, 256, 88]
        assert len(auth.rows) == 600
        assert {id(a) for a, _ in settlement.books.gone} == {id(a) for a in held}
        assert all(recorded for _, recorded in settlement.books.gone)
        assert settlement.pending(opened(5).request_id) is None
        assert settlement.spool.records == 0


async def commit(request, timeout):
    answer = auth_pb2.SettleResponse()
    for row in auth_pb2.SettleRequest.FromString(request).settlements:
        answer.results.add(request_id=row.request_id, committed=True)
    return answer


async def turns_when_let_go(settlement, count):
    """In which turn of the loop each of `count` requests was let go of."""
    turns, gone = [0], []

    async def others():
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    settlement._call = commit
    settlement._books.settled = lambda admitted, recorded: gone.append(turns[0])
    for i in range(count):
        finish(settlement, i)
    async with running(others(), settlement.run()):
        await until(lambda: settlement.waiting == 0)
    return gone


async def test_a_large_batch_lets_others_have_their_turn(tmp_path):
    """What is let go for hundreds of requests must not hold up the one that has just come."""
    async with settling(None, tmp_path, serve=False) as settlement:
        gone = await turns_when_let_go(settlement, 256)
    assert len(gone) == 256
    assert gone[-1] - gone[0] >= 256 // 8 - 1


async def test_a_batch_takes_fewer_turns_when_many_wait(tmp_path):
    """Where a turn of the loop brings many requests, as many must go in it, or ever more would wait."""
    async with settling(None, tmp_path, serve=False, max_calls=1) as settlement:
        gone = await turns_when_let_go(settlement, 256 + 2_048)
    assert len(gone) == 256 + 2_048
    assert gone[255] - gone[0] <= 256 // 64


def held_back():
    """Calls that are answered when they may be: what was asked, the leave to answer, and the call."""
    may_go, called = asyncio.Event(), []

    async def call(request, timeout):
        called.append(request)
        await may_go.wait()
        return await commit(request, timeout)

    return called, may_go, call


async def test_what_has_waited_while_all_calls_were_busy_goes_as_soon_as_one_is_free(tmp_path):
    called, may_go, call = held_back()
    async with settling(None, tmp_path, serve=False, max_calls=1) as settlement:
        settlement._call = call
        async with running(settlement.run()):
            finish(settlement, 1)
            await until(lambda: called)
            finish(settlement, 2)
            await until(lambda: settlement._late)
            # Whoever began to wait now would wait for ever.
            settlement._max_delay = 3600.0
            may_go.set()
            await until(lambda: settlement.waiting == 0)
        assert len(called) == 2


async def test_what_ends_during_a_flush_does_not_wait_for_company(tmp_path):
    called, may_go, call = held_back()
    async with settling(None, tmp_path, serve=False, max_delay_seconds=3600.0) as settlement:
        settlement._call = call
        async with running(settlement.run()):
            finish(settlement, 1)
            flushing = asyncio.create_task(settlement.flush(30))
            await until(lambda: called)
            finish(settlement, 2)
            await until(lambda: len(called) == 2)
            may_go.set()
            assert await flushing == 0


async def test_nothing_of_what_waits_is_looked_at_by_the_cycle_collector(tmp_path):
    """Thousands may wait: each object of theirs would make the collector run more often, and take longer."""
    async with settling(None, tmp_path, serve=False) as settlement:
        finish(settlement, 0)
        gc.collect()
        before = len(gc.get_objects())
        for i in range(1, 201):
            finish(settlement, i)
        gc.collect()
        assert len(gc.get_objects()) - before < 50
        assert settlement.waiting == 201


async def test_a_lost_acknowledgement_is_repeated_and_written_once(tmp_path):
    auth = FakeAuth()
    auth.settle_script = ["lose", grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED]
    async with settling(auth, tmp_path) as settlement:
        finish(settlement, 1)
        await until(lambda: len(auth.settles) >= 1)
        assert settlement.pending(opened(1).request_id) == closed(1)
        await until(lambda: settlement.waiting == 0)
        assert len(auth.settles) == 4
        assert list(auth.rows) == [opened(1).request_id]
        assert len(settlement.books.gone) == 1


async def test_a_poison_row_does_not_hold_the_others_up(tmp_path):
    auth = FakeAuth()
    bad = opened(3).request_id
    auth.settle_script = [("poison", bad)]
    async with settling(auth, tmp_path) as settlement:
        for i in range(8):
            finish(settlement, i)
        await until(lambda: len(auth.rows) == 7, 15)
        assert settlement.pending(bad) is not None
        auth.settle_script = [("quarantine", bad)]
        await until(lambda: settlement.waiting == 0)
        assert settlement.books.gone[-1][1] is False
        assert settlement.spool.records == 0


async def test_smaller_batches_of_what_came_back_do_not_wait_for_company(tmp_path):
    auth = FakeAuth()
    auth.settle_script = [grpc.StatusCode.INTERNAL]
    async with settling(auth, tmp_path, max_delay_seconds=3600.0, max_batch=8) as settlement:
        for i in range(8):
            finish(settlement, i)
        await until(lambda: len(auth.rows) == 4)


async def test_rows_that_auth_cannot_decide_yet_do_not_hold_the_others_up(tmp_path, monkeypatch):
    """Such as those whose price auth does not know yet: there may be some in every batch."""
    monkeypatch.setattr(settlements, "_FIRST_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(settlements, "_LAST_PAUSE_SECONDS", 3600.0)
    undecided = {opened(i).request_id for i in range(0, 40, 10)}

    async def settle(request, timeout):
        answer = auth_pb2.SettleResponse()
        for row in auth_pb2.SettleRequest.FromString(request).settlements:
            answer.results.add(request_id=row.request_id, committed=row.request_id not in undecided)
        return answer

    async with settling(None, tmp_path, serve=False, max_batch=10) as settlement:
        settlement._call = settle
        for i in range(40):
            finish(settlement, i)
        async with running(settlement.run()):
            await until(lambda: settlement.waiting == len(undecided))
        assert set(left_in(settlement.spool.folder)[0]) == undecided


async def test_restarts_of_auth(tmp_path):
    auth = FakeAuth()
    async with settling(auth, tmp_path, serve=False) as settlement:
        async with running(settlement.run()):
            for i in range(50):
                finish(settlement, i)
            assert settlement.oldest_seconds(closed(0).ended_at_ms + 1500) == 1.5
            await asyncio.sleep(0.3)
            assert settlement.waiting == 50
            # Also while some are on their way to auth.
            assert settlement.oldest_seconds(closed(0).ended_at_ms + 2500) == 2.5
            for _ in range(3):
                async with serving(auth, tmp_path / "auth.sock"):
                    await asyncio.sleep(0.1)
            async with serving(auth, tmp_path / "auth.sock"):
                await until(lambda: settlement.waiting == 0, 10)
        assert settlement.oldest_seconds(closed(0).ended_at_ms + 9999) == 0
    assert len(auth.rows) == 50


async def test_flush_settles_at_once_or_says_what_is_left(tmp_path):
    auth = FakeAuth()
    async with settling(auth, tmp_path, max_delay_seconds=60) as settlement:
        for i in range(10):
            finish(settlement, i)
        assert await settlement.flush(5) == 0
        assert len(auth.rows) == 10
        auth.settle_script = [grpc.StatusCode.UNAVAILABLE] * 1000
        finish(settlement, 11)
        assert await settlement.flush(0.3) == 1
    assert list(left_in(tmp_path / "spool" / "edge-0")[0]) == [opened(11).request_id]


async def test_no_more_than_two_calls_at_once(tmp_path):
    auth = FakeAuth()
    most = now = 0
    settle = auth.Settle

    async def slow(request, context):
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return await settle(request, context)

    auth.Settle = slow
    async with settling(auth, tmp_path, max_batch=4) as settlement:
        for i in range(60):
            finish(settlement, i)
        await until(lambda: settlement.waiting == 0)
    assert most == 2


def read(*rows):
    return auth_pb2.SettleRequest.FromString(b"".join(rows)).settlements


def sent(closed, session="s"):
    return read(SettlementMessages().row(session, opened(1), closed))[0]


def test_every_field_arrives():
    attempt = AttemptRecord(
        index=1,
        account="a",
        cls="Throttled",
        status=429,
        usage=Usage(1, 2, 3, 4, 5),
        reported=True,
        estimated=True,
        upstream_request_id="u",
        started_at_ms=7,
        first_byte_ms=8,
        duration_ms=9,
        upstream_model="m",
    )
    end = Closed("r", "client_left", estimated=True, delivered=1, attempts=[attempt], ended_at_ms=10, client_status=200)
    row = sent(end, "s0")
    assert row.state == auth_pb2.DELIVERY_STATE_CLIENT_LEFT
    assert row.edge_session == "s0"
    assert row.key_sha256 == opened(1).key_sha256
    made = row.attempts[0]
    unset = [f.name for f in made.DESCRIPTOR.fields if not getattr(made, f.name)]
    assert unset == []
    assert (made.usage.input_tokens, made.usage.cache_write_1h_input_tokens) == (1, 5)
    assert getattr(made, "class") == "Throttled"


def test_requests_of_one_key_differ_in_what_is_their_own():
    messages = SettlementMessages()
    first = Closed("r", "complete", estimated=True, delivered=0, attempts=[AttemptRecord(0, "a", reported=True)])
    second = Closed("q", "error_before_output", ended_at_ms=3)
    one, two = read(messages.row("s", opened(1), first), messages.row("s", opened(2), second))
    assert (one.request_id, two.request_id) == (opened(1).request_id, opened(2).request_id)
    assert (one.estimated, one.delivered, len(one.attempts)) == (True, 0, 1)
    assert (two.estimated, two.delivered, len(two.attempts)) == (False, -1, 0)
    assert two.state == auth_pb2.DELIVERY_STATE_ERROR_BEFORE_OUTPUT


def test_numbers_beyond_the_message_are_abandoned_not_fatal():
    end = Closed("r", "complete", delivered=0, attempts=[AttemptRecord(index=-1, account="a")])
    row = sent(end)
    assert row.state == auth_pb2.DELIVERY_STATE_ABANDONED
    assert (row.request_id, list(row.attempts), row.delivered) == (opened(1).request_id, [], -1)
    assert abandoned(opened(1)).delivered == -1
