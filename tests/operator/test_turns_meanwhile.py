"""What happens to objects while the operator is in the midst of something else with them."""

from __future__ import annotations

import asyncio

import pytest

from penstock_operator import turns
from penstock_operator.kinds import UPSTREAM_ACCOUNT
from tests.operator.stage import staged
from tests.operator.world import account, plan, secret

# An operator that is stopped while it connects leaves the connection to the garbage collector, as httpx does then.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

READY = ("True", "Ready")


@pytest.fixture
async def stage():
    async with staged() as made:
        made.kube.apply(secret("a", **{"api-key": "one"}), account("a"), plan())
        yield made


async def test_a_status_says_nothing_of_a_generation_that_came_during_the_turn(stage, monkeypatch):
    operator = await stage.operate()
    await stage.until_said("UpstreamAccount", "a", READY)
    await stage.quiet()
    issue, patch, said = operator.turns._issuer.issue, operator.cluster.patch_status, []

    async def slowly(*arguments):
        issued = await issue(*arguments)
        if stage.kube.get("UpstreamAccount", "a")["metadata"]["generation"] == 2:
            stage.kube.apply(account("a", weight=9))
            await stage.until(lambda: operator.seen.of(UPSTREAM_ACCOUNT)["a"]["spec"].get("weight") == 9)
        return issued

    async def noted(kind, name, body):
        said.append((body["status"]["observedGeneration"], stage.account("a").weight))
        return await patch(kind, name, body)

    monkeypatch.setattr(operator.turns._issuer, "issue", slowly)
    monkeypatch.setattr(operator.cluster, "patch_status", noted)
    stage.kube.apply(account("a", weight=8))
    await stage.until(lambda: stage.kube.status("UpstreamAccount", "a").get("observedGeneration") == 3)
    await stage.quiet()
    assert {weight for generation, weight in said if generation == 3} == {9}


async def test_a_status_is_written_soon_although_somebody_touched_the_object(stage, monkeypatch):
    """What they changed is of no interest, so that it wakes nobody; but the status had been meant for what was before."""
    monkeypatch.setattr(turns, "_HEARING_SECONDS", 0.0)
    operator = await stage.operate(outage_seconds=600.0, resync_seconds=600.0)  # No turn because of time alone.
    await stage.until_said("Plan", "open", READY)
    await stage.quiet()
    patch, touched = operator.cluster.patch_status, []

    async def touch(kind, name, body):
        ready = {row["type"]: row["status"] for row in body["status"]["conditions"]}["Ready"] == "True"
        if name == "open" and ready and not touched:
            touched.append(True)
            known = stage.kube._objects["plans"]["open"]
            left = {**known, "metadata": {**known["metadata"], "finalizers": ["somebody/else"]}}
            stage.kube._store("plans", left, known)
        return await patch(kind, name, body)

    monkeypatch.setattr(operator.cluster, "patch_status", touch)
    stage.kube.apply(plan(maxConcurrentRequests=5))
    await stage.until(lambda: stage.kube.status("Plan", "open")["observedGeneration"] == 2)
    await stage.until_said("Plan", "open", READY)


async def test_a_status_that_is_wanted_while_another_is_being_written_is_written_soon(stage, monkeypatch):
    monkeypatch.setattr(turns, "_HEARING_SECONDS", 0.0)
    operator = await stage.operate(outage_seconds=600.0, resync_seconds=600.0)  # No turn because of time alone.
    await stage.until_said("Plan", "open", READY)
    await stage.quiet()
    patch, slow = operator.cluster.patch_status, []

    async def slowly(kind, name, body):
        if not slow:
            slow.append(True)
            stage.auth.version = None  # Auth loads it, and says so, while this write is under way.
            await asyncio.sleep(2.0)
        return await patch(kind, name, body)

    monkeypatch.setattr(operator.cluster, "patch_status", slowly)
    stage.auth.version = stage.auth_catalog().version
    stage.kube.apply(plan(maxConcurrentRequests=5))
    await stage.until(lambda: slow)
    await stage.until(lambda: stage.kube.status("Plan", "open")["observedGeneration"] == 2)
    await stage.until_said("Plan", "open", READY)
