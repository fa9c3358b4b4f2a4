"""Counters in a Redis Cluster whose slots move and whose nodes fail: other projects go on, and nothing is forgotten."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from pathlib import Path

import pytest

from penstock_auth.counters import (
    AllowCall,
    Declaration,
    KeyDeclaration,
    LeaseHeld,
    Limit,
    StoreDown,
    StoreRefused,
    Unit,
)
from penstock_auth.counters_redis import SESSIONS_KEY, RedisCounters
from penstock_router.store_redis import RedisStore
from penstock_router.stores import Change
from tests.contract.counters.conftest import Truth
from tests.ports import free_port
from tests.servers import RedisServer, redis_cluster, redis_server

RPM = (Limit("per-minute", Unit.REQUESTS, 100, 60_000),)
EPOCH_OWNER = 2
"""Of three primaries with equal parts of the slots, the one that has `SESSIONS_KEY`'s."""


def call(project, seq=1, **fields):
    base = {"project": project, "key": "k1", "session": "edge-a", "seq": seq, "limits": RPM, "need_requests": 1}
    return AllowCall(**(base | fields))


def project_of(cluster, place):
    """A project whose counters the primary at `place` has."""
    return next(name for name in map("p{}".format, range(1000)) if cluster.owner(f"{{{name}}}") == place)


async def until_answered(counters, project, first_seq):
    """Ask as an edge does, the same question until it is answered."""
    deadline = time.monotonic() + 90
    while True:
        try:
            return await counters.allow(call(project, first_seq))
        except StoreDown:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_projects_of_all_nodes_are_counted_and_shared(formed):
    formed.flush()
    counters = RedisCounters(formed.url, Truth(), cluster=True, deadline_seconds=5.0)
    # One address will do, and the URL may say what it is of.
    other = RedisCounters(f"redis+cluster://127.0.0.1:{formed.nodes[1].port}", Truth(), deadline_seconds=5.0)
    await counters.open()
    await other.open()
    for place in range(3):
        project = project_of(formed, place)
        assert (await counters.allow(call(project, need_requests=60))).grant
        assert (await other.allow(call(project, session="edge-b", need_requests=41))).denial
        assert b"1" in formed.nodes[place].command(
            "EXISTS", f"penstock:{{{project}}}:{(await counters.epoch()).id}:facts"
        )
    assert formed.owner(SESSIONS_KEY) == EPOCH_OWNER
    await counters.close()
    await other.close()


async def test_a_frozen_node_is_down_for_its_own_projects_only():
    with redis_cluster("--cluster-require-full-coverage", "no") as cluster:
        near, far = project_of(cluster, EPOCH_OWNER), project_of(cluster, 1)
        counters = RedisCounters(cluster.url, Truth(), cluster=True, deadline_seconds=1.0)
        await counters.open()
        for project in (near, far):
            await until_answered(counters, project, 1)
        frozen = cluster.nodes[1].process.pid
        os.kill(frozen, signal.SIGSTOP)
        try:
            for seq in (2, 3, 4):
                # Nothing else would ever end it.
                async with asyncio.timeout(60):
                    with pytest.raises(StoreDown):
                        await counters.allow(call(far, seq))
                assert (await until_answered(counters, near, seq)).limits[0].remaining == 100 - seq
        finally:
            os.kill(frozen, signal.SIGCONT)
        # Whether the store has done it is not known to who was not answered, so the question is the same.
        assert (await until_answered(counters, far, 4)).limits[0].remaining >= 96
        await counters.close()


async def test_a_replica_takes_over_with_what_was_counted():
    with redis_cluster(
        "--cluster-require-full-coverage", "no", "--cluster-node-timeout", "1500", replicas=1
    ) as cluster:
        project = project_of(cluster, 0)
        counters = RedisCounters(cluster.url, Truth(), cluster=True, deadline_seconds=5.0)
        await counters.open()
        epoch = (await counters.allow(call(project, need_requests=40))).epoch
        cluster.await_copy(0)
        cluster.nodes[0].process.kill()
        result = await until_answered(counters, project, 2)
        assert result.epoch == epoch
        assert result.limits[0].remaining == 59
        await counters.close()


