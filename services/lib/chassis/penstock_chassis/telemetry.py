"""Sends spans to a collector over OTLP/HTTP, from a thread of its own: whatever the collector does, nobody waits.

The queue is bounded; what does not fit, or cannot be delivered within the exporter's deadline, is dropped and counted.
Only this module knows OpenTelemetry's library, and it is imported only where a collector is named.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import threading
import time
import warnings
from collections import deque
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from penstock_chassis import logs, tracing_metrics
from penstock_chassis.absent import absent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.sdk.trace.export import SpanExporter

    from penstock_chassis.telemetry_settings import TelemetrySettings
    from penstock_chassis.tracing import Span

log = logs.get(__name__)

_KINDS: Final = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED)
_FINE: Final = Status(StatusCode.UNSET)
# An export that lasts this long at the end of a process will not end in time either.
_STUCK_SECONDS: Final = 1.0
_TELL_EVERY_SECONDS: Final = 60.0
# The event loop gets the interpreter back from the thread that encodes after so long; Python's own choice is ten times
# that, and would show in the slowest of a hundred requests.
_SWITCH_SECONDS: Final = 0.0005


class Exporting:
    """The queue and the thread behind it (`tracing.Sink`)."""

    def __init__(
        self,
        exporter: SpanExporter,
        resource: Resource,
        *,
        delay_seconds: float,
        queue_size: int,
        batch_size: int,
    ) -> None:
        self._exporter = exporter
        self._resource = resource
        self._scope = InstrumentationScope("penstock", _version())
        self._delay = delay_seconds
        self._most = queue_size
        self._batch = batch_size
        self._queue: deque[Span] = deque()
        self._due = threading.Event()
        self._ending = False
        self._failed = False
        self._exporting_since = 0.0
        self._told_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="trace export", daemon=True)
        self._thread.start()

    def put(self, spans: Iterable[Span]) -> None:
        """Queue spans; those that do not fit are dropped."""
        queue = self._queue
        dropped = 0
        for span in spans:
            if self._ending or len(queue) >= self._most:
                dropped += 1
            else:
                queue.append(span)
        if dropped:
            tracing_metrics.DROPPED.labels("full").inc(dropped)
        if len(queue) >= self._batch:
            self._due.set()

    async def end(self, seconds: float) -> None:
        """Send what is left, for at most so long; not at all to a collector that does not answer."""
        self._ending = True
        stuck = self._exporting_since and time.monotonic() - self._exporting_since > _STUCK_SECONDS
        self._due.set()
        if not (stuck or self._failed):
            await asyncio.to_thread(self._thread.join, seconds)
        left = len(self._queue)
        self._queue.clear()
        if left:
            tracing_metrics.DROPPED.labels("ended").inc(left)
            log.warning("traces_left", spans=left)
        # Wakes an exporter that waits before it tries again. One that is stuck in a call goes with the process.
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._ending or self._queue:
            self._due.wait(self._delay)
            self._due.clear()
            self._send_all()

    def _send_all(self) -> None:
        queue = self._queue
        while queue:
            batch = [queue.popleft() for _ in range(min(len(queue), self._batch))]
            self._exporting_since = time.monotonic()
            try:
                sent = self._exporter.export([self._readable(span) for span in batch]) is SpanExportResult.SUCCESS
            except Exception as error:  # noqa: BLE001 -- whatever a collector provokes, the thread goes on
                sent = False
                self._tell(type(error).__name__)
            self._exporting_since = 0.0
            self._failed = not sent
            if sent:
                tracing_metrics.SENT.inc(len(batch))
            else:
                tracing_metrics.DROPPED.labels("failed").inc(len(batch))
                self._tell("the collector did not take them")

    def _tell(self, reason: str) -> None:
        now = time.monotonic()
        if now - self._told_at > _TELL_EVERY_SECONDS:
            self._told_at = now
            log.warning("traces_not_delivered", reason=reason)

    def _readable(self, span: Span) -> ReadableSpan:
        trace_id, span_id, _ = span.context
        parent = SpanContext(trace_id, span.parent_id, is_remote=False, trace_flags=_FLAGS) if span.parent_id else None
        return ReadableSpan(
            name=span.name,
            context=SpanContext(trace_id, span_id, is_remote=False, trace_flags=_FLAGS),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes | {"error.type": span.error} if span.error else span.attributes,
            events=[Event(name, None, at) for name, at in span.events],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR) if span.error else _FINE,
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )


def begin(settings: TelemetrySettings, *, service: str, instance: str) -> Exporting:
    """Begin to export; the library reads the rest of its variables itself (endpoint, headers, certificates, ...)."""
    # Its own lines would name the collector's URL, which may hold a password; ours say that it failed.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    sys.setswitchinterval(_SWITCH_SECONDS)
    _import_client()
    own = Resource({SERVICE_NAME: service, SERVICE_INSTANCE_ID: instance, SERVICE_VERSION: _version()})
    return Exporting(
        OTLPSpanExporter(),
        own.merge(OTELResourceDetector().detect()),
        delay_seconds=settings.delay_seconds(),
        queue_size=settings.queue_size(),
        batch_size=settings.batch_size(),
    )


def _import_client() -> None:
    """Import the HTTP client of OpenTelemetry's library without what guesses an answer's encoding: 4 MB of tables."""
    with absent("chardet", "charset_normalizer"), warnings.catch_warnings():
        # It says that it misses them, and goes on with UTF-8.
        warnings.simplefilter("ignore")
        importlib.import_module("requests")


def _version() -> str:
    return version("penstock-chassis")
