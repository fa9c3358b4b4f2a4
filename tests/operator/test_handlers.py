"""What kopf hears of a cluster, and that it leaves nothing there. kmock plays the API server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import httpx
import kmock
import pytest

from penstock_catalog.cluster_access import ClusterAccess
from penstock_operator.handlers import Watching
from penstock_operator.kinds import WATCHED

NAMESPACE = "gateway"
PLANS = "penstock.dev/v1alpha1/plans"
PATH = f"/apis/penstock.dev/v1alpha1/namespaces/{NAMESPACE}/plans"
READS = {"get", "list", "watch", "patch"}


def plan(name: str, version: int, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "penstock.dev/v1alpha1", "kind": "Plan", "metadata": metadata, "spec": spec}


def secret(name: str, version: int) -> dict[str, Any]:
    return {**plan(name, version), "apiVersion": "v1", "kind": "Secret", "spec": {}}


class Heard:
    """Every event, in its order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str | None, str, Any]] = []
        self.lives = 0

    def tell(self, kind, event: str | None, item: dict[str, Any]) -> None:
        self.events.append((kind.name, event, item["metadata"]["name"], item.get("spec", {}).get("overBudget")))

    def begun(self) -> None:
        self.lives += 1

    async def until(self, *expected: tuple[str, str | None, str, Any]) -> None:
        async with asyncio.timeout(30):
            while not set(expected) <= set(self.events):
                await asyncio.sleep(0.02)


@pytest.fixture
async def server():
    async with kmock.KubernetesEmulator() as emulator, kmock.Server(emulator) as running:
        for kind in WATCHED:
            resource = f"{kind.api_version}/{kind.plural}"
            emulator.resources[resource] = {"kind": kind.name, "namespaced": True, "verbs": READS}
        # kopf waits for it to be known, even where it never looks at any.
        emulator.resources["v1/namespaces"] = {"kind": "Namespace", "namespaced": False, "verbs": READS}
        yield emulator, str(running.url).rstrip("/")


@asynccontextmanager
async def watching(url: str):
    heard = Heard()
    access = ClusterAccess(url, NAMESPACE, token=lambda: "token", tls=lambda: None)
    running = asyncio.create_task(Watching(access, NAMESPACE, tell=heard.tell, begun=heard.begun).run())
    try:
        yield heard
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_there_is_told_first_and_then_every_change(server):
    emulator, url = server
    emulator.objects[PLANS, NAMESPACE, "there"] = plan("there", 1, overBudget="Settled")
    async with watching(url) as heard, httpx.AsyncClient(base_url=url, timeout=30) as user:
        await heard.until(("Plan", None, "there", "Settled"))
        await user.post(PATH, json=plan("new", 2, overBudget="Strict"))
        await heard.until(("Plan", "ADDED", "new", "Strict"))
        change = {"metadata": {"resourceVersion": "3"}, "spec": {"overBudget": "Strict"}}
        await user.patch(f"{PATH}/there", json=change, headers={"content-type": "application/merge-patch+json"})
        await heard.until(("Plan", "MODIFIED", "there", "Strict"))
        await user.delete(f"{PATH}/new")
        await heard.until(("Plan", "DELETED", "new", "Strict"))
        await user.post(f"/api/v1/namespaces/{NAMESPACE}/secrets", json=secret("credential", 4))
        await heard.until(("Secret", "ADDED", "credential", None))
    assert heard.lives == 1
    assert heard.events[0] == ("Plan", None, "there", "Settled")


async def test_nothing_is_ever_written(server):
    """No finalizer, no annotation, no Event of kopf's own: what is uninstalled leaves no mark and holds nothing up."""
    emulator, url = server
    emulator.objects[PLANS, NAMESPACE, "there"] = plan("there", 1)
    async with watching(url) as heard:
        await heard.until(("Plan", None, "there", None))
        await asyncio.sleep(0.5)
    assert {str(request.method.value) for request in emulator} == {"GET"}
    assert dict(emulator.objects[PLANS, NAMESPACE, "there"]) == plan("there", 1)
