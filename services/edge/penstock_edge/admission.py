"""Whether a request may go on: spends what auth has lent of its key's limits, and asks auth when that does not do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from penstock_chassis import logs
from penstock_chassis.tracing import outgoing
from penstock_edge.allow_messages import Answer, answer_of, declaration_of, request_of
from penstock_edge.allowance import COUNT_TOKENS, NEVER, OF_THE_KEY, RECENT_MS, REQUESTS, SOON_SECONDS, Allowance, Call
from penstock_edge.key_books import KeyBook, KeyBooks, Waiter
from penstock_edge.outage import Outage, Remainder
from penstock_edge.records import Admitted, KeyFacts, Need, Refused
from penstock_edge.reminders import Reminders
from penstock_edge.store_clock import StoreClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.auth.v1 import auth_pb2
    from penstock.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub
    from penstock_edge.changes import Changes
    from penstock_edge.observer import Observer
    from penstock_edge.records import Kind
    from penstock_edge.session import Session

_log = logs.get(__name__)

_ABSENT_SECONDS = 20.0
_STREAM_SECONDS = 2.0
_MANY_QUESTIONS = 20
# By how much the clocks may differ by which auth and this edge see a key expire.
_CLOCKS_SECONDS = 0.25
# Repeating such a question word for word would only be refused again.
_NOT_FOR_REPETITION = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionPolicy:
    """Bounds and waits of admission. Seconds unless the name says otherwise."""

    max_keys: int = 50_000
    max_unknown_keys: int = 50_000
    max_waiters_per_key: int = 1_000
    max_calls: int = 256
    max_calls_to_return: int = 32
    call_seconds: float = 2.5
    """Deadline of one Allow call; what was not answered is repeated."""
    first_pause_seconds: float = 0.05
    last_pause_seconds: float = 0.4
    degraded_after_seconds: float = 3.0
    """After so long without an answer, keys whose plan says Degraded no longer wait for one ..."""
    closed_after_seconds: float = 10.0
    """... and after so long all others hear at once that auth is out of reach."""
    probe_seconds: float = 0.5
    """During an outage one question goes out so often, to see whether it is over."""


class Admission:
    """All keys that this edge knows of. One event loop owns it.

    `clock` is monotonic seconds and must be the one that `now` and the deadlines of callers are read from; `rng` gives
    floats in [0, 1).
    """

    def __init__(
        self,
        stub: AuthServiceAsyncStub,
        session: Session,
        changes: Changes,
        *,
        clock: Callable[[], float],
        rng: Callable[[], float],
        observer: Observer,
        catalog_version: Callable[[], str],
        policy: AdmissionPolicy | None = None,
    ) -> None:
        self.outage = Outage()
        self.time = StoreClock()
        self._stub = stub
        self._session = session
        self._changes = changes
        self._clock = clock
        self._rng = rng
        self._observer = observer
        self._catalog_version = catalog_version
        self._policy = policy or AdmissionPolicy()
        self._books = KeyBooks(clock, max_keys=self._policy.max_keys, max_unknown_keys=self._policy.max_unknown_keys)
        self._everything_from = -NEVER
        self._reminders = Reminders(clock)
        self._gate = asyncio.Event()
        self._calls = asyncio.Semaphore(self._policy.max_calls)
        self._calling = 0
        self._quiet = asyncio.Event()
        self._returning = 0
        self._probe_at = -NEVER
        self._tasks: set[asyncio.Task[None]] = set()
        session.tell_time(self._heard)
        session.tell_moved(changes.moved)

    # For requests.

    def known(self, digest: bytes) -> KeyFacts | None:
        """Return what was last heard of this key, without asking; `try_admit` says whether it still counts."""
        book = self._books.get(digest)
        return None if book is None else book.allowance.facts

    def try_admit(self, digest: bytes, need: Need, now: float) -> Admitted | Refused | None:
        """Decide from what is here, without I/O. None: auth must be asked (`admit`)."""
        book = self._books.get(digest)
        if book is None:
            return self._refuse(Refused("UNKNOWN_KEY")) if self._books.unknown(digest, now) else None
        self._books.used(digest)
        if book.waiters[need.kind]:
            return None
        return self._decide(book, need, now)

    async def admit(self, digest: bytes, need: Need, deadline: float) -> Admitted | Refused:
        """Decide, asking auth if need be, until `deadline`; then by the plan's outage policy."""
        now = self._clock()
        decided = self.try_admit(digest, need, now)
        if decided is not None:
            return decided
        book = self._book(digest)
        if book is None or not book.has_place(need.kind, self._policy.max_waiters_per_key):
            return self._refuse(Refused("AUTH_UNAVAILABLE", reset_ms=1000))
        waiter = Waiter(need)
        book.waiters[need.kind].append(waiter)
        self._serve(book)
        answer = await self._wait(waiter, self._patience(book, deadline, now))
        if answer is None:
            return self._by_policy(book, need, self._clock())
        if isinstance(answer, KeyFacts):
            raise TypeError("a request was answered with facts")
        return answer

    async def identify(self, digest: bytes, deadline: float) -> KeyFacts | Refused:
        """Return who has this key, for endpoints that debit nothing."""
        now = self._clock()
        book = self._books.get(digest)
        if book is None and self._books.unknown(digest, now):
            return Refused("UNKNOWN_KEY")
        if book is not None and (known := self._known(book, now)) is not None:
            return known
        book = self._book(digest)
        if book is None or not book.has_place(REQUESTS, self._policy.max_waiters_per_key):
            return Refused("AUTH_UNAVAILABLE", reset_ms=1000)
        waiter = Waiter(None)
        book.waiters[REQUESTS].append(waiter)
        self._serve(book)
        answer = await self._wait(waiter, self._patience(book, deadline, now))
        if isinstance(answer, (KeyFacts, Refused)):
            return answer
        # Who a key belongs to is no secret of the store: an old answer does when there is no new one.
        return book.allowance.facts or Refused(self.outage.reason, reset_ms=1000)

    def ended(self, admitted: Admitted) -> None:
        """Free the request's slot: its answer has ended. Calling it again does nothing."""
        allowance = admitted._source
        if not admitted._slot or not isinstance(allowance, Allowance):
            return
        admitted._slot = False
        allowance.free_slot()
        if admitted.degraded and allowance.remainder is not None:
            allowance.remainder.ended()
        self._look_again(allowance)

    def settled(self, admitted: Admitted, *, recorded: bool = False) -> None:
        """Let go of the request's tokens and money: its settlement is final (`recorded`), or nothing was opened."""
        allowance = admitted._source
        if not admitted._held or not isinstance(allowance, Allowance):
            return
        admitted._held = False
        allowance.settles(admitted.admitted_at_ms)
        allowance.let_go(admitted.need, used=recorded)
        if not recorded:
            allowance.remember(admitted.admitted_at_ms, REQUESTS)
        self._look_again(allowance)

    # For the session and the stream of changes.

    def key_changed(self, key_sha256: bytes) -> None:
        """Use nothing of this key that was asked for before now."""
        self._books.doubt_unknown(key_sha256)
        book = self._books.get(key_sha256)
        if book is not None:
            book.allowance.changed_at = self._clock()

    def project_changed(self, project: str) -> None:
        """Use nothing of this project's keys that was asked for before now."""
        for digest in self._books.of_project(project):
            self.key_changed(digest)

    def plan_changed(self, plan: str) -> None:
        """Use nothing of this plan's keys that was asked for before now."""
        for digest in self._books.of_plan(plan):
            self.key_changed(digest)

    def everything_changed(self) -> None:
        """Use nothing that was asked for before now."""
        self._everything_from = self._clock()
        self._books.doubt_unknown()

    async def quiet(self) -> None:
        """Let no new question out; return when none is under way."""
        self._gate.clear()
        while self._calling:
            self._quiet.clear()
            await self._quiet.wait()

    def declarations(self) -> list[auth_pb2.KeyDeclaration]:
        """Return all that this session has, and count from it from now on. Unanswered questions are given up."""
        now = self._clock()
        oldest_ms = self.time.at(now) - RECENT_MS if self.time.known else 0
        rows = []
        for book in self._books:
            declared = book.allowance.declare(now, oldest_ms)
            if declared is not None:
                rows.append(declaration_of(book.allowance.digest, declared))
        return rows

    def declared(self) -> None:
        """Ask again, if the newest epoch has our declaration."""
        if self._session.in_step:
            self._gate.set()

    # For the process.

    @property
    def keys(self) -> int:
        """How many keys are known here."""
        return len(self._books)

    def held(self) -> dict[str, int]:
        """Return what open requests hold over all keys, for gauges: slots, input_tokens, output_tokens, micro_usd."""
        totals = [0, 0, 0, 0]
        for book in self._books:
            for i, amount in enumerate(book.allowance.open):
                totals[i] += amount
        return dict(zip(("slots", "input_tokens", "output_tokens", "micro_usd"), totals, strict=True))

    def lent(self) -> dict[str, int]:
        """Return the unspent units of all leases by kind, for gauges."""
        return {
            REQUESTS: sum(b.allowance.requests.units for b in self._books),
            COUNT_TOKENS: sum(b.allowance.count_tokens.units for b in self._books),
        }

    async def give_all_back(self, seconds: float) -> None:
        """Return every lease and all spare, for the drain: this session will admit nothing more."""
        self.everything_changed()
        try:
            async with asyncio.timeout(seconds):
                for book in list(self._books):
                    allowance = book.allowance
                    if allowance.requests.leases or allowance.count_tokens.leases or any(allowance.believed):
                        book.returning = True
                        self._serve(book)
                        if len(self._tasks) >= self._policy.max_calls_to_return:
                            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                while self._tasks:
                    await asyncio.wait(self._tasks)
        except TimeoutError:
            _log.info("leases_left")

    async def run(self) -> None:
        """Give back what is over or has become spare, until cancelled."""
        try:
            while True:
                self._give_back(await self._reminders.next(), self._clock())
        finally:
            for task in list(self._tasks):
                task.cancel()

    # Deciding.

    def _floor(self, now: float) -> float:
        """Return when an answer must have been asked for, to be used now."""
        floor = self._everything_from
        if not self._changes.live(now):
            floor = max(floor, now - _STREAM_SECONDS)
        return NEVER if now - self._session.reached_at > _ABSENT_SECONDS else floor

    def _floor_of(self, book: KeyBook, now: float) -> float:
        """Return the same for one key: of a key whose time is over, auth says anew what it is now."""
        floor, facts = self._floor(now), book.allowance.facts
        if facts is None or facts.expires_at_ms <= 0:
            return floor
        ended = now - (self.time.at(now) - facts.expires_at_ms) / 1000
        return max(floor, ended + _CLOCKS_SECONDS) if now >= ended + _CLOCKS_SECONDS else floor

    def _decide(self, book: KeyBook, need: Need, now: float) -> Admitted | Refused | None:
        allowance = book.allowance
        facts = allowance.facts
        # Of a key whose time may be over, auth says anew what it is.
        floor = self._floor(now) if facts is None or facts.expires_at_ms <= 0 else self._floor_of(book, now)
        if allowance.take(need, now, floor):
            return self._admitted(book, need, now)
        denied = allowance.denial(need, now, floor)
        if denied is not None and denied.refused.reason != "RECOVERING":
            refused = denied.refused
            reset_ms = max(0, int((denied.reset_at - now) * 1000)) if refused.reset_ms else 0
            return self._refuse(
                Refused(
                    refused.reason, refused.limit, refused.amount, refused.unit, reset_ms, allowance.facts, allowance
                )
            )
        if self.outage.since is not None and self._given_up(book, now):
            self._probe(book, need.kind, now)
            return self._by_policy(book, need, now)
        return None

    def _admitted(self, book: KeyBook, need: Need, now: float, *, degraded: bool = False) -> Admitted | Refused:
        """Make the record of a request whose need has been taken."""
        allowance = book.allowance
        facts = allowance.facts
        if facts is None:
            raise ValueError("something was lent of a key of which auth told nothing")
        at = self.time.at(now)
        requests = need.kind == "requests"
        admitted = Admitted(facts, at, need, degraded, allowance, requests, requests)
        if requests:
            allowance.opens(at)
        else:
            allowance.remember(at, COUNT_TOKENS)
        if 0 < facts.expires_at_ms <= at:
            self.ended(admitted)
            self.settled(admitted)
            return self._refuse(Refused("EXPIRED", key=facts))
        self._observer.admitted(degraded=degraded)
        if not degraded:
            lane = allowance.requests if requests else allowance.count_tokens
            if book.task is None and now >= lane.refill_after and allowance.low(lane, now):
                book.refill = need.kind
                self._serve(book)
            if allowance.ended:
                self._reminders.remind(book, allowance.due(now))
        return admitted

    def _refuse(self, refused: Refused) -> Refused:
        self._observer.refused(refused.reason)
        return refused

    def _given_up(self, book: KeyBook, now: float) -> bool:
        """Say whether the outage has lasted so long that this key's plan decides at once."""
        return self.outage.lasted(now) >= self._patience_of(book)

    def _patience_of(self, book: KeyBook) -> float:
        facts = book.allowance.facts
        if facts is not None and facts.on_store_outage == "Degraded":
            return self._policy.degraded_after_seconds
        return self._policy.closed_after_seconds

    def _patience(self, book: KeyBook, deadline: float, now: float) -> float:
        """Return for how many seconds to wait for auth."""
        seconds = deadline - now
        if self.outage.since is not None:
            seconds = min(seconds, max(0.0, self.outage.since + self._patience_of(book) - now))
        return max(0.0, seconds)

    def _by_policy(self, book: KeyBook, need: Need, now: float) -> Admitted | Refused:
        """Decide without auth, by what the key's plan says of outages."""
        allowance, facts = book.allowance, book.allowance.facts
        denied = allowance.lane(need.kind).denied
        if denied is not None and self.outage.since is None and denied.refused.reason == "RECOVERING":
            return self._refuse(Refused("RECOVERING", reset_ms=1000, key=facts))
        if denied is not None and denied.refused.reason in OF_THE_KEY:
            return self._refuse(Refused(denied.refused.reason, key=facts))
        if facts is not None and facts.on_store_outage == "Degraded" and self.outage.since is not None:
            if allowance.remainder is None:
                allowance.remainder = Remainder(
                    allowance.limits, facts.max_concurrent_requests, allowance.edges, allowance.asked_at
                )
            if self._money_is_safe(allowance, need, now) and allowance.remainder.spend(need, now):
                if need.kind == "requests":
                    allowance.hold(need)
                return self._admitted(book, need, now, degraded=True)
        return self._refuse(Refused(self.outage.reason, reset_ms=1000, key=facts))

    def _money_is_safe(self, allowance: Allowance, need: Need, now: float) -> bool:
        """Say whether credit is not touched, or was lent ahead: an outage never lends it."""
        if allowance.facts is None or not allowance.facts.credit_required or need.kind == COUNT_TOKENS:
            return True
        reachable = now - self._session.reached_at <= _ABSENT_SECONDS
        return reachable and allowance.spare_money(need.micro_usd, now)

    def _known(self, book: KeyBook, now: float) -> KeyFacts | Refused | None:
        """Return what is known of the key's owner, if it is fresh."""
        allowance = book.allowance
        floor = max(self._floor_of(book, now), allowance.changed_at)
        denied = allowance.requests.denied
        if denied is not None and denied.refused.reason in OF_THE_KEY and now < denied.valid_until:
            return Refused(denied.refused.reason, key=allowance.facts) if denied.asked_at >= floor else None
        fresh = allowance.asked_at >= floor and now - allowance.asked_at < 30.0
        return allowance.facts if fresh else None

    def _book(self, digest: bytes) -> KeyBook | None:
        return self._books.find(digest, self.time.at(self._clock()) - RECENT_MS)

    async def _wait(self, waiter: Waiter, seconds: float) -> Admitted | Refused | KeyFacts | None:
        """Wait for the answer; None when it did not come in time. Nothing stays taken for a caller that is gone."""
        try:
            async with asyncio.timeout(seconds):
                return await waiter.future
        except TimeoutError:
            return waiter.future.result() if waiter.answered else None
        except asyncio.CancelledError:
            if waiter.answered and isinstance(admitted := waiter.future.result(), Admitted):
                self.ended(admitted)
                self.settled(admitted)
            raise

    # Asking.

    def _serve(self, book: KeyBook) -> None:
        """See that somebody asks auth about this key."""
        if book.task is None:
            task = asyncio.get_running_loop().create_task(self._ask_while_needed(book))
            book.task = task
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._served(book, done))

    def _served(self, book: KeyBook, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        book.task = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _log.error("admission_failed", exc_info=error)
        elif self._wants_more(book):
            self._serve(book)
            return
        digest, now = book.allowance.digest, self._clock()
        if self._books.unknown(digest, now) and book.idle:
            self._books.forget(book)
        else:
            self._reminders.remind(book, book.allowance.due(now) if book.allowance.pending is None else now + 1.0)

    async def _ask_while_needed(self, book: KeyBook) -> None:
        """Ask, one question at a time, until nobody waits and nothing is to be asked ahead or given back."""
        pause = self._policy.first_pause_seconds
        while self._wants_more(book):
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

    def _wants_more(self, book: KeyBook) -> bool:
        return book.refill is not None or book.returning or book.awaited

    def _next_question(self, book: KeyBook) -> Call:
        """Make the next question: for whom has waited, kinds in turn, else ahead, else to give back."""
        kind = book.next_kind()
        waiting = [w for w in book.waiters[kind] if not w.future.done()]
        if waiting:
            waiting[0].asked += 1
        book.trace = next((w.trace for w in waiting if w.trace is not None), None)
        ahead = book.refill == kind
        book.refill, book.returning = None, False
        now = self._clock()
        needs = [w.need for w in waiting if w.need is not None]
        return book.allowance.ask(kind, needs, now, self._floor_of(book, now), self._session.epoch, ahead=ahead)

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
            answer = answer_of(message)
            result = self._take_in(book, call, answer, sent_at, received_at)
        except grpc.aio.AioRpcError as error:
            if error.code() in _NOT_FOR_REPETITION:
                _log.error("allow_refused", error=error.code().name)
                book.allowance.void()
            self.outage.failed(self._clock(), "AUTH_UNAVAILABLE")
        finally:
            self._calling -= 1
            if not self._calling:
                self._quiet.set()
            self._observer.allow_called(result, self._clock() - sent_at)
        return result

    def _take_in(self, book: KeyBook, call: Call, answer: Answer, sent_at: float, received_at: float) -> str:
        """Take an answer in and tell those who wait; return what it was."""
        if answer.reason == "STORE_DOWN":
            # Nobody knows whether the store has done it: the question stays, word for word.
            self.outage.failed(received_at, "STORE_DOWN")
            if answer.key is not None and book.allowance.facts is None:
                self._books.learn(book, answer.key)
            return "failed"
        self.outage.over()
        self._session.reached(sent_at)
        self._session.saw_epoch(answer.epoch)
        allowance = book.allowance
        current = answer.epoch == call.epoch or (not answer.epoch and answer.refused is not None)
        if allowance.pending is not call or not current or not self._session.in_step:
            # Somebody has declared this session since, or must: what this answer lends was never declared.
            if allowance.pending is call:
                allowance.void()
            allowance.give_back(answer.lease_id)
            if not self._session.in_step:
                self._gate.clear()
            return "void"
        self.time.learn(answer.store_time_ms, sent_at, received_at)
        if answer.key is not None:
            self._books.learn(book, answer.key)
            allowance.note_limits(answer.limits, answer.edges)
        if answer.reason == "RECOVERING":
            self._session.doubt()
        if answer.refused is None:
            allowance.granted(call, answer.lease_id, answer.requests, answer.life, answer.holding)
        else:
            allowance.refused(call, answer.refused, answer.valid)
        self._tell(book, call, answer, received_at)
        return "allowance" if answer.refused is None else "denial"

    def _tell(self, book: KeyBook, call: Call, answer: Answer, now: float) -> None:
        """Answer those who wait, first come first served, as far as this answer goes."""
        if answer.reason == "UNKNOWN_KEY":
            self._books.note_unknown(book.allowance.digest, now + answer.valid)
        for kind in (call.kind, COUNT_TOKENS if call.kind == REQUESTS else REQUESTS):
            row = book.waiters[kind]
            while (waiter := book.first(kind)) is not None:
                told = self._answer_for(book, call, waiter, answer, now)
                if told is None:
                    break
                row.popleft()
                waiter.future.set_result(told)

    def _answer_for(
        self, book: KeyBook, call: Call, waiter: Waiter, answer: Answer, now: float
    ) -> Admitted | Refused | KeyFacts | None:
        """Return what one who waits is told; None when that needs another question."""
        if waiter.need is None:
            if answer.reason in OF_THE_KEY:
                return answer.refused
            return answer.key or Refused("AUTH_UNAVAILABLE", reset_ms=1000)
        granted = answer.refused is None and waiter.need is call.asked_for
        if granted and book.allowance.take_granted(waiter.need, now, self._floor(now)):
            return self._admitted(book, waiter.need, now)
        decided = self._decide(book, waiter.need, now)
        if decided is not None or answer.reason == "RECOVERING":
            return decided
        if waiter.need is call.asked_for and answer.refused is not None and call.sent_at >= book.allowance.changed_at:
            return self._refuse(answer.refused)
        if waiter.asked >= _MANY_QUESTIONS:
            return self._refuse(Refused("AUTH_UNAVAILABLE", reset_ms=1000, key=answer.key))
        return None

    # Giving back.

    def _look_again(self, allowance: Allowance) -> None:
        """Something has become spare: see that it goes back in time."""
        book = self._books.get(allowance.digest)
        if book is not None and book.allowance is allowance:
            if allowance.scarce:
                self._reminders.remind(book, self._clock() + SOON_SECONDS)
            elif book.due_at > allowance.spare_until:
                self._reminders.remind(book, max(allowance.spare_until, self._clock() + SOON_SECONDS))

    def _give_back(self, book: KeyBook, now: float) -> None:
        allowance = book.allowance
        if book.task is not None:
            return
        if allowance.pending is None and not allowance.overdue(now):
            self._reminders.remind(book, allowance.due(now))
        elif self.outage.since is not None or not self._gate.is_set():
            self._reminders.remind(book, now + 0.75 + self._rng() / 2)
        elif len(self._tasks) >= self._policy.max_calls_to_return:
            self._reminders.remind(book, now + 0.05)
        else:
            book.returning = True
            self._serve(book)

    def _probe(self, book: KeyBook, kind: Kind, now: float) -> None:
        """Now and then put a question to auth during an outage, for whom the policy has decided."""
        if now >= self._probe_at and book.task is None:
            self._probe_at = now + self._policy.probe_seconds
            book.refill = kind
            self._serve(book)

    def _heard(self, store_time_ms: int, sent_at: float, received_at: float) -> None:
        """Take in the answer to a heartbeat."""
        self.time.learn(store_time_ms, sent_at, received_at)
        self.outage.over()
