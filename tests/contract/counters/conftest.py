"""Both stores of counters on a clock that tests turn."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator

import pytest

from penstock_auth.counters import (
    NOTHING,
    AllowCall,
    AllowResult,
    Amounts,
    Counters,
    LeaseReturn,
    ProjectHistory,
)
from penstock_auth.counters_memory import MemoryCounters
from penstock_auth.counters_redis import RedisCounters
from tests.servers import RedisCluster, RedisServer, redis_cluster, redis_server

START_MS = 1_800_000_000_000


class Clock:
    """A clock in unix ms that moves only when told."""

    def __init__(self) -> None:
        self.now = START_MS

    def __call__(self) -> int:
        return self.now

    def pass_ms(self, ms: int) -> None:
        self.now += ms


class Truth:
    """SQL as the store sees it: recorded sessions and ledger rows, set by the test."""

    def __init__(self) -> None:
        self.unclean: set[str] = set()
        self.projects: dict[str, ProjectHistory] = {}
        self.reads = 0

    async def unclean_sessions(self) -> frozenset[str]:
        return frozenset(self.unclean)

    async def history(self, project: str) -> ProjectHistory:
        self.reads += 1
        return self.projects.get(project, ProjectHistory())


class Desk:
    """A store with its clock and truth, and calls made easy: it counts each (session, key)'s seq and fills epochs."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self.clock = Clock()
        self.truth = Truth()
        self.store: Counters = self._make()
        self.seqs: dict[tuple[str, str], int] = {}
        self.epoch = ""

    def _make(self) -> Counters:
        if self.kind == "memory":
            return MemoryCounters(self.truth, clock=self.clock)
        cluster = self.kind == "cluster"
        return RedisCounters(self.url, self.truth, cluster=cluster, clock=self.clock, deadline_seconds=10.0)

    async def open(self) -> None:
        await self.store.open()
        self.epoch = (await self.store.epoch()).id

    async def lose(self) -> None:
        """Make the store lose all that it has."""
        if self.kind == "memory":
            await self.store.close()
            self.store = self._make()
        else:
            flush(self.url)
            # Another auth would notice within a second; this one is made to look at once.
            assert isinstance(self.store, RedisCounters)
            self.store._view = None
        self.epoch = (await self.store.epoch()).id

    async def pass_ms(self, ms: int, *, silent: tuple[str, ...] = ()) -> None:
        """Let time pass, with the heartbeats of all sessions but the silent ones."""
        while True:
            step = min(ms, 5_000)
            self.clock.pass_ms(step)
            ms -= step
            if ms <= 0:
                return
            for session in {session for session, _ in self.seqs} - set(silent):
                await self.store.touch_session(session)

    async def allow(self, session: str = "edge-a", key: str = "k1", **fields: object) -> AllowResult:
        call = self.call(session, key, **fields)
        return await self.store.allow(call)

    def call(self, session: str = "edge-a", key: str = "k1", **fields: object) -> AllowCall:
        seq = self.seqs[session, key] = self.seqs.get((session, key), 0) + 1
        base = AllowCall(project="p1", key=key, session=session, seq=seq, epoch=self.epoch)
        return dataclasses.replace(base, **fields)  # type: ignore[arg-type]  # fields are those of AllowCall


def flush(url: str) -> None:
    """Empty a server, or a cluster whose URL names all of its primaries."""
    for node in url.removeprefix("redis://").removesuffix("/0").split(","):
        server = RedisServer(int(node.rpartition(":")[2]), None)  # type: ignore[arg-type]  # no process needed
        assert server.command("FLUSHALL").startswith(b"+OK")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with redis_server() as server:
        yield server.url


@pytest.fixture(scope="session")
def formed() -> Iterator[RedisCluster]:
    """A cluster that no test changes."""
    with redis_cluster() as cluster:
        yield cluster


@pytest.fixture(params=["memory", "redis", "cluster"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    url = ""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        flush(url)
    if request.param == "cluster":
        url = request.getfixturevalue("formed").url
        flush(url)
    made = Desk(request.param, url)
    await made.open()
    yield made
    await made.store.close()


def slots(n: int) -> Amounts:
    return Amounts(slots=n)


__all__ = ["NOTHING", "START_MS", "Clock", "Desk", "LeaseReturn", "Truth", "flush", "slots"]
