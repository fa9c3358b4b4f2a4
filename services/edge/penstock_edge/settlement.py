"""After a request has ended: its settlement goes to auth in a batch, again and again until auth calls it final."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

import grpc

from penstock.auth.v1 import auth_pb2
from penstock_chassis import logs
from penstock_edge.settlement_messages import SettlementMessages

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub
    from penstock_edge.observer import Observer
    from penstock_edge.records import Admitted, Closed, Opened
    from penstock_edge.spool import Spool
    from penstock_edge.tracing import Tracing

_log = logs.get(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LAST_PAUSE_SECONDS = 2.0
# So many are written at once; between them the loop serves whoever waits: a batch of hundreds takes milliseconds.
_AT_A_STRETCH = 16
# Failures that mean "not now" say nothing of the batch; any other may be the fault of one settlement in it.
_NOT_NOW = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


class Books(Protocol):
    """Who holds tokens and money for a request until it is settled (Admission)."""

    def settled(self, admitted: Admitted, *, recorded: bool = False) -> None:
        """Let go of what the request held; `recorded`: it has a ledger row."""
        ...


class Settlement:
    """Takes ended requests, batches them (at most 256, at most 100 ms old) and settles them, for ever if need be.

    What awaits settling is bounded by the spool, which refuses new requests when it is full. `rng` gives floats in
    [0, 1), for the back-off.
    """

    def __init__(
        self,
        stub: AuthServiceAsyncStub,
        spool: Spool,
        books: Books,
        *,
        session_id: str,
        observer: Observer,
        rng: Callable[[], float],
        max_batch: int = 256,
        max_delay_seconds: float = 0.1,
        deadline_seconds: float = 5.0,
        max_calls: int = 2,
        tracing: Tracing | None = None,
    ) -> None:
        self._stub = stub
        self._spool = spool
        self._books = books
        self._session_id = session_id
        self._observer = observer
        self._rng = rng
        self._batch_limit = max_batch
        self._max_batch = max_batch
        self._max_delay = max_delay_seconds
        self._deadline = deadline_seconds
        self._max_calls = max_calls
        self._tracing = tracing
        self._queue: deque[_Ended] = deque()
        self._sent: set[_Ended] = set()
        self._arrived = asyncio.Event()
        self._enough = asyncio.Event()
        self._finished = asyncio.Event()
        self._pause = 0.0
        self._flushing = False
        self._messages = SettlementMessages()

    @property
    def waiting(self) -> int:
        """How many ended requests have no final settlement yet."""
        return len(self._queue) + len(self._sent)

    def oldest_seconds(self, now_ms: int) -> float:
        """Return how long ago the oldest of them ended; 0 when there is none."""
        ended = [each.closed.ended_at_ms for each in (*self._queue, *self._sent)]
        return max(now_ms - min(ended), 0) / 1000 if ended else 0.0

    def finish(self, opened: Opened, closed: Closed, admitted: Admitted | None) -> None:
        """Write down how a request ended and settle it soon. Never waits, never raises."""
        self._spool.close(closed)
        self._queue.append(_Ended(opened, closed, admitted))
        self._arrived.set()
        if len(self._queue) >= self._batch_limit:
            self._enough.set()

    def pending(self, request_id: str) -> Closed | Opened | None:
        """Return the newest record of a request that this edge serves or served and that is not settled yet."""
        return self._spool.get(request_id)

    def opened(self, request_id: str) -> Opened | None:
        """Return the open record of such a request: whose key, project and model it is."""
        return self._spool.opened(request_id)

    async def run(self) -> None:
        """Settle until cancelled. What is under way then stays in the spool."""
        async with asyncio.TaskGroup() as calls:
            free = asyncio.Semaphore(self._max_calls)
            while True:
                await free.acquire()
                await self._batch_is_due()
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_limit))]
                self._sent.update(batch)
                calls.create_task(self._settle(batch, free))

    async def flush(self, seconds: float) -> int:
        """Settle all that has ended, without waiting for company; return how many are left (for the next life)."""
        self._flushing = True
        self._enough.set()
        try:
            async with asyncio.timeout(seconds):
                while self.waiting:
                    self._finished.clear()
                    await self._finished.wait()
        except TimeoutError:
            _log.warning("settlements_left", count=self.waiting)
        finally:
            self._flushing = False
        return self.waiting

    async def _batch_is_due(self) -> None:
        while not self._queue:
            self._arrived.clear()
            await self._arrived.wait()
        if len(self._queue) >= self._batch_limit or self._flushing:
            return
        self._enough.clear()
        try:
            async with asyncio.timeout(self._max_delay):
                await self._enough.wait()
        except TimeoutError:
            pass

    async def _settle(self, batch: list[_Ended], free: asyncio.Semaphore) -> None:
        """Send one batch once; what is not final afterwards is queued again."""
        left = batch
        try:
            left = await self._send(batch)
        finally:
            self._sent.difference_update(batch)
            self._queue.extend(left)
            if left:
                self._arrived.set()
            self._finished.set()
        if left:
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE_SECONDS), _LAST_PAUSE_SECONDS)
            await asyncio.sleep(self._pause * (0.75 + self._rng() / 2))
        else:
            self._pause = 0.0
        free.release()

    async def _send(self, batch: list[_Ended]) -> list[_Ended]:
        """Settle; return those without a final result."""
        request = auth_pb2.SettleRequest(edge_session=self._session_id)
        for number, ended in enumerate(batch, 1):
            self._messages.add(request, self._session_id, ended.opened, ended.closed)
            if number % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        try:
            answer = await self._stub.Settle(request, timeout=self._deadline)
        except grpc.aio.AioRpcError as error:
            self._observer.settle_failed()
            if error.code() not in _NOT_NOW:
                # Smaller batches find the one that is at fault; it does not hold the others up.
                self._batch_limit = max(1, len(batch) // 2)
            _log.warning("settle_failed", error=error.code().name, count=len(batch))
            return batch
        self._batch_limit = min(self._max_batch, self._batch_limit * 2)
        final = final_results(answer, self._observer)
        self._spool.acknowledge(final)
        if self._tracing is not None:
            self._tracing.settled(final)
        left = []
        for number, ended in enumerate(batch, 1):
            if number % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)
            if ended.opened.request_id not in final:
                left.append(ended)
            elif ended.admitted is not None:
                self._books.settled(ended.admitted, recorded=final[ended.opened.request_id])
        return left


class _Ended:
    """A request that has ended, with what it still holds."""

    __slots__ = ("admitted", "closed", "opened")

    def __init__(self, opened: Opened, closed: Closed, admitted: Admitted | None) -> None:
        self.opened = opened
        self.closed = closed
        self.admitted = admitted


def final_results(answer: auth_pb2.SettleResponse, observer: Observer) -> dict[str, bool]:
    """Return the requests whose settlement is final: True when there is a row, False when it was quarantined."""
    final: dict[str, bool] = {}
    committed = 0
    for result in answer.results:
        if result.committed:
            final[result.request_id] = True
            committed += 1
        elif result.quarantined:
            final[result.request_id] = False
            _log.error("settlement_quarantined", request_id=result.request_id, reason=result.quarantined)
    observer.settled(committed=committed, quarantined=len(final) - committed)
    return final
