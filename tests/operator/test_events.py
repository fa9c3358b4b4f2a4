"""Events are bounded: a storm of them would help nobody."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest

from penstock_operator.cluster import ClusterError
from penstock_operator.events import Event, Recorder


class Api:
    namespace = "gateway"

    def __init__(self, *, broken=False):
        self.created = []
        self.broken = broken

    async def create_event(self, body):
        self.created.append(body)
        if self.broken:
            raise ClusterError("no")
        return dict(body)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def item(number):
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "Plan",
        "metadata": {"name": f"p{number}", "uid": f"u{number}", "resourceVersion": "5"},
    }


async def written(recorder):
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0.05)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_an_event_says_whom_it_is_about():
    api = Api()
    recorder = Recorder(api)
    recorder.record(item(1), Event("Warning", "Cooling", "x" * 5000))
    await written(recorder)
    body = api.created[0]
    assert body["involvedObject"] == {
        "apiVersion": "penstock.dev/v1alpha1", "kind": "Plan", "name": "p1", "namespace": "gateway", "uid": "u1",
        "resourceVersion": "5",
    }  # fmt: skip
    assert (body["type"], body["reason"], body["count"]) == ("Warning", "Cooling", 1)
    assert len(body["message"]) <= 1024
    assert body["metadata"]["name"].startswith("p1.")
    assert body["metadata"]["namespace"] == "gateway"


async def test_the_same_again_is_not_told_for_a_minute():
    api, clock = Api(), Clock()
    recorder = Recorder(api, monotonic=clock)
    for _ in range(5):
        recorder.record(item(1), Event("Normal", "Ready", ""))
    clock.now += 61
    recorder.record(item(1), Event("Normal", "Ready", ""))
    await written(recorder)
    assert len(api.created) == 2


async def test_one_object_has_a_few_and_then_one_now_and_then():
    api, clock = Api(), Clock()
    recorder = Recorder(api, monotonic=clock)
    for number in range(100):
        recorder.record(item(1), Event("Normal", "Ready", str(number)))
    clock.now += 31
    for number in range(100, 200):
        recorder.record(item(1), Event("Normal", "Ready", str(number)))
    await written(recorder)
    assert len(api.created) == 11


async def test_all_objects_together_have_a_bound():
    api, clock = Api(), Clock()
    recorder = Recorder(api, monotonic=clock)
    for number in range(3000):
        recorder.record(item(number), Event("Normal", "Ready", ""))
    await written(recorder)
    assert len(api.created) == 100


async def test_one_that_cannot_be_written_is_lost_and_the_next_is_not():
    api = Api(broken=True)
    recorder = Recorder(api)
    recorder.record(item(1), Event("Normal", "Ready", ""))
    recorder.record(item(2), Event("Normal", "Ready", ""))
    await written(recorder)
    assert len(api.created) == 2


@pytest.mark.parametrize("mark", [".", "-"])
async def test_an_event_of_a_long_name_has_a_name_that_the_api_takes(mark):
    api = Api()
    recorder = Recorder(api)
    long = item(1)
    long["metadata"]["name"] = "a" * 199 + mark + "b" * 50
    recorder.record(long, Event("Normal", "Ready", "It is ready"))
    await written(recorder)
    part = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    name = api.created[0]["metadata"]["name"]
    assert re.fullmatch(rf"{part}(\.{part})*", name)
    assert len(name) <= 253
