from __future__ import annotations

import asyncio
import errno
import os
import random
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from penstock.auth.v1 import auth_pb2, auth_pb2_grpc
from penstock_chassis import rpc
from penstock_edge.folder_lock import FolderLock
from penstock_edge.observer import Unobserved
from penstock_edge.replay import Replay
from penstock_edge.segments import frame
from penstock_edge.segments_fields import Header
from penstock_edge.spool import segment_paths
from tests.unit.edge.fake_auth import FakeAuth, running, serving, until
from tests.unit.edge.test_spool import closed, kill, opened, start


class Watching(Unobserved):
    def __init__(self):
        self.corrupt = 0
        self.counts = []

    def spool_corrupt(self, amount_bytes):
        self.corrupt += amount_bytes

    def replayed(self, *, settled, abandoned):
        self.counts.append((settled, abandoned))


@asynccontextmanager
async def replaying(auth, tmp_path, spool, **options):
    channel = rpc.channel(f"unix:{tmp_path}/auth.sock")
    watching = Watching()
    replay = Replay(
        auth_pb2_grpc.AuthServiceStub(channel),
        root=tmp_path,
        edge=spool.folder.name,
        inherited=spool.inherited,
        session_id="now",
        observer=watching,
        rng=random.random,
        **{"deadline_seconds": 1.0, "look_every_seconds": 0.2, **options},
    )
    replay.watching = watching
    async with serving(auth, tmp_path / "auth.sock"), running(replay.run()):
        yield replay
    await channel.close()


async def test_what_an_earlier_life_left_is_settled_and_its_session_ended(tmp_path):
    first = start(tmp_path, "s1")
    for i in range(5):
        first.open(opened(i))
    for i in range(3):
        first.close(closed(i))
    first.acknowledge([opened(0).request_id])
    kill(first)
    second = start(tmp_path, "s2")
    second.open(opened(7))
    kill(second)
    third = start(tmp_path, "s3")
    auth = FakeAuth()
    auth.settle_script = ["lose", grpc.StatusCode.UNAVAILABLE]
    async with replaying(auth, tmp_path, third) as replay:
        async with asyncio.timeout(30):
            await replay.own_done.wait()
        assert replay.outstanding == 0
        assert replay.watching.counts == [(2, 3)]
    state = {i: auth.rows[opened(i).request_id].state for i in (1, 2, 3, 4, 7)}
    assert len(auth.rows) == 5
    lost, whole = auth_pb2.DELIVERY_STATE_ABANDONED, auth_pb2.DELIVERY_STATE_COMPLETE
    assert state == {1: whole, 2: whole, 3: lost, 4: lost, 7: lost}
    assert auth.rows[opened(7).request_id].edge_session == "s2"
    assert [(d.edge_session, d.edge, d.final) for d in auth.declares] == [
        ("s1", "edge-0", True),
        ("s2", "edge-0", True),
    ]
    assert segment_paths(third.folder) == [third._current.path]
    kill(third)


async def test_a_kill_during_the_replay_loses_nothing(tmp_path):
    first = start(tmp_path, "s1")
    first.open(opened(1))
    kill(first)
    second = start(tmp_path, "s2")
    auth = FakeAuth()
    auth.declare_down = True
    async with replaying(auth, tmp_path, second):
        await until(lambda: auth.rows)
    kill(second)
    third = start(tmp_path, "s3")
    assert len(third.inherited) == 2
    auth.declare_down = False
    async with replaying(auth, tmp_path, third) as replay:
        await until(replay.own_done.is_set)
    assert list(auth.rows) == [opened(1).request_id]
    assert {d.edge_session for d in auth.declares} == {"s1", "s2"}
    kill(third)


