"""Who asks auth: one task for each key of which something is to be asked, one question at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import grpc

from penstock_chassis import logs
from penstock_chassis.tracing import outgoing
from penstock_edge.allow_messages import answer_of, request_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub
    from penstock_edge.admission_policy import AdmissionPolicy
    from penstock_edge.calls import Call
    from penstock_edge.changes import Changes
    from penstock_edge.freshness import Freshness
    from penstock_edge.hearing import Hearing
    from penstock_edge.key_book import KeyBook
    from penstock_edge.key_books import KeyBooks
    from penstock_edge.observer import Observer
    from penstock_edge.outage import Outage
    from penstock_edge.reminders import Reminders
    from penstock_edge.session import Session

_log = logs.get(__name__)

# Repeating such a question word for word would only be refused again.
_NOT_FOR_REPETITION: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)


class Asking:
    """Puts questions to auth while the gate is open: while the counters' epoch has what this session declared."""

    def __init__(
        self,
        stub: AuthServiceAsyncStub,
        *,
        session: Session,
        changes: Changes,
        books: KeyBooks,
        outage: Outage,
        freshness: Freshness,
        hearing: Hearing,
        reminders: Reminders,
        clock: Callable[[], float],
        rng: Callable[[], float],
        observer: Observer,
        catalog_version: Callable[[], str],
        policy: AdmissionPolicy,
    ) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._stub = stub
        self._session = session
        self._changes = changes
        self._books = books
        self._outage = outage
        self._freshness = freshness
        self._hearing = hearing
        self._reminders = reminders
        self._clock = clock
        self._rng = rng
        self._observer = observer
        self._catalog_version = catalog_version
        self._policy = policy
        self._gate = asyncio.Event()
        self._calls = asyncio.Semaphore(policy.max_calls)
        self._calling = 0
        self._quiet = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """True while questions go out."""
        return self._gate.is_set()

    def open(self) -> None:
        """Let questions out."""
        self._gate.set()

    async def close(self) -> None:
        """Let no new question out; return when none is under way."""
        self._gate.clear()
        while self._calling:
            self._quiet.clear()
            await self._quiet.wait()

    def cancel(self) -> None:
        """Ask nothing more."""
        for task in list(self.tasks):
            task.cancel()

    def serve(self, book: KeyBook) -> None:
        """See that somebody asks auth about this key."""
        if book.task is None:
            task = asyncio.get_running_loop().create_task(self._ask_while_needed(book))
            book.task = task
            self.tasks.add(task)
            task.add_done_callback(lambda done: self._served(book, done))

    def _served(self, book: KeyBook, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        book.task = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _log.error("admission_failed", exc_info=error)
        elif book.wants_more:
            self.serve(book)
            return
        digest, now = book.allowance.digest, self._clock()
        if self._books.unknown(digest, now) and book.idle:
            self._books.forget(book)
        else:
            self._reminders.remind(book, book.allowance.due(now) if book.allowance.pending is None else now + 1.0)

    async def _ask_while_needed(self, book: KeyBook) -> None:
        """Ask, one question at a time, until nobody waits and nothing is to be asked ahead or given back."""
        pause = self._policy.first_pause_seconds
        while book.wants_more:
            await self._gate.wait()
            if (wait := book.recovering(self._clock())) > 0:
                await asyncio.sleep(wait)
                continue
            if book.allowance.pending is None:
                self._next_question(book)
            async with self._calls:
                result = await self._ask(book) if self._gate.is_set() else "shut"
            if result == "shut":
                continue
            if result not in {"failed", "void"}:
                pause = self._policy.first_pause_seconds
                continue
            if not book.awaited:
                # The question is repeated when somebody does, or when all is well again.
                book.refill, book.returning = None, False
                return
            await asyncio.sleep(pause * (0.75 + self._rng() / 2))
            pause = min(pause * 2, self._policy.last_pause_seconds)

    def _next_question(self, book: KeyBook) -> Call:
        """Make the next question: for whom has waited, kinds in turn, else ahead, else to give back."""
        kind = book.next_kind()
        waiting = [w for w in book.row(kind) if not w.future.done()]
        if waiting:
            waiting[0].asked += 1
        book.trace = next((w.trace for w in waiting if w.trace is not None), None)
        ahead = book.refill == kind
        book.refill, book.returning = None, False
        now, allowance = self._clock(), book.allowance
        needs = [w.need for w in waiting if w.need is not None]
        floor = self._freshness.floor_of(allowance.facts, now)
        return allowance.ask(kind, needs, now, floor, self._session.epoch, ahead=ahead)

    async def _ask(self, book: KeyBook) -> str:
        """Put the pending question to auth once; return allowance, denial, void or failed."""
        call = book.allowance.pending
        if call is None:
            return "void"
        request = request_of(call, book.allowance.digest, self._session.id, self._catalog_version())
        sent_at = self._clock()
        self._calling += 1
        result = "failed"
        try:
            metadata = None if book.trace is None else outgoing(book.trace)
            message = await self._stub.Allow(request, timeout=self._policy.call_seconds, metadata=metadata)
            received_at = self._clock()
            if message.watch_anew:
                self._changes.moved(sent_at)
            result = self._hearing.take_in(book, call, answer_of(message), sent_at, received_at)
            if result == "void" and not self._session.in_step:
                self._gate.clear()
        except grpc.aio.AioRpcError as error:
            if error.code() in _NOT_FOR_REPETITION:
                _log.error("allow_refused", error=error.code().name)
                book.allowance.void()
            self._outage.failed(self._clock(), "AUTH_UNAVAILABLE")
        finally:
            self._calling -= 1
            if not self._calling:
                self._quiet.set()
            self._observer.allow_called(result, self._clock() - sent_at)
        return result
