from __future__ import annotations

import time
from contextlib import asynccontextmanager

import grpc

from penstock.auth.v1 import auth_pb2, auth_pb2_grpc
from penstock_chassis import rpc
from penstock_edge.session import Session, new_session_id
from tests.unit.edge.fake_auth import FakeAuth, running, serving, until


class Books:
    def __init__(self):
        self.calls = []
        self.keys = [auth_pb2.KeyDeclaration(key_sha256=b"k")]

    async def quiet(self):
        self.calls.append("quiet")

    def declarations(self):
        self.calls.append("declarations")
        return self.keys

    def declared(self):
        self.calls.append("declared")


@asynccontextmanager
async def session_of(tmp_path, **options):
    channel = rpc.channel(f"unix:{tmp_path}/auth.sock")
    session = Session(
        auth_pb2_grpc.AuthServiceStub(channel),
        edge="edge-0",
        session_id="s1",
        catalog_version=lambda: "v7",
        clock=time.monotonic,
        **{"heartbeat_seconds": 0.05, **options},
    )
    session.books = Books()
    async with running(session.run(session.books)):
        yield session
    await channel.close()


def test_every_life_has_a_name_of_its_own():
    assert new_session_id() != new_session_id()


async def test_declares_itself_first_and_then_beats(tmp_path):
    auth = FakeAuth()
    times = []
    async with session_of(tmp_path) as session:
        session.tell_time(lambda *row: times.append(row))
        assert not session.answered
        async with serving(auth, tmp_path / "auth.sock"):
            await until(lambda: len(auth.declares) >= 5)
        assert session.answered
        assert session.in_step
        first, second, *rest = auth.declares
        assert (first.epoch, first.complete, first.edge, first.catalog_version) == ("", False, "edge-0", "v7")
        assert (second.epoch, second.complete, len(second.keys)) == ("e1", True, 1)
        assert all((d.epoch, d.complete) == ("e1", False) and not d.keys for d in rest)
        assert session.books.calls == ["quiet", "declarations", "declared"]
        assert session.reached_at > 0
        assert times[0][0] == 1_700_000_000_000
        assert times[0][1] <= times[0][2]


async def test_the_same_declaration_is_repeated_until_it_is_heard(tmp_path):
    auth = FakeAuth()
    declare, lost = auth.Declare, []

    async def losing(request, context):
        answer = await declare(request, context)
        if request.complete and len(lost) < 2:
            lost.append(request)
            answer.declare_again = True
        return answer

    auth.Declare = losing
    async with serving(auth, tmp_path / "auth.sock"), session_of(tmp_path) as session:
        await until(lambda: session.answered)
        assert session.books.calls.count("declarations") == 1
        assert len([d for d in auth.declares if d.complete]) == 3


async def test_a_new_epoch_is_declared_for_at_once(tmp_path):
    auth = FakeAuth()
    async with (
        serving(auth, tmp_path / "auth.sock"),
        session_of(tmp_path, heartbeat_seconds=60) as session,
    ):
        await until(lambda: session.answered)
        auth.epoch = "e2"
        session.saw_epoch("")
        session.saw_epoch("e1")
        assert session.in_step
        session.saw_epoch("e2")
        assert not session.in_step
        await until(lambda: session.epoch == "e2")
        session.saw_epoch("e1")
        assert session.in_step, "an epoch of the past is no news"


async def test_an_epoch_that_passes_during_the_declaration(tmp_path):
    auth = FakeAuth()
    declare = auth.Declare

    async def changing(request, context):
        if request.complete and request.epoch == "e1":
            auth.epoch = "e2"
        return await declare(request, context)

    auth.Declare = changing
    async with serving(auth, tmp_path / "auth.sock"), session_of(tmp_path) as session:
        await until(lambda: session.epoch == "e2")
        assert session.books.calls.count("declarations") == 2


async def test_a_store_that_forgot_us_hears_it_again(tmp_path):
    auth = FakeAuth()
    declare = auth.Declare
    forgot = [True]

    async def forgetting(request, context):
        answer = await declare(request, context)
        if request.complete:
            forgot.clear()
        elif forgot:
            answer.declare_again = True
        return answer

    auth.Declare = forgetting
    async with serving(auth, tmp_path / "auth.sock"), session_of(tmp_path, heartbeat_seconds=60) as session:
        await until(lambda: session.answered)
        forgot.append(True)
        session._beat_at = 0
        session.doubt()
        await until(lambda: session.books.calls.count("declared") == 2)
        assert session.answered


async def test_end_is_final(tmp_path):
    auth = FakeAuth()
    async with session_of(tmp_path) as session:
        async with serving(auth, tmp_path / "auth.sock"):
            await until(lambda: session.answered)
            assert await session.end(5.0)
            assert any(d.final for d in auth.declares)
        assert not await session.end(0.2)


async def test_the_end_is_told_again_when_nobody_heard_it(tmp_path):
    auth = FakeAuth()
    hears, deaf = auth.Declare, [True]

    async def once_deaf(request, context):
        if request.final and deaf:
            deaf.clear()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is too old")
        return await hears(request, context)

    auth.Declare = once_deaf
    async with serving(auth, tmp_path / "auth.sock"), session_of(tmp_path) as session:
        await until(lambda: session.answered)
        assert await session.end(5.0)
        assert any(d.final for d in auth.declares)