async def test_orphans_are_adopted_and_the_living_left_alone(tmp_path):
    from penstock_edge.spool import Spool

    def edge(name, session):
        return Spool.start(tmp_path, name, session, now_ms=1, observer=Unobserved())

    dead, living, own = edge("edge-1", "dead"), edge("edge-2", "alive"), edge("edge-0", "own")
    dead.open(opened(1))
    dead.close(closed(1))
    living.open(opened(2))
    kill(dead)
    auth = FakeAuth()
    async with replaying(auth, tmp_path, own):
        await until(lambda: not (tmp_path / "edge-1").exists())
        assert list(auth.rows) == [opened(1).request_id]
        assert [(d.edge_session, d.edge) for d in auth.declares] == [("dead", "edge-1")]
        kill(living)
        await until(lambda: not (tmp_path / "edge-2").exists())
        assert len(auth.rows) == 2
    kill(own)


async def test_damage_is_set_aside_and_never_fatal(tmp_path):
    first = start(tmp_path, "s1")
    for i in range(3):
        first.open(opened(i))
    kill(first)
    (path,) = segment_paths(first.folder)
    data = bytearray(path.read_bytes()[: first.bytes])
    data[-200] ^= 0xFF
    path.write_bytes(bytes(data) + b"\xa5\x5a\x01")
    strange = path.with_name("000000000000.spool")
    strange.write_bytes(frame(Header(format=99, session="x", edge="edge-0", created_ms=1)) + frame(opened(9)))
    empty = path.with_name("000000000005.spool")
    empty.mkdir()
    second = start(tmp_path, "s2")
    auth = FakeAuth()
    async with replaying(auth, tmp_path, second) as replay:
        await until(lambda: len(auth.rows) == 2)
        await until(lambda: path.with_suffix(".bad").exists() and strange.with_suffix(".bad").exists())
        assert replay.watching.corrupt > 300
        assert path.with_suffix(".bad").stat().st_size > 100
        await asyncio.sleep(0.05)
    assert opened(9).request_id not in auth.rows
    kill(second)


async def test_a_poison_row_of_an_earlier_life(tmp_path):
    first = start(tmp_path, "s1")
    for i in range(5):
        first.open(opened(i))
    kill(first)
    second = start(tmp_path, "s2")
    auth = FakeAuth()
    auth.settle_script = [("poison", opened(2).request_id)]
    async with replaying(auth, tmp_path, second) as replay:
        await until(lambda: len(auth.rows) == 4, 10)
        auth.settle_script = [("quarantine", opened(2).request_id)]
        await until(replay.own_done.is_set, 10)
    kill(second)


async def test_a_disk_that_cannot_be_read_is_looked_at_again(tmp_path, monkeypatch):
    own = start(tmp_path, "s1")
    (tmp_path / "edge-1").mkdir()
    asked, whole = [], Path.iterdir

    def failing(folder):
        asked.append(folder)
        if len(asked) < 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return whole(folder)

    monkeypatch.setattr(Path, "iterdir", failing)
    async with replaying(FakeAuth(), tmp_path, own, look_every_seconds=0.01):
        await until(lambda: not (tmp_path / "edge-1").exists())
    kill(own)


@pytest.mark.parametrize("left", [b"", bytes(5000)], ids=["empty", "zeros"])
async def test_a_segment_without_any_record_is_removed(tmp_path, left):
    """Its edge was killed before it had written the header."""
    (tmp_path / "edge-1").mkdir()
    (tmp_path / "edge-1" / "000000000001.spool").write_bytes(left)
    (tmp_path / "edge-0").mkdir()
    (tmp_path / "edge-0" / "000000000001.spool").write_bytes(left)
    own = start(tmp_path, "s1")
    auth = FakeAuth()
    async with replaying(auth, tmp_path, own):
        await until(lambda: not (tmp_path / "edge-1").exists())
        assert segment_paths(own.folder) == [own._current.path]
    assert auth.settles == []
    assert auth.declares == []
    kill(own)


async def test_nothing_to_replay(tmp_path):
    own = start(tmp_path, "s1")
    other = tmp_path / "edge-1"
    other.mkdir()
    auth = FakeAuth()
    async with replaying(auth, tmp_path, own) as replay:
        await until(replay.own_done.is_set)
        await until(lambda: not other.exists())
    assert auth.settles == []
    assert FolderLock.take(own.folder) is None
    kill(own)
