"""A router on a unix socket with edges that watch it, in one process, on short times."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_catalog import documents
from penstock_chassis.rpc import channel
from penstock_router.main import RouterService
from penstock_router.metrics import Metrics
from penstock_router.settings import RouterSettings

SECRET = "sk-upstream-secret"
MODELS = ("claude-a", "claude-b")


def account(name, **more):
    return documents.Account(
        **{
            "name": name,
            "provider": "Anthropic",
            "base_url": "http://127.0.0.1:1",
            "api_key": f"{SECRET}-{name}",
            "credential_hash": f"hash-{name}",
            "models": MODELS,
            "allow_private_address": True,
            **more,
        }
    )


def catalog(*accounts):
    models = tuple(
        documents.Model(name=name, aliases=(f"{name}-latest",), context_tokens=1000, max_output_tokens=100, prices=())
        for name in MODELS
    )
    return documents.RouterCatalog(
        accounts=accounts or (account("a"), account("b"), account("c")), models=models
    ).sealed()


def outcome(cls, *, name="a", request_id="r", retry_after_ms=-1, sent_ago_ms=0, model=MODELS[0], **more):
    row = router_pb2.Outcome(
        **{
            "request_id": request_id,
            "project": "p",
            "account": name,
            "model": model,
            "operation": "messages",
            "retry_after_ms": retry_after_ms,
            "sent_ago_ms": sent_ago_ms,
            "first_byte_ms": -1,
            "tokens": -1,
            **more,
        }
    )
    setattr(row, "class", cls)
    return row


class Edge:
    """What an edge process knows, from its stream."""

    def __init__(self, stub, session, edge=""):
        self.stub = stub
        self.session = session
        self.edge = edge
        self.seq = 0
        self.updates = []
        self.snapshot = None
        self.snapshots = 0
        self.heartbeats = 0
        self.cooldowns = {}
        self.shares = {}
        self.call = None
        self.task = None

    def watch(self, shares=()):
        self.call = self.stub.Watch(
            router_pb2.WatchRequest(edge_session=self.session, edge=self.edge, shares=shares), wait_for_ready=True
        )
        self.task = asyncio.create_task(self._read())

    async def _read(self):
        async for update in self.call:
            what = update.WhichOneof("what")
            self.updates.append(what)
            if what == "snapshot":
                self.snapshot = update.snapshot
                self.snapshots += 1
                self.cooldowns = {(c.account, c.model, c.operation): c for c in update.snapshot.cooldowns}
                self._obey(update.snapshot.shares)
            elif what == "cooldowns":
                for row in update.cooldowns.cleared:
                    self.cooldowns.pop((row.account, row.model, row.operation), None)
                self.cooldowns.update({(c.account, c.model, c.operation): c for c in update.cooldowns.set})
            elif what == "shares":
                self._obey(update.shares.shares)
            else:
                self.heartbeats += 1

    def _obey(self, rows):
        for row in rows:
            if row.version >= self.shares.get(row.account, (-1, None))[0]:
                self.shares[row.account] = (row.version, row.share)

    async def report(self, *outcomes, demand=None, **more):
        self.seq += 1
        rows = [
            router_pb2.Demand(account=name, share_version=version, **(demand or {}))
            for name, (version, _) in self.shares.items()
        ] or [router_pb2.Demand(account="a", **(demand or {}))] * bool(demand)
        request = router_pb2.ReportRequest(
            **{
                "edge_session": self.session,
                "seq": self.seq,
                "outcomes": outcomes,
                "demand": rows,
                "catalog_version": "v",
                **more,
            }
        )
        return await self.stub.Report(request, timeout=30)

    def slots(self, name="a"):
        return self.shares[name][1].slots if name in self.shares else 0

    def cooldown(self, name="a", model=MODELS[0], operation=""):
        return self.cooldowns.get((name, model, operation))

    async def leave(self):
        if self.task is not None:
            self.call.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self.task


async def until(holds, seconds=20.0):
    """Wait until something holds. What is to come at once comes sooner than any usual time of a router is over."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)
    return holds()


class Harness:
    """Starts and ends routers and edges; `folder` outlives a restart."""

    def __init__(self, folder):
        self.folder = folder
        self.services = []
        self.edges = []
        self.channels = []

    def write(self, document):
        documents.write(self.folder / "router.json", document)

    async def router(self, *, loaded=True, prober=None, **settings):
        number = len(self.services)
        service = RouterService(
            RouterSettings(
                **{
                    "name": "router",
                    "address": f"unix:{self.folder}/{number}.sock",
                    "catalog_path": self.folder / "router.json",
                    "run_dir": self.folder,
                    "sync_seconds": 0.05,
                    "heartbeat_seconds": 0.1,
                    **settings,
                }
            ),
            Metrics(CollectorRegistry()),
        )
        if prober is not None:
            service.router._prober = prober
        self.services.append(service)
        await service.start()
        if loaded:
            await until(lambda: service.ready()[0])
        return service

    def stub(self, service):
        opened = channel(service.settings.address)
        self.channels.append(opened)
        return router_pb2_grpc.RouterServiceStub(opened)

    async def edge(self, service, session, edge="", shares=()):
        made = Edge(self.stub(service), session, edge)
        self.edges.append(made)
        made.watch(shares)
        await until(lambda: made.snapshot is not None)
        return made

    async def stop(self, service):
        self.services[self.services.index(service)] = None
        await service.drain(0.5)

    async def close(self):
        for edge in self.edges:
            await edge.leave()
        for opened in self.channels:
            await opened.close()
        for service in self.services:
            if service is not None:
                await service.drain(0.2)


@pytest.fixture
async def harness():
    # Not tmp_path: a unix socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="pr-"))
    made = Harness(folder)
    made.write(catalog())
    yield made
    await made.close()
    shutil.rmtree(folder)


@pytest.fixture
def tools():
    """What tests build messages and catalogs with."""

    class Tools:
        pass

    Tools.account, Tools.catalog, Tools.outcome, Tools.until = (
        staticmethod(account),
        staticmethod(catalog),
        staticmethod(outcome),
        staticmethod(until),
    )
    Tools.SECRET, Tools.MODELS = SECRET, MODELS
    return Tools
