"""An API server that says no is asked ever less often, and what it says yes to goes on meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from tests.operator.stage import staged
from tests.operator.world import account, plan, secret

# An operator that is stopped while it connects leaves the connection to the garbage collector, as httpx does then.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

READY = ("True", "Ready")
WATCHED_SECONDS = 9.0


@pytest.fixture
async def stage():
    async with staged() as made:
        made.kube.apply(secret("a", **{"api-key": "one"}), account("a"), plan())
        yield made


async def test_a_list_that_is_refused_is_asked_for_ever_less_often_and_news_go_on(stage):
    operator = await stage.operate(resync_seconds=1.0)
    await stage.until_said("Plan", "open", READY)
    stage.kube.refused["GET", "models"] = 403
    await stage.until(lambda: not operator.ready()[0])
    before = len(stage.kube.asked)
    await asyncio.sleep(WATCHED_SECONDS)
    assert stage.kube.asked[before:].count(("GET", "models", "")) <= 5
    stage.kube.apply(account("a", weight=9))
    await stage.until(lambda: stage.account("a").weight == 9)
    stage.kube.refused.clear()
    await stage.until(lambda: operator.ready()[0])


async def test_a_status_that_is_refused_is_written_ever_less_often(stage):
    await stage.operate()
    await stage.until_said("Plan", "open", READY)
    stage.kube.refused["PATCH", "plans"] = 422
    before = len(stage.kube.asked)
    for moment in range(int(WATCHED_SECONDS)):
        stage.kube.apply(plan("other", maxConcurrentRequests=1 + moment))  # Every change is a turn of its own.
        await asyncio.sleep(1.0)
    assert stage.kube.asked[before:].count(("PATCH", "plans/status", "other")) <= 5
    stage.kube.refused.clear()
    await stage.until_said("Plan", "other", READY)
