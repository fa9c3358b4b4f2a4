"""Redis that is slow, frozen, gone, refusing or empty: named errors in time, never a silent other way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import pytest

from penstock_auth.counters import (
    Admission,
    AllowCall,
    Amounts,
    Declaration,
    KeyDeclaration,
    LeaseHeld,
    Limit,
    SettleEffect,
    StoreDown,
    StoreRefused,
    Unit,
)
from penstock_auth.counters_redis import SESSIONS_KEY, RedisCounters
from tests.contract.counters.conftest import Truth
from tests.ports import free_port
from tests.servers import redis_server

# A busy machine is no failing store.
PATIENT = 5.0
RPM = (Limit("per-minute", Unit.REQUESTS, 100, 60_000),)


def call(seq=1, **fields):
    base = {"project": "p1", "key": "k1", "session": "edge-a", "seq": seq, "limits": RPM, "need_requests": 1}
    return AllowCall(**(base | fields))


@pytest.fixture
async def own():
    """A redis-server of the test's own, with counters on Redis's clock."""
    with redis_server() as server:
        counters = RedisCounters(server.url, Truth(), deadline_seconds=PATIENT)
        await counters.open()
        yield server, counters
        await counters.close()


async def test_it_uses_the_clock_of_redis(own):
    _, counters = own
    before = time.time() * 1000
    result = await counters.allow(call())
    assert before - 2 <= result.store_time_ms <= time.time() * 1000 + 2


async def test_its_time_is_told_without_asking_and_about_right_before_the_first_answer(own):
    _, counters = own
    silent = RedisCounters(f"redis://127.0.0.1:{free_port()}", Truth())
    for each in (counters, silent):
        assert abs(each.time_ms() - time.time() * 1000) < 60_000
    await silent.close()


async def test_a_frozen_store_is_down_in_time_and_works_again_afterwards(own):
    server, _ = own
    counters = RedisCounters(server.url, Truth(), deadline_seconds=0.5)

    async def answered(number):
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(StoreDown):
                    return await counters.allow(call(number))

    await answered(1)
    os.kill(server.process.pid, signal.SIGSTOP)
    # Nothing else would ever end them.
    async with asyncio.timeout(60):
        with pytest.raises(StoreDown):
            await counters.allow(call(2))
        with pytest.raises(StoreDown):
            await counters.touch_session("edge-a")
    os.kill(server.process.pid, signal.SIGCONT)
    assert (await answered(2)).limits[0].remaining == 98
    await counters.close()


async def test_a_store_that_is_not_there_is_down():
    counters = RedisCounters(f"redis://127.0.0.1:{free_port()}/0", Truth())
    with pytest.raises(StoreDown):
        await counters.open()
    await counters.close()


async def test_a_restarted_store_is_a_loss(own):
    server, counters = own
    await counters.allow(call(need_requests=50, need=Amounts(slots=1), max_slots=5))
    epoch = (await counters.epoch()).id
    server.process.kill()
    server.process.wait()
    with pytest.raises(StoreDown):
        await counters.allow(call(2))
    with redis_server(port=server.port):
        result = await counters.allow(call(2))
        assert result.epoch != epoch
        assert result.grant
        assert result.limits[0].remaining == 99


async def test_a_flush_is_noticed_by_the_next_call(own):
    server, counters = own
    first = await counters.allow(call(need_requests=100))
    counters._truth.unclean = {"edge-a"}
    server.command("FLUSHALL")
    result = await counters.allow(call(2, epoch=first.epoch))
    assert result.epoch != first.epoch
    assert result.denial.reason == "RECOVERING"


async def test_forgotten_scripts_are_sent_again(own):
    server, counters = own
    await counters.allow(call())
    server.command("SCRIPT", "FLUSH")
    assert (await counters.allow(call(2))).limits[0].remaining == 98


@pytest.mark.parametrize("rule", ["-@scripting", "-script"])
async def test_a_store_that_refuses_scripts_is_refused(own, rule):
    server, _ = own
    server.command("ACL", "SETUSER", "default", rule)
    counters = RedisCounters(server.url, Truth(), deadline_seconds=PATIENT)
    with pytest.raises(StoreRefused, match="script"):
        await counters.open()
    await counters.close()


async def test_scripts_refused_later_are_an_error_too(own):
    server, counters = own
    await counters.allow(call())
    server.command("ACL", "SETUSER", "default", "-evalsha")
    with pytest.raises(StoreRefused, match="allow"):
        await counters.allow(call(2))


async def test_a_wrong_password_is_refused():
    with redis_server("--requirepass", "right") as server:
        counters = RedisCounters(server.url.replace("//", "//:wrong@"), Truth(), deadline_seconds=PATIENT)
        with pytest.raises(StoreRefused, match="credentials"):
            await counters.open()
        await counters.close()


async def test_all_keys_of_a_project_are_in_one_slot_and_expire(own):
    server, counters = own
    result = await counters.allow(call(project="{odd} name", need=Amounts(slots=1), max_slots=5))
    await counters.allow(call(2, project="{odd} name", need_requests=101))
    await counters.allow(call(3, project="{odd} name", need_requests=100, keeping=Amounts(slots=1)))
    keys = server.command("KEYS", "*").decode().split("\r\n")[2::2]
    mine = [key for key in keys if key and key != SESSIONS_KEY]
    assert len(mine) == 8
    for key in mine:
        assert key.startswith("penstock:{%7Bodd%7D%20name}:" + result.epoch + ":"), key
        lasts = int(server.command("PTTL", key).strip(b":\r\n"))
        assert lasts > 60_000, key
    assert server.command("PTTL", SESSIONS_KEY) == b":-1\r\n"
    slots = {server.command("CLUSTER", "KEYSLOT", key) for key in mine}
    assert len(slots) == 1


async def test_a_jump_of_redis_clock_is_not_believed(own):
    _, counters = own
    await counters.allow(call(need_requests=100))
    assert counters._offset is not None
    counters._offset -= 3_600_000  # as if Redis's clock had gone ahead by an hour since this auth began
    result = await counters.allow(call(2))
    assert result.denial
    assert result.store_time_ms < time.time() * 1000 + 1000
    times = counters._times()
    assert times["ceiling"] < result.store_time_ms - 3_000_000


async def test_a_declaration_that_was_half_taken_in_counts_once(own, monkeypatch):
    """Auth went down after the counters had it, before the session was noted as declared: the edge says it again."""
    _, counters = own
    state = await counters.epoch()
    told = KeyDeclaration(
        "p1", "k1", RPM, leases=(LeaseHeld("edge-a/1", 20, 9_000),), admissions=(Admission(state.store_time_ms, 10),)
    )
    message = Declaration("edge-a", state.id, complete=True, keys=(told,))
    honest = counters._session

    async def goes_down(op, **fields):
        if op == "declare":
            raise StoreDown("gone")
        return await honest(op, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(counters, "_session", goes_down)
        with pytest.raises(StoreDown):
            await counters.declare(message)
    await counters.declare(message)
    assert (await counters.allow(call(need_requests=0, epoch=state.id))).limits[0].remaining == 100 - 20 - 10


async def test_a_settlement_right_after_a_flush_counts_in_the_new_epoch(own):
    """Another auth has rebuilt the project already; the one that settles has not looked since the flush."""
    server, first = own
    second = RedisCounters(server.url, Truth(), deadline_seconds=PATIENT)
    await second.open()
    tokens = (Limit("tokens", Unit.INPUT_TOKENS, 1000, 60_000),)
    now = (await first.allow(call(limits=tokens))).store_time_ms
    server.command("FLUSHALL")
    await second.epoch()
    assert (await second.allow(call(session="edge-b", limits=tokens))).limits[0].remaining == 1000
    used = {"input_tokens": 300, "output_tokens": 0, "micro_usd": 0}
    await first.settle([SettleEffect("p1", "k1", "edge-a", "req_1", now, limits=tokens, **used)])
    assert (await second.allow(call(2, session="edge-b", limits=tokens))).limits[0].remaining == 700
    await second.close()


async def test_two_auths_share_what_they_know(own):
    server, first = own
    second = RedisCounters(server.url, Truth(), deadline_seconds=PATIENT)
    await second.open()
    await first.allow(call(need_requests=60))
    assert (await second.allow(call(session="edge-b", need_requests=41))).denial
    result = await second.allow(call(session="edge-c", need_requests=1, key="k2"))
    assert result.grant
    assert (await first.epoch()).live == {"edge-a", "edge-b", "edge-c"}
    await second.close()


async def test_a_sign_of_life_is_one_sessions_matter_however_many_there_are(own):
    server, counters = own
    epoch = (await counters.epoch()).id
    for number in range(200):
        assert not (await counters.declare(Declaration(f"edge-{number:032}", epoch, complete=True))).declare_again

    def sent():
        return int(server.command("INFO", "stats").decode().partition("total_net_output_bytes:")[2].partition("\r")[0])

    before = sent()
    for _ in range(5):
        heard = await counters.touch_session(f"edge-{7:032}")
    assert sent() - before < 10_000
    assert (heard.epoch, heard.declare_again) == (epoch, False)
    assert (await counters.touch_session("stranger")).declare_again
    # Who has lost its memory is noticed by the next sign of life all the same.
    assert server.command("FLUSHALL").startswith(b"+OK")
    heard = await counters.touch_session(f"edge-{7:032}")
    assert heard.epoch != epoch
    assert heard.declare_again
