from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager

from penstock.auth.v1 import auth_pb2_grpc
from penstock_chassis import rpc
from penstock_edge.changes import Changes
from tests.unit.edge.fake_auth import FakeAuth, running, serving, until


class Listener:
    def __init__(self):
        self.heard = []

    def key_changed(self, key_sha256):
        self.heard.append(("key", key_sha256))

    def project_changed(self, project):
        self.heard.append(("project", project))

    def plan_changed(self, plan):
        self.heard.append(("plan", plan))

    def everything_changed(self):
        self.heard.append("everything")


@asynccontextmanager
async def listening(tmp_path, **options):
    channel = rpc.channel(f"unix:{tmp_path}/auth.sock")
    epochs, listener = [], Listener()
    changes = Changes(
        auth_pb2_grpc.AuthServiceStub(channel),
        session_id="s1",
        clock=time.monotonic,
        rng=random.random,
        saw_epoch=epochs.append,
        **options,
    )
    changes.epochs, changes.listener = epochs, listener
    assert not changes.live(time.monotonic())
    async with running(changes.run(listener)):
        yield changes
    await channel.close()


async def test_the_first_word_changes_everything_and_then_only_what_is_named(tmp_path):
    auth = FakeAuth()
    async with serving(auth, tmp_path / "auth.sock"), listening(tmp_path) as changes:
        await until(lambda: changes.listener.heard == ["everything"])
        assert changes.live(time.monotonic())
        assert changes.epochs[0] == "e1"
        auth.change(key_sha256=b"k")
        auth.change(project="p")
        auth.change(plan="q")
        auth.change(everything=True)
        await until(lambda: len(changes.listener.heard) == 5)
        assert changes.listener.heard[1:] == [("key", b"k"), ("project", "p"), ("plan", "q"), "everything"]


async def test_a_gap_changes_everything(tmp_path):
    auth = FakeAuth()
    async with serving(auth, tmp_path / "auth.sock"), listening(tmp_path) as changes:
        await until(lambda: changes.listener.heard)
        auth.change(skip=1, project="p")
        await until(lambda: changes.listener.heard == ["everything", "everything"])
        auth.change_seq += 5  # heartbeats tell of changes that were missed
        await until(lambda: len(changes.listener.heard) == 3)


async def test_a_restart_changes_everything(tmp_path):
    auth = FakeAuth()
    async with listening(tmp_path) as changes:
        async with serving(auth, tmp_path / "auth.sock"):
            await until(lambda: changes.listener.heard == ["everything"])
        auth.epoch = "e2"
        async with serving(auth, tmp_path / "auth.sock"):
            await until(lambda: changes.listener.heard == ["everything"] * 2)
        assert changes.epochs[-1] == "e2"


async def test_a_silent_stream_is_opened_anew(tmp_path):
    auth = FakeAuth()
    auth.heartbeat = 60
    async with serving(auth, tmp_path / "auth.sock"), listening(tmp_path, silence_seconds=0.2) as changes:
        await until(lambda: auth.watchers)
        first = set(auth.watchers)
        await until(lambda: auth.watchers and not auth.watchers & first)
        assert not changes.live(time.monotonic())


async def test_the_stream_follows_calls_that_another_replica_answers(tmp_path):
    auth = FakeAuth()
    async with serving(auth, tmp_path / "auth.sock"), listening(tmp_path) as changes:
        asked = time.monotonic()
        await until(lambda: changes.listener.heard == ["everything"])
        changes.moved(asked)
        first = set(auth.watchers)
        changes.moved(time.monotonic())
        # What was heard before may have changed where nobody told this stream of it.
        await until(lambda: changes.listener.heard == ["everything"] * 2 and not auth.watchers & first)
        assert changes.live(time.monotonic())
        second = set(auth.watchers)
        changes.moved(time.monotonic())
        await asyncio.sleep(0.3)
        assert auth.watchers == second, "calls that go to several replicas by turns must not make it hurry to and fro"