async def test_a_node_that_comes_back_empty_is_a_loss_of_all():
    with redis_cluster() as cluster:
        project = project_of(cluster, 1)
        counters, other = (RedisCounters(cluster.url, Truth(), cluster=True, deadline_seconds=5.0) for _ in range(2))
        for each in (counters, other):
            await each.open()
            each._truth.unclean = {"edge-a", "edge-b"}
        first = await counters.epoch()
        for session in ("edge-a", "edge-b"):
            await counters.declare(Declaration(session, first.id, complete=True))
        assert (await counters.allow(call(project, epoch=first.id, need_requests=90))).grant
        assert (await counters.epoch()).id == first.id
        cluster.nodes[1].command("FLUSHALL")
        # What edge-a has in hand is in no ledger yet: nobody is lent anything before it has said so.
        result = await other.allow(call(project, session="edge-b", epoch=first.id, need_requests=50))
        assert result.denial.reason == "RECOVERING"
        second = await other.epoch()
        assert second.id != first.id
        assert (await counters.epoch()).id == second.id
        held = KeyDeclaration(project, "k1", RPM, leases=(LeaseHeld("edge-a/1", 90, 30_000),))
        await counters.declare(Declaration("edge-a", second.id, complete=True, keys=(held,)))
        await other.declare(Declaration("edge-b", second.id, complete=True))
        result = await other.allow(call(project, 2, session="edge-b", epoch=second.id, need_requests=50))
        assert result.denial.reason == "REQUESTS"
        assert (await counters.epoch()).id == second.id
        await counters.close()
        await other.close()


async def test_slots_that_move_are_followed():
    with redis_cluster() as cluster:
        counters = RedisCounters(cluster.url, Truth(), cluster=True, deadline_seconds=5.0)
        await counters.open()
        epoch = (await counters.epoch()).id
        slot, source, target = str(cluster.slot(SESSIONS_KEY)), cluster.nodes[EPOCH_OWNER], cluster.nodes[1]
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[EPOCH_OWNER])
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.ids[1])
        assert (await counters.epoch()).id == epoch
        moved = source.command("MIGRATE", "127.0.0.1", str(target.port), SESSIONS_KEY, "0", "5000")
        assert moved.startswith(b"+OK"), moved
        # The slot is not the other's yet: it answers those who were sent there (ASK).
        assert (await counters.epoch()).id == epoch
        for node in (target, source):
            assert node.command("CLUSTER", "SETSLOT", slot, "NODE", cluster.ids[1]).startswith(b"+OK")
        # MOVED.
        assert (await counters.epoch()).id == epoch
        assert counters._runner._link._owners[int(slot)] == ("127.0.0.1", target.port)
        await counters.close()


async def test_one_server_is_not_taken_for_a_cluster_nor_the_other_way_round(formed, redis_url):
    node = f"redis://127.0.0.1:{formed.nodes[EPOCH_OWNER].port}"
    for url, cluster, words in ((redis_url, True, "no Redis Cluster"), (node, False, "redis_cluster=true")):
        counters = RedisCounters(url, Truth(), cluster=cluster, deadline_seconds=5.0)
        with pytest.raises(StoreRefused, match=words):
            await counters.open()
        await counters.close()


async def test_the_rights_that_the_manual_names_will_do(formed, redis_url):
    manual = Path("docs/operations/scale.md").read_text()
    words = re.findall(r"A user with limited rights needs `(.*)` on `(\S+)` and `(\S+)`", manual)[0]
    rights = " ".join(words).split()
    single = RedisServer(int(redis_url.rpartition(":")[2].removesuffix("/0")), None)
    # Others' tests may have left a clock that is years ahead, or a session of this name that was silent too long.
    formed.flush()
    assert single.command("FLUSHALL").startswith(b"+OK")
    for node in (*formed.nodes, single):
        assert node.command("ACL", "SETUSER", "few", "reset", "on", ">pass", *rights).startswith(b"+OK")
    for url, cluster in ((formed.url, True), (redis_url, False)):
        allowed = url.replace("//", "//few:pass@")
        counters = RedisCounters(allowed, Truth(), cluster=cluster, deadline_seconds=5.0)
        await counters.open()
        for place in range(3):
            assert (await counters.allow(call(project_of(formed, place)))).grant
        await counters.epoch()
        await counters.close()
        store = RedisStore(allowed, cluster=cluster, deadline_seconds=5.0)
        assert await store.write("conditions", [Change("few", 0, b"1")])
        assert "few" in (await store.read("conditions")).rows
        await store.close()


async def test_a_wrong_password_is_refused():
    own = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with redis_server("--requirepass", "right", *own) as server:
        counters = RedisCounters(server.url.replace("//", "//:wrong@"), Truth(), cluster=True, deadline_seconds=5.0)
        with pytest.raises(StoreRefused, match="credentials"):
            await counters.open()
        await counters.close()
