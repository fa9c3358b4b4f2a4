"""Tells people what has happened, as Kubernetes Events on the objects that it happened to: bounded, and never twice."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from penstock_operator import metrics
from penstock_operator.cluster import ClusterError
from penstock_operator.conditions import time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from penstock_operator.cluster import Object

_COMPONENT: Final = "penstock-operator"
_BURST, _PER_SECOND = 100.0, 5.0
_OWN_BURST, _OWN_PER_SECOND = 10.0, 1 / 30
_SAME_SECONDS: Final = 60.0
_MOST_OBJECTS: Final = 10_000
_MOST_WAITING: Final = 500
_LONGEST_MESSAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


class EventApi(Protocol):
    """Where Events are written: `Cluster`."""

    namespace: str

    async def create_event(self, body: Mapping[str, Any]) -> Object:
        """Create an Event. Raises ClusterError."""


class _Bucket:
    """So many at once, and so many in time."""

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst, self._per_second = burst, per_second
        self._tokens, self._at = burst, now

    def take(self, now: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Recorder:
    """Writes Events in the background. Those that are too many are counted and dropped: statuses tell it too."""

    def __init__(self, api: EventApi, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._monotonic = monotonic
        self._all = _Bucket(_BURST, _PER_SECOND, monotonic())
        self._own: dict[str, _Bucket] = {}
        self._said: dict[tuple[str, Event], float] = {}
        self._waiting: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue(_MOST_WAITING)

    def record(self, item: Object, event: Event) -> None:
        """Write an Event about an object soon, unless it has just been written or there are too many."""
        now = self._monotonic()
        uid = str(item["metadata"].get("uid", ""))
        if now - self._said.get((uid, event), -_SAME_SECONDS) < _SAME_SECONDS:
            return
        if len(self._own) >= _MOST_OBJECTS or len(self._said) >= _MOST_OBJECTS:
            self._own.clear()
            self._said.clear()
        own = self._own.setdefault(uid, _Bucket(_OWN_BURST, _OWN_PER_SECOND, now))
        if self._waiting.full() or not own.take(now) or not self._all.take(now):
            metrics.EVENTS_DROPPED.inc()
            return
        self._said[uid, event] = now
        self._waiting.put_nowait(self._body(item, event))

    async def run(self) -> None:
        """Write until cancelled. One that cannot be written is lost."""
        while True:
            body = await self._waiting.get()
            try:
                await self._api.create_event(body)
                metrics.WRITES.labels("event", "ok").inc()
            except ClusterError:
                metrics.WRITES.labels("event", "failed").inc()

    def _body(self, item: Object, event: Event) -> Mapping[str, Any]:
        metadata = item["metadata"]
        now = datetime.now(UTC)
        mark = hashlib.sha256(f"{metadata.get('uid')}/{event}/{now.timestamp()}".encode()).hexdigest()[:16]
        return {
            "metadata": {"name": f"{metadata['name'][:200].rstrip('.-')}.{mark}", "namespace": self._api.namespace},
            "involvedObject": {
                "apiVersion": item["apiVersion"],
                "kind": item["kind"],
                "name": metadata["name"],
                "namespace": self._api.namespace,
                "uid": metadata.get("uid", ""),
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:_LONGEST_MESSAGE],
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": _COMPONENT,
            "action": event.reason,
            "firstTimestamp": time_text(now),
            "lastTimestamp": time_text(now),
            "count": 1,
        }
