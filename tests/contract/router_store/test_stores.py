"""What every store of the router's state does: memory and Redis, by the same tests."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from penstock_router.store_memory import MemoryStore
from penstock_router.store_redis import RedisStore
from penstock_router.stores import Change, StoreDown
from tests.servers import redis_cluster, redis_server


@pytest.fixture(scope="module")
def server():
    with redis_server() as running:
        yield running


@pytest.fixture(scope="module")
def cluster():
    with redis_cluster() as running:
        yield running


@pytest.fixture(params=["memory", "redis", "cluster"])
async def store(request):
    if request.param == "memory":
        made = MemoryStore(time.time)
    elif request.param == "redis":
        server = request.getfixturevalue("server")
        server.command("FLUSHALL")
        made = RedisStore(server.url, deadline_seconds=5.0)
    else:
        cluster = request.getfixturevalue("cluster")
        cluster.flush()
        made = RedisStore(cluster.url, cluster=True, deadline_seconds=5.0)
    yield made
    await made.close()


@pytest.fixture
async def other(request, store):
    """A second router at the same store."""
    if isinstance(store, MemoryStore):
        yield store
        return
    kind = request.node.callspec.params["store"]
    made = RedisStore(request.getfixturevalue("server" if kind == "redis" else "cluster").url, cluster=kind == "cluster", deadline_seconds=5.0)  # fmt: skip
    yield made
    await made.close()


async def bodies(store, kind="shares"):
    return {name: row.body for name, row in (await store.read(kind)).rows.items()}


async def test_empty(store):
    reading = await store.read("shares")
    assert dict(reading.rows) == {}
    assert reading.now == pytest.approx(time.time(), abs=60)


async def test_nothing_to_write(store):
    assert dict(await store.write("shares", [])) == {}


async def test_what_is_written_is_read(store, other):
    body = bytes(range(256)) + b"\r\n:colons:"
    taken = await store.write("shares", [Change("a\nb\n", 0, body)])
    rows = (await other.read("shares")).rows
    assert rows["a\nb\n"].body == body
    assert rows["a\nb\n"].version == taken["a\nb\n"] > 0


async def test_kinds_are_apart(store):
    await store.write("shares", [Change("a", 0, b"1")])
    assert await bodies(store, "conditions") == {}


async def test_replaced_only_as_last_read(store, other):
    first = (await store.write("shares", [Change("a", 0, b"1")]))["a"]
    assert dict(await other.write("shares", [Change("a", 0, b"2")])) == {}
    second = (await other.write("shares", [Change("a", first, b"2")]))["a"]
    assert dict(await store.write("shares", [Change("a", first, b"3")])) == {}
    assert second > first
    assert await bodies(store) == {"a": b"2"}


async def test_each_row_by_itself(store):
    version = (await store.write("shares", [Change("a", 0, b"1")]))["a"]
    taken = await store.write("shares", [Change("a", version + 100, b"x"), Change("b", 0, b"2"), Change("c", 7, b"x")])
    assert set(taken) == {"b"}
    assert await bodies(store) == {"a": b"1", "b": b"2"}


async def test_removed_and_never_the_same_version_again(store):
    first = (await store.write("shares", [Change("a", 0, b"1")]))["a"]
    assert dict(await store.write("shares", [Change("a", first, None)])) == {"a": 0}
    assert await bodies(store) == {}
    again = (await store.write("shares", [Change("a", 0, b"1")]))["a"]
    assert again != first
    assert dict(await store.write("shares", [Change("a", first, b"2")])) == {}


async def test_of_many_at_once_one_wins(store, other):
    version = (await store.write("shares", [Change("a", 0, b"0")]))["a"]
    writes = [(store, other)[n % 2].write("shares", [Change("a", version, b"%d" % n)]) for n in range(20)]
    taken = await asyncio.gather(*writes)
    assert sum(bool(one) for one in taken) == 1


async def test_who_reads_again_sees_all_that_others_did_meanwhile(store, other):
    versions = dict(await store.write("shares", [Change(name, 0, b"1") for name in "abc"]))
    assert await bodies(store) == await bodies(other) == {"a": b"1", "b": b"1", "c": b"1"}
    await other.write("shares", [Change("b", versions["b"], b"2")])
    await other.write("conditions", [Change("x", 0, b"9")])
    assert await bodies(store) == {"a": b"1", "b": b"2", "c": b"1"}
    await other.write("shares", [Change("c", versions["c"], None), Change("d", 0, b"1")])
    assert await bodies(store) == {"a": b"1", "b": b"2", "d": b"1"}
    await other.write("shares", [Change("a", versions["a"], None)])
    assert await bodies(store) == {"b": b"2", "d": b"1"}


class TestRedisReadings:
    """What is read again is only what has changed; that must never hide a loss."""

    async def test_only_what_changed_comes_over_the_wire(self, server):
        server.command("FLUSHALL")
        one, two = (RedisStore(server.url, deadline_seconds=5.0) for _ in range(2))
        body = b"x" * 100_000
        taken = await one.write("shares", [Change(name, 0, body) for name in "abc"])
        await two.read("shares")

        def sent():
            info = server.command("INFO", "stats").decode()
            return int(info.partition("total_net_output_bytes:")[2].partition("\r")[0])

        before = sent()
        await two.read("shares")
        quiet = sent() - before
        await one.write("shares", [Change("a", taken["a"], body)])
        before = sent()
        await two.read("shares")
        assert quiet < 10_000
        assert 100_000 < sent() - before < 110_000
        for each in (one, two):
            await each.close()

    @pytest.mark.parametrize("again", ["", "written", "as often"])
    async def test_a_loss_is_seen_whatever_was_written_since(self, server, again):
        server.command("FLUSHALL")
        one, two = (RedisStore(server.url, deadline_seconds=5.0) for _ in range(2))
        await one.write("shares", [Change("a", 0, b"1"), Change("b", 0, b"1")])
        await two.read("shares")
        server.command("FLUSHALL")
        expected = {}
        if again:
            # The second time there are as many rows, and as many writes, as before.
            names = "ab" if again == "as often" else "c"
            await one.write("shares", [Change(name, 0, b"2") for name in names])
            expected = dict.fromkeys(names, b"2")
        assert await bodies(two) == expected
        for each in (one, two):
            await each.close()

    async def test_a_row_that_vanished_is_seen_though_nobody_wrote(self, server):
        server.command("FLUSHALL")
        store = RedisStore(server.url, deadline_seconds=5.0)
        await store.write("shares", [Change("a", 0, b"1"), Change("b", 0, b"1")])
        await store.read("shares")
        server.command("HDEL", "{penstock:router}:shares", "a")
        assert await bodies(store) == {"b": b"1"}
        await store.close()

    async def test_rows_of_a_replica_that_lacked_the_last_writes_are_read_as_they_are(self, server):
        server.command("FLUSHALL")
        one, two = (RedisStore(server.url, deadline_seconds=5.0) for _ in range(2))
        first = (await one.write("shares", [Change("a", 0, b"1")]))["a"]
        second = (await one.write("shares", [Change("a", first, b"2"), Change("gone", 0, b"x")]))["a"]
        for each in (one, two):
            assert await bodies(each) == {"a": b"2", "gone": b"x"}
        server.command("HSET", "{penstock:router}:shares", "a", f"{first}:1")
        server.command("HDEL", "{penstock:router}:shares", "gone")
        server.command("SET", "{penstock:router}:versions", str(first))
        # The counter passes by what was known before: numbers that were read return.
        for number in range(second - first + 1):
            await two.write("conditions", [Change(f"x{number}", 0, b"9")])
        for each in (one, two):
            assert await bodies(each) == {"a": b"1"}
            row = (await each.read("shares")).rows["a"]
            assert set(await each.write("shares", [Change("a", row.version, b"1")])) == {"a"}
            await each.close()


class TestRedisOutage:
    async def down(self, call):
        """Wait until a call says that the store is down; nothing but its deadline would end it at a frozen one."""
        async with asyncio.timeout(60):
            with pytest.raises(StoreDown):
                await call

    async def up(self, call):
        """Call until the store is up, and return the answer."""
        async with asyncio.timeout(90):
            while True:
                try:
                    return await call()
                except StoreDown:
                    await asyncio.sleep(0.1)

    async def test_refused(self):
        store = RedisStore("redis://127.0.0.1:1/0", deadline_seconds=0.25)
        await self.down(store.read("shares"))
        await store.close()

    async def test_frozen_counts_as_down_and_comes_back(self):
        with redis_server() as server:
            store = RedisStore(server.url, deadline_seconds=0.25)
            await self.up(lambda: store.write("shares", [Change("a", 0, b"1")]))
            os.kill(server.process.pid, signal.SIGSTOP)
            try:
                await self.down(store.read("shares"))
                await self.down(store.write("shares", [Change("b", 0, b"1")]))
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
            rows = await self.up(lambda: bodies(store))
            assert rows["a"] == b"1"
            await store.close()

    async def test_a_cluster_with_a_node_that_failed_counts_as_down_until_a_replica_takes_over(self):
        options = ("--cluster-require-full-coverage", "no", "--cluster-node-timeout", "1500")
        with redis_cluster(*options, primaries=3, replicas=1) as cluster:
            store = RedisStore(cluster.url, cluster=True, deadline_seconds=5.0)
            await store.write("shares", [Change("a", 0, b"1")])
            assert cluster.owner("{penstock:router}:shares") == 0
            cluster.await_copy(0)
            cluster.nodes[0].process.kill()
            assert await self.up(lambda: bodies(store)) == {"a": b"1"}
            assert (await store.write("shares", [Change("b", 0, b"2")]))["b"] > 0
            await store.close()

    async def test_one_node_is_not_taken_for_the_cluster(self, cluster):
        elsewhere = next(node for node in range(3) if node != cluster.owner("{penstock:router}:shares"))
        store = RedisStore(f"redis://127.0.0.1:{cluster.nodes[elsewhere].port}", deadline_seconds=5.0)
        with pytest.raises(StoreDown, match="redis_cluster=true"):
            await store.read("shares")
        await store.close()

    async def test_scripts_refused_is_an_outage_not_a_silent_one(self):
        with redis_server("--rename-command", "EVAL", "") as server:
            store = RedisStore(server.url, deadline_seconds=2.0)
            await self.down(store.read("shares"))
            await store.close()

    async def test_nonsense_is_an_outage(self):
        with redis_server() as server:
            store = RedisStore(server.url, deadline_seconds=2.0)
            server.command("HSET", "{penstock:router}:shares", "a", "no version here")
            await self.down(store.read("shares"))
            await store.close()


class TestMemoryFile:
    async def test_a_restarted_router_remembers(self, tmp_path):
        path = tmp_path / "router.state"
        store = MemoryStore(time.time, path)
        assert not store.remembers
        version = (await store.write("shares", [Change("a", 0, b"1")]))["a"]
        await store.close()
        assert path.stat().st_mode & 0o777 == 0o600
        again = MemoryStore(time.time, path)
        assert again.remembers
        rows = (await again.read("shares")).rows
        assert (rows["a"].version, rows["a"].body) == (version, b"1")
        assert (await again.write("shares", [Change("b", 0, b"2")]))["b"] > version

    async def test_nothing_is_written_when_nothing_changed(self, tmp_path):
        path = tmp_path / "router.state"
        store = MemoryStore(time.time, path)
        await store.flush()
        assert not path.exists()

    @pytest.mark.parametrize("content", [b"", b"rubbish", b"\x83\xa6format\x09\xa7counter\x01\xa5kinds\x80"])
    async def test_a_file_that_makes_no_sense_is_as_good_as_none(self, tmp_path, content):
        path = tmp_path / "router.state"
        path.write_bytes(content)
        store = MemoryStore(time.time, path)
        assert not store.remembers
        assert await bodies(store) == {}

    async def test_a_disk_that_refuses_is_an_error_and_memory_goes_on(self, tmp_path):
        (tmp_path / "file").write_text("")
        store = MemoryStore(time.time, tmp_path / "file" / "state")
        await store.write("shares", [Change("a", 0, b"1")])
        with pytest.raises(OSError):
            await store.flush()
        assert await bodies(store) == {"a": b"1"}


@pytest.mark.parametrize("swallowed", ["answer", "error"])
async def test_a_cancellation_that_the_client_swallows_still_counts(swallowed):
    class Client:
        async def run(self, *_):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed == "error":
                    raise TimeoutError from None
            return [[b"1", b"1"], []]

        async def close(self):
            return None

    store = RedisStore("redis://127.0.0.1:1/0", deadline_seconds=30.0)
    await store.close()
    store._link = Client()
    reading = asyncio.create_task(store.read("shares"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
