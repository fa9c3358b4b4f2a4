"""After a request has ended: its settlement goes to auth in a batch, again and again until auth calls it final."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import grpc

from penstock.auth.v1 import auth_pb2
from penstock_chassis import logs
from penstock_edge.batch import Batch
from penstock_edge.settlement_messages import SettlementMessages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from penstock_edge.batch_calls import Settle
    from penstock_edge.observer import Observer
    from penstock_edge.records import Admitted, Closed, Opened
    from penstock_edge.spool import Spool
    from penstock_edge.tracing import Tracing

_log = logs.get(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.1
_LAST_PAUSE_SECONDS: Final = 2.0
# So many are let go at once, and more where many wait, so that a long turn of the loop lets go of as many as came in
# it; between them the loop serves whoever waits.
_AT_A_STRETCH: Final = 8
_OF_THOSE_WAITING: Final = 32
# Failures that mean "not now" say nothing of the batch; any other may be the fault of one settlement in it.
_NOT_NOW: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


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
        call: Settle,
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
        self._call = call
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
        self._queue: deque[Batch] = deque()
        """The last one is filled until it has `max_batch`."""
        self._queued = 0
        """Requests in all of them."""
        self._sent: set[Batch] = set()
        self._timer: asyncio.TimerHandle | None = None
        """Runs while anything is queued, until that has waited long enough."""
        self._late = False
        """It has."""
        self._due = asyncio.Event()
        self._finished = asyncio.Event()
        self._pause = 0.0
        self._flushing = False
        self._messages = SettlementMessages()
        self._head = auth_pb2.SettleRequest(edge_session=session_id).SerializeToString()

    @property
    def waiting(self) -> int:
        """How many ended requests have no final settlement yet."""
        return self._queued + sum(len(batch.held) for batch in self._sent)

    def oldest_seconds(self, now_ms: int) -> float:
        """Return how long ago the oldest of them ended; 0 when there is none."""
        ended = [batch.since_ms for batch in (*self._queue, *self._sent)]
        return max(now_ms - min(ended), 0) / 1000 if ended else 0.0

    def finish(self, opened: Opened, closed: Closed, admitted: Admitted | None) -> None:
        """Write down how a request ended and settle it soon. Never waits, never raises."""
        self._spool.close(closed)
        batch = self._queue[-1] if self._queue else None
        if batch is None or len(batch.held) >= self._max_batch:
            batch = Batch(closed.ended_at_ms)
            self._queue.append(batch)
            self._expect()
        # Written now and not when the batch goes, so that no moment has hundreds to write.
        batch.add(opened.request_id, self._messages.row(self._session_id, opened, closed), admitted)
        self._queued += 1
        if self._queued >= self._batch_limit:
            self._due.set()

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
                batch = self._next_batch()
                self._sent.add(batch)
                calls.create_task(self._settle(batch, free))

    async def flush(self, seconds: float) -> int:
        """Settle all that has ended, without waiting for company; return how many are left (for the next life)."""
        self._flushing = True
        self._due.set()
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

    def _expect(self) -> None:
        """See that what was just queued waits for company no longer than it may."""
        if self._timer is None:
            # A timer and one wait for all that may end it: `asyncio.timeout` would wake the task once more, with an
            # exception, before whoever is just being served.
            self._timer = asyncio.get_running_loop().call_later(self._max_delay, self._time_is_up)
        if self._flushing:
            self._due.set()

    def _time_is_up(self) -> None:
        self._late = True
        self._due.set()

    async def _batch_is_due(self) -> None:
        while not self._queue or not (self._late or self._flushing or self._queued >= self._batch_limit):
            self._due.clear()
            await self._due.wait()

    def _next_batch(self) -> Batch:
        """Take out the oldest requests, as many as may go at once."""
        batch, limit = self._queue.popleft(), self._batch_limit
        if len(batch.held) > limit:
            self._queue.appendleft(batch.split_off(limit))
        while self._queue and len(batch.held) + len(self._queue[0].held) <= limit:
            batch.take_in(self._queue.popleft())
        self._queued -= len(batch.held)
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._late = None, False
        if self._queue:
            self._expect()
        return batch

    async def _settle(self, batch: Batch, free: asyncio.Semaphore) -> None:
        """Send one batch once; what is not final afterwards is queued again."""
        sent = len(batch.held)
        try:
            await self._send(batch)
        finally:
            self._sent.discard(batch)
            left = len(batch.held)
            if left:
                self._queue.append(batch)
                self._queued += left
                self._expect()
                # What came back may be as many as go at once now.
                self._due.set()
            self._finished.set()
        if left == sent:
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE_SECONDS), _LAST_PAUSE_SECONDS)
            await asyncio.sleep(self._pause * (0.75 + self._rng() / 2))
        else:
            # Auth is there. What it cannot decide yet, as without a price, must not hold the others up.
            self._pause = 0.0
        free.release()

    async def _send(self, batch: Batch) -> None:
        """Settle; those without a final result stay in the batch."""
        try:
            answer = await self._call(batch.request(self._head), timeout=self._deadline)
        except grpc.aio.AioRpcError as error:
            count = len(batch.held)
            self._observer.settle_failed()
            if error.code() not in _NOT_NOW:
                # Smaller batches find the one that is at fault; it does not hold the others up.
                self._batch_limit = max(1, count // 2)
            _log.warning("settle_failed", error=error.code().name, count=count)
            return
        self._batch_limit = min(self._max_batch, self._batch_limit * 2)
        results, at = answer.results, 0
        while at < len(results):
            # Before the first ones too: to take the answer in was a stretch of its own.
            await asyncio.sleep(0)
            end = at + max(_AT_A_STRETCH, self._queued // _OF_THOSE_WAITING)
            self._let_go(batch, results[at:end])
            at = end

    def _let_go(self, batch: Batch, results: Iterable[auth_pb2.SettleResult]) -> None:
        """Forget the requests whose results are final: first on disk, then what they held."""
        final = final_results(results, self._observer)
        self._spool.acknowledge(final)
        if self._tracing is not None:
            self._tracing.settled(final)
        for name, recorded in final.items():
            admitted = batch.take_out(name)
            if admitted is not None:
                self._books.settled(admitted, recorded=recorded)


def final_results(results: Iterable[auth_pb2.SettleResult], observer: Observer) -> dict[str, bool]:
    """Return the requests whose settlement is final: True when there is a row, False when it was quarantined."""
    final: dict[str, bool] = {}
    committed = 0
    for result in results:
        if result.committed:
            final[result.request_id] = True
            committed += 1
        elif result.quarantined:
            final[result.request_id] = False
            _log.error("settlement_quarantined", request_id=result.request_id, reason=result.quarantined)
    observer.settled(committed=committed, quarantined=len(final) - committed)
    return final
