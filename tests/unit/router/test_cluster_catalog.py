"""A router in a cluster: its catalog comes from Secrets, through an API server on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys

import grpc
import pytest

from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_catalog.shards import head_name, secret_names, split
from penstock_chassis.process import StartError
from penstock_chassis.rpc import channel
from tests.apiserver import NAMESPACE, ApiServer

PREFIX = "penstock-router"


@pytest.fixture
async def server():
    async with ApiServer() as running:
        running.allowed = set(secret_names(PREFIX))
        yield running


def publish(server, document):
    for name, payload in split(document).payloads(PREFIX).items():
        server.put(name, payload)


async def test_edges_hear_of_a_change_in_a_secret(harness, tools, server, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(harness.folder)))
    publish(server, tools.catalog())
    router = await harness.router(catalog_path=None, catalog_secrets=PREFIX)
    edge = await harness.edge(router, "s-1")
    assert edge.snapshot.catalog_version == tools.catalog().version

    changed = tools.catalog(tools.account("a"), tools.account("b"))
    publish(server, changed)
    await tools.until(lambda: router.router.desired.version == changed.version)
    assert (await harness.edge(router, "s-2")).snapshot.catalog_version == changed.version

    server.put(head_name(PREFIX), b"{")
    problems = router.metrics.catalog_problems._value
    await tools.until(lambda: problems.get() >= 1)
    assert router.router.desired.version == changed.version
    assert router.ready() == (True, "")


async def test_without_a_cluster_it_says_what_to_do(harness, monkeypatch):
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StartError, match="name a kubeconfig in KUBECONFIG"):
        await harness.router(loaded=False, catalog_path=None, catalog_secrets=PREFIX)


async def test_the_process_serves_its_watch(harness, tools, server):
    folder = harness.folder
    environment = {
        **os.environ,
        "KUBECONFIG": str(server.kubeconfig(folder)),
        "PENSTOCK_ROUTER_ADDRESS": f"unix:{folder}/process.sock",
        "PENSTOCK_ROUTER_CATALOG_SECRETS": PREFIX,
        "PENSTOCK_ROUTER_CATALOG_NAMESPACE": NAMESPACE,
        "PENSTOCK_ROUTER_RUN_DIR": str(folder),
    }
    program = (sys.executable, "-m", "penstock_router.main")
    process = await asyncio.create_subprocess_exec(*program, env=environment, stderr=asyncio.subprocess.PIPE)
    lines: list[dict] = []

    async def read():
        async for line in process.stderr:
            lines.append(json.loads(line))

    reading = asyncio.create_task(read())
    try:
        await tools.until(lambda: any(line["event"] == "catalog_unusable" for line in lines), 90)
        assert f"no Secret {PREFIX}-head" in str(lines)
        publish(server, tools.catalog())
        async with channel(environment["PENSTOCK_ROUTER_ADDRESS"]) as opened, asyncio.timeout(90):
            stub = router_pb2_grpc.RouterServiceStub(opened)
            first = None
            while first is None:
                with contextlib.suppress(grpc.aio.AioRpcError):  # Before there is a catalog.
                    first = await stub.Watch(router_pb2.WatchRequest(edge_session="s-1")).read()
            assert first.snapshot.catalog_version == tools.catalog().version
            assert [account.name for account in first.snapshot.accounts] == ["a", "b", "c"]
        assert tools.SECRET not in str(lines)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading
