"""Spans on their way to a collector that is well, refuses, freezes, or is not there."""

import sys
import time

import pytest

from penstock_chassis import telemetry, tracing_metrics
from penstock_chassis.telemetry_settings import TelemetrySettings
from penstock_chassis.tracing import Span, new_root
from tests.collector import Collector


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.end()


@pytest.fixture
def begin(monkeypatch, collector):
    begun = []
    interval = sys.getswitchinterval()

    def begin(**variables):
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"} | variables
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        begun.append(telemetry.begin(TelemetrySettings.read(), service="penstock-edge", instance="edge-0"))
        return begun[-1]

    yield begin
    for one in begun:
        # What is stuck in a call is let go by the collector's end.
        one._ending = True
        one._due.set()
    sys.setswitchinterval(interval)


def span(name="one", **more):
    context = new_root()
    return Span(name, context, 0, 1_700_000_000_000_000_000, 1_700_000_000_500_000_000, **more)


def count(metric, *labels):
    return (metric.labels(*labels) if labels else metric)._value.get()


def test_a_span_arrives_whole(begin, collector):
    exporting = begin(OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test,service.instance.id=mine")
    parent = span("parent")
    child = span(
        "child",
        kind="client",
        attributes={"text": "t", "number": 7, "yes": True},
        events=(("first_byte", 1_700_000_000_100_000_000),),
        error="Overloaded",
    )
    child.context, child.parent_id = parent.context.child(), parent.context.span_id
    exporting.put([parent, child])
    collector.wait("both", lambda: len(collector.spans) == 2)
    above, below = collector.spans
    assert above.parent_id == ""
    assert below.trace_id == above.trace_id == f"{parent.context.trace_id:032x}"
    assert below.parent_id == above.span_id
    assert (below.kind, above.kind) == (3, 1)
    assert (below.failed, above.failed) == (True, False)
    assert below.attributes == {"text": "t", "number": 7, "yes": True, "error.type": "Overloaded"}
    assert below.events == {"first_byte": 1_700_000_000_100_000_000}
    assert (below.start, below.end) == (child.start_ns, child.end_ns)
    assert below.resource["service.name"] == "penstock-edge"
    assert below.resource["service.instance.id"] == "mine"
    assert below.resource["deployment.environment.name"] == "test"


def test_the_services_name_and_headers_come_from_the_environment(begin, collector):
    exporting = begin(OTEL_SERVICE_NAME="gateway", OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20t0k")
    exporting.put([span()])
    collector.wait("it", lambda: collector.spans)
    assert collector.spans[0].service == "gateway"
    assert collector.headers[0]["authorization"] == "Bearer t0k"


async def test_what_is_left_is_sent_at_the_end(begin, collector):
    exporting = begin(OTEL_BSP_SCHEDULE_DELAY="60000")
    exporting.put([span() for _ in range(3)])
    await exporting.end(10.0)
    assert len(collector.spans) == 3
    exporting.put([span()])
    assert len(collector.spans) == 3


async def test_a_frozen_collector_costs_nothing_but_drops(begin, collector):
    collector.freeze()
    exporting = begin(OTEL_BSP_MAX_QUEUE_SIZE="10", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="5")
    full, ended = count(tracing_metrics.DROPPED, "full"), count(tracing_metrics.DROPPED, "ended")
    exporting.put([span()])
    collector.wait("the first", lambda: collector.asked == 1)
    for _ in range(50):
        exporting.put([span()])
    assert count(tracing_metrics.DROPPED, "full") - full == 40
    began = time.monotonic()
    await exporting.end(0.2)
    assert time.monotonic() - began < 5
    assert count(tracing_metrics.DROPPED, "ended") - ended == 10


async def test_nobody_waits_for_a_collector_that_is_known_to_be_stuck(begin, collector, monkeypatch):
    collector.freeze()
    exporting = begin()
    exporting.put([span()])
    collector.wait("it", lambda: collector.asked == 1)
    monkeypatch.setattr(telemetry, "_STUCK_SECONDS", 0.0)
    monkeypatch.setattr(exporting._thread, "join", lambda *_: pytest.fail("it waited"))
    await exporting.end(600)


@pytest.mark.parametrize("status", [400, 401, 500])
def test_what_a_collector_refuses_is_counted(begin, collector, status):
    collector.status = status
    exporting = begin()
    failed = count(tracing_metrics.DROPPED, "failed")
    exporting.put([span(), span()])
    collector.wait("the refusal", lambda: count(tracing_metrics.DROPPED, "failed") - failed == 2)
    collector.status = 200
    sent = count(tracing_metrics.SENT)
    exporting.put([span()])
    collector.wait("the next", lambda: count(tracing_metrics.SENT) - sent == 1)
    assert len(collector.spans) == 1


def test_no_password_of_the_collector_is_logged(begin, collector, capfd):
    host = collector.url.removeprefix("http://")
    collector.status = 500
    exporting = begin(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://user:s3cr3t@{host}")
    failed = count(tracing_metrics.DROPPED, "failed")
    exporting.put([span()])
    collector.wait("the refusal", lambda: count(tracing_metrics.DROPPED, "failed") > failed)
    out = capfd.readouterr()
    assert "s3cr3t" not in out.out + out.err
