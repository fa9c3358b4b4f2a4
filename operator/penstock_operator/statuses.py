"""Writes statuses: only those that differ, in the background, and not too often for what flickers.

What a person has changed is answered at once. What routers say of an account can change many times a second; of that,
the newest is written every few seconds.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from penstock_chassis import logs
from penstock_operator import conditions, metrics, transitions
from penstock_operator.cluster import ClusterError, ConflictError, NotFoundError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from penstock_operator.cluster import Object
    from penstock_operator.events import Recorder
    from penstock_operator.judging import Verdict
    from penstock_operator.kinds import Kind
    from penstock_operator.seen import Seen

log = logs.get(__name__)

_AT_ONCE: Final = 6
_RETRY_SECONDS: Final = 2.0
_LONGEST_RETRY: Final = 30.0
_FLICKERING_FACTS: Final = frozenset({"cooldowns", "readyAccounts"})
_FLICKERING: Final = frozenset({conditions.READY})

_Key = tuple["Kind", str]


class StatusApi(Protocol):
    """Where statuses are written: `Cluster`."""

    async def patch_status(self, kind: Kind, name: str, patch: Mapping[str, Any]) -> Object:
        """Merge `patch` into an object's status. Raises ClusterError."""


@dataclass(slots=True)
class _Task:
    """A status to be written over the one that `item` has."""

    item: Object
    status: dict[str, Any]
    due: float


@dataclass(frozen=True, slots=True)
class _Refusal:
    """How often in a row the API has refused an object's status, and until when it is not asked again."""

    times: int
    until: float


class StatusWriter:
    """Brings the statuses of all objects to what was judged last. `wake`: judge anew."""

    def __init__(
        self,
        api: StatusApi,
        seen: Seen,
        recorder: Recorder,
        *,
        wake: Callable[[], None],
        status_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._seen = seen
        self._recorder = recorder
        self._wake = wake
        self._status_seconds = status_seconds
        self._monotonic = monotonic
        self._tasks: dict[_Key, _Task] = {}
        self._fulfilled: dict[_Key, Verdict] = {}
        self._under_way: set[_Key] = set()
        self._written_at: dict[_Key, float] = {}
        self._refused: dict[_Key, _Refusal] = {}
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many statuses are still to be written."""
        return len(self._tasks) + len(self._under_way)

    def want(self, verdicts: Iterable[Verdict]) -> None:
        """Take in what every object's status is to be; it replaces all that was wanted before."""
        now, at = self._monotonic(), datetime.now(UTC)
        tasks: dict[_Key, _Task] = {}
        counts: dict[tuple[str, str], int] = {}
        fulfilled: dict[_Key, Verdict] = {}
        for verdict in verdicts:
            ready = next((one.status for one in verdict.conditions if one.type == conditions.READY), "Unknown")
            counts[verdict.kind.name, ready] = counts.get((verdict.kind.name, ready), 0) + 1
            key = verdict.kind, verdict.item["metadata"]["name"]
            if _same(self._fulfilled.get(key), verdict):
                fulfilled[key] = verdict
                continue
            task = self._task(verdict, now, at)
            if task is not None:
                tasks[key] = task
            else:
                fulfilled[key] = verdict
        metrics.OBJECTS.clear()
        for (kind, ready), count in counts.items():
            metrics.OBJECTS.labels(kind, ready).set(count)
        self._fulfilled = fulfilled
        self._tasks = dict(sorted(tasks.items(), key=lambda item: item[1].due))
        if len(self._written_at) > 2 * sum(counts.values()) + 100:
            self._written_at.clear()
        if len(self._refused) > 2 * sum(counts.values()) + 100:
            self._refused.clear()
        self._news.set()

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key, soonest = self._next()
            if key is None:
                self._news.clear()
                await self._rest(soonest)
                continue
            task = self._tasks.pop(key)
            self._under_way.add(key)
            try:
                await self._write(key, task)
            finally:
                self._under_way.discard(key)

    def _next(self) -> tuple[_Key | None, float]:
        """Return the first that is due, or when one will be. They stand in the order in which they are due."""
        now, soonest = self._monotonic(), float("inf")
        for key, task in self._tasks.items():
            if key in self._under_way:
                soonest = now + 0.05
            elif task.due <= now:
                return key, now
            else:
                return None, min(soonest, task.due)
        return None, soonest

    async def _rest(self, until: float) -> None:
        try:
            async with asyncio.timeout(min(max(until - self._monotonic(), 0.01), 60.0)):
                await self._news.wait()
        except TimeoutError:
            return

    async def _write(self, key: _Key, task: _Task) -> None:
        kind, name = key
        before = task.item.get("status") or {}
        gone = {field: None for field in before if field not in task.status and field in _OURS}
        version = task.item["metadata"].get("resourceVersion", "")
        patch = {"metadata": {"resourceVersion": version}, "status": {**task.status, **gone}}
        try:
            written = await self._api.patch_status(kind, name, patch)
        except (ConflictError, NotFoundError):
            # It is another one by now, or gone; that will be seen, and judged anew. If it has been seen already, as
            # after a write of our own that was under way when this one was wanted, nothing else would wake anybody.
            metrics.WRITES.labels("status", "outdated").inc()
            if self._seen.of(kind).get(name) is not task.item:
                self._wake()
            return
        except ClusterError as error:
            metrics.WRITES.labels("status", "failed").inc()
            log.warning("status_not_written", kind=kind.name, name=name, reason=str(error))
            self._tasks.setdefault(key, _Task(task.item, task.status, self._again(key, error)))
            return
        self._refused.pop(key, None)
        metrics.WRITES.labels("status", "ok").inc()
        self._written_at[key] = self._monotonic()
        self._seen.put(kind, {"apiVersion": kind.api_version, "kind": kind.name, **written}, quiet=True)
        for event in transitions.events(before, task.status):
            self._recorder.record(task.item, event)

    def _again(self, key: _Key, error: ClusterError) -> float:
        """Return when to try again: soon, but what the API refuses it will most likely refuse again."""
        now = self._monotonic()
        if not isinstance(error, RefusedError):
            return now + _RETRY_SECONDS
        times = self._refused[key].times if key in self._refused else 0
        until = now + min(_RETRY_SECONDS * 2.0 ** min(times, 8), _LONGEST_RETRY)
        self._refused[key] = _Refusal(times + 1, until)
        return until

    def _task(self, verdict: Verdict, now: float, at: datetime) -> _Task | None:
        item = verdict.item
        held = item.get("status")
        before = held if isinstance(held, dict) else {}
        generation = int(item["metadata"].get("generation") or 1)
        after: dict[str, Any] = {
            "observedGeneration": generation,
            **{name: value for name, value in verdict.facts.items() if value is not None},
            "conditions": conditions.written(before, verdict.conditions, generation, at),
        }
        if after == before:
            return None
        name = item["metadata"]["name"]
        due = now
        if _flickers(before, after):
            due = self._written_at.get((verdict.kind, name), -self._status_seconds) + self._status_seconds
        if (verdict.kind, name) in self._refused:
            due = max(due, self._refused[verdict.kind, name].until)
        return _Task(item, after, due)


_OURS: Final = frozenset(
    {
        "observedGeneration",
        "conditions",
        "credentialHash",
        "cooldowns",
        "readyAccounts",
        "totalAccounts",
        "keyPrefix",
        "issuedTime",
    }
)


def _same(before: Verdict | None, verdict: Verdict) -> bool:
    """Whether the same was said of the very same object before: then it need not be compared again."""
    return before is not None and before.item is verdict.item and before == verdict


def _flickers(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether all that differs is what routers say from moment to moment."""
    facts = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if not facts <= _FLICKERING_FACTS | {"conditions"}:
        return False
    was = {row.get("type"): row for row in before.get("conditions") or () if isinstance(row, dict)}
    return all(was.get(row["type"]) == row or row["type"] in _FLICKERING for row in after["conditions"])
