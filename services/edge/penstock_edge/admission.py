"""Whether a request may go on: spends what auth has lent of its key's limits, and asks auth when that does not do."""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from penstock_chassis import logs
from penstock_edge.allow_messages import Answer, answer_of, declaration_of, request_of
from penstock_edge.allowance import COUNT_TOKENS, NEVER, OF_THE_KEY, RECENT_MS, REQUESTS, SOON_SECONDS, Allowance, Call
from penstock_edge.outage import Outage, Remainder
from penstock_edge.records import Admitted, KeyFacts, Need, Refused
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


class _Waiter:
    """Somebody who waits for auth's answer; without a `need` only for the key's facts."""

    __slots__ = ("asked", "future", "need")

    def __init__(self, need: Need | None) -> None:
        self.need = need
        self.future: asyncio.Future[Admitted | Refused | KeyFacts] = asyncio.get_running_loop().create_future()
        self.asked = 0

    @property
    def answered(self) -> bool:
        return self.future.done() and not self.future.cancelled()


class _Book:
    """One key: its allowance, who waits, and whether somebody is asking auth about it."""

    __slots__ = ("allowance", "due_at", "last_kind", "refill", "returning", "task", "waiters")

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.waiters: dict[Kind, deque[_Waiter]] = {REQUESTS: deque(), COUNT_TOKENS: deque()}
        self.refill: Kind | None = None
        self.returning = False
        self.task: asyncio.Task[None] | None = None
        self.due_at = NEVER
        self.last_kind: Kind = COUNT_TOKENS

    @property
    def idle(self) -> bool:
        return self.task is None and self.allowance.idle and not any(self.waiters.values())


class _Groups:
    """Which keys belong to a project or plan."""

    def __init__(self) -> None:
        self._members: dict[str, set[bytes]] = {}

    def move(self, digest: bytes, before: str | None, after: str | None) -> None:
        if before == after:
            return
        if before is not None and (members := self._members.get(before)) is not None:
            members.discard(digest)
            if not members:
                del self._members[before]
        if after is not None:
            self._members.setdefault(after, set()).add(digest)

    def of(self, name: str) -> list[bytes]:
        return list(self._members.get(name, ()))


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
        self._books: OrderedDict[bytes, _Book] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._projects = _Groups()
        self._plans = _Groups()
        self._everything_from = -NEVER
        self._due: list[tuple[float, int, _Book]] = []
        self._due_count = 0
        self._due_changed = asyncio.Event()
        self._gate = asyncio.Event()
        self._calls = asyncio.Semaphore(self._policy.max_calls)
        self._calling = 0
        self._quiet = asyncio.Event()
        self._returning = 0
        self._probe_at = -NEVER
        self._tasks: set[asyncio.Task[None]] = set()
        session.tell_time(self._heard)

    # For requests.

    def known(self, digest: bytes) -> KeyFacts | None:
        """Return what was last heard of this key, without asking; `try_admit` says whether it still counts."""
        book = self._books.get(digest)
        return None if book is None else book.allowance.facts

    def try_admit(self, digest: bytes, need: Need, now: float) -> Admitted | Refused | None:
        """Decide from what is here, without I/O. None: auth must be asked (`admit`)."""
        book = self._books.get(digest)
        if book is None:
            until = self._unknown.get(digest)
            return None if until is None or now >= until else self._refuse(Refused("UNKNOWN_KEY"))
        self._books.move_to_end(digest)
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
        if book is None or not self._may_wait(book, need.kind):
            return self._refuse(Refused("AUTH_UNAVAILABLE", reset_ms=1000))
        waiter = _Waiter(need)
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
        if book is None and self._unknown.get(digest, -NEVER) > now:
            return Refused("UNKNOWN_KEY")
        if book is not None and (known := self._known(book, now)) is not None:
            return known
        book = self._book(digest)
        if book is None or not self._may_wait(book, REQUESTS):
            return Refused("AUTH_UNAVAILABLE", reset_ms=1000)
        waiter = _Waiter(None)
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
        allowance.unsettled.discard(admitted)
        allowance.let_go(admitted.need, used=recorded)
        if not recorded:
            allowance.remember(admitted.admitted_at_ms, REQUESTS)
        self._look_again(allowance)

    # For the session and the stream of changes.

    def key_changed(self, key_sha256: bytes) -> None:
        """Use nothing of this key that was asked for before now."""
        self._unknown.pop(key_sha256, None)
        book = self._books.get(key_sha256)
        if book is not None:
            book.allowance.changed_at = self._clock()

    def project_changed(self, project: str) -> None:
        """Use nothing of this project's keys that was asked for before now."""
        for digest in self._projects.of(project):
            self.key_changed(digest)

    def plan_changed(self, plan: str) -> None:
        """Use nothing of this plan's keys that was asked for before now."""
        for digest in self._plans.of(plan):
            self.key_changed(digest)

    def everything_changed(self) -> None:
        """Use nothing that was asked for before now."""
        self._everything_from = self._clock()
        self._unknown.clear()

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
        for book in self._books.values():
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
        for book in self._books.values():
            for i, amount in enumerate(book.allowance.open):
                totals[i] += amount
        return dict(zip(("slots", "input_tokens", "output_tokens", "micro_usd"), totals, strict=True))

    def lent(self) -> dict[str, int]:
        """Return the unspent units of all leases by kind, for gauges."""
        books = self._books.values()
        return {
            REQUESTS: sum(b.allowance.requests.units for b in books),
            COUNT_TOKENS: sum(b.allowance.count_tokens.units for b in books),
        }

    async def give_all_back(self, seconds: float) -> None:
        """Return every lease and all spare, for the drain: this session will admit nothing more."""
        self.everything_changed()
        try:
            async with asyncio.timeout(seconds):
                for book in list(self._books.values()):
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
                now = self._clock()
                while self._due and self._due[0][0] <= now:
                    when, _, book = heapq.heappop(self._due)
                    if when == book.due_at:
                        book.due_at = NEVER
                        self._give_back(book, now)
                self._due_changed.clear()
                wait = self._due[0][0] - self._clock() if self._due else None
                try:
                    async with asyncio.timeout(wait):
                        await self._due_changed.wait()
                except TimeoutError:
                    pass
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

    def _decide(self, book: _Book, need: Need, now: float) -> Admitted | Refused | None:
        allowance = book.allowance
        floor = self._floor(now)
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

    def _admitted(self, book: _Book, need: Need, now: float, *, degraded: bool = False) -> Admitted | Refused:
        """Make the record of a request whose need has been taken."""
        allowance = book.allowance
        facts = allowance.facts
        if facts is None:
            raise ValueError("something was lent of a key of which auth told nothing")
        at = self.time.at(now)
        requests = need.kind == "requests"
        admitted = Admitted(facts, at, need, degraded, allowance, requests, requests)
        if requests:
            allowance.unsettled.add(admitted)
        else:
            allowance.remember(at, COUNT_TOKENS)
        if 0 < facts.expires_at_ms <= at:
            self.ended(admitted)
            self.settled(admitted)
            return self._refuse(Refused("EXPIRED", key=facts))
        self._observer.admitted(degraded=degraded)
        lane = allowance.requests if requests else allowance.count_tokens
        if not degraded:
            if book.task is None and allowance.low(lane, now):
                book.refill = need.kind
                self._serve(book)
            if allowance.ended:
                self._schedule(book, allowance.due(now))
        return admitted

    def _refuse(self, refused: Refused) -> Refused:
        self._observer.refused(refused.reason)
        return refused

    def _given_up(self, book: _Book, now: float) -> bool:
        """Say whether the outage has lasted so long that this key's plan decides at once."""
        return self.outage.lasted(now) >= self._patience_of(book)

    def _patience_of(self, book: _Book) -> float:
        facts = book.allowance.facts
        if facts is not None and facts.on_store_outage == "Degraded":
            return self._policy.degraded_after_seconds
        return self._policy.closed_after_seconds

    def _patience(self, book: _Book, deadline: float, now: float) -> float:
        """Return for how many seconds to wait for auth."""
        seconds = deadline - now
        if self.outage.since is not None:
            seconds = min(seconds, max(0.0, self.outage.since + self._patience_of(book) - now))
        return max(0.0, seconds)

    def _by_policy(self, book: _Book, need: Need, now: float) -> Admitted | Refused:
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

    def _known(self, book: _Book, now: float) -> KeyFacts | Refused | None:
        """Return what is known of the key's owner, if it is fresh."""
        allowance = book.allowance
        floor = max(self._floor(now), allowance.changed_at)
        denied = allowance.requests.denied
        if denied is not None and denied.refused.reason in OF_THE_KEY and now < denied.valid_until:
            return Refused(denied.refused.reason, key=allowance.facts) if denied.asked_at >= floor else None
        fresh = allowance.asked_at >= floor and now - allowance.asked_at < 30.0
        return allowance.facts if fresh else None

    # Keys.

    def _book(self, digest: bytes) -> _Book | None:
        """Return the key's book, a new one if need be; None when there are too many that hold something."""
        book = self._books.get(digest)
        if book is not None:
            return book
        if len(self._books) >= self._policy.max_keys:
            self._evict()
        if len(self._books) >= 2 * self._policy.max_keys:
            _log.error("too_many_keys", keys=len(self._books))
            return None
        book = self._books[digest] = _Book(Allowance(digest, self._clock))
        return book

    def _evict(self) -> None:
        """Forget a key that was not used for long and holds nothing; looks at a few of the oldest."""
        oldest_ms = self.time.at(self._clock()) - RECENT_MS
        for digest, book in [pair for pair, _ in zip(self._books.items(), range(16), strict=False)]:
            book.allowance.forget_before(oldest_ms)
            if book.idle:
                self._forget(digest, book)
                return
            # What still holds something comes to the end of the row, so that the next look finds others.
            self._books.move_to_end(digest)

    def _forget(self, digest: bytes, book: _Book) -> None:
        self._learn_facts(book, None)
        del self._books[digest]

    def _learn_facts(self, book: _Book, facts: KeyFacts | None) -> None:
        before = book.allowance.facts
        digest = book.allowance.digest
        self._projects.move(digest, before.project if before else None, facts.project if facts else None)
        self._plans.move(digest, before.plan if before else None, facts.plan if facts else None)
        book.allowance.facts = facts

    def _may_wait(self, book: _Book, kind: Kind) -> bool:
        row = book.waiters[kind]
        if len(row) >= self._policy.max_waiters_per_key:
            left = [w for w in row if not w.future.done()]
            row.clear()
            row.extend(left)
        return len(row) < self._policy.max_waiters_per_key

    async def _wait(self, waiter: _Waiter, seconds: float) -> Admitted | Refused | KeyFacts | None:
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

    def _serve(self, book: _Book) -> None:
        """See that somebody asks auth about this key."""
        if book.task is None:
            task = asyncio.get_running_loop().create_task(self._ask_while_needed(book))
            book.task = task
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._served(book, done))

    def _served(self, book: _Book, task: asyncio.Task[None]) -> None:
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
        if digest in self._unknown and book.idle:
            self._forget(digest, book)
        else:
            self._schedule(book, book.allowance.due(now) if book.allowance.pending is None else now + 1.0)

    async def _ask_while_needed(self, book: _Book) -> None:
        """Ask, one question at a time, until nobody waits and nothing is to be asked ahead or given back."""
        pause = self._policy.first_pause_seconds
        while self._wants_more(book):
            await self._gate.wait()
            if (wait := self._recovering(book)) > 0:
                await asyncio.sleep(wait)
                continue
            if book.allowance.pending is None:
                self._next_question(book)
            async with self._calls:
                if not self._gate.is_set():
                    continue
                result = await self._ask(book)
            if result not in {"failed", "void"}:
                pause = self._policy.first_pause_seconds
                continue
            if not self._somebody_waits(book):
                # The question is repeated when somebody does, or when all is well again.
                book.refill, book.returning = None, False
                return
            await asyncio.sleep(pause * (0.75 + self._rng() / 2))
            pause = min(pause * 2, self._policy.last_pause_seconds)

    def _recovering(self, book: _Book) -> float:
        """Return for how many seconds auth wants not to be asked about this key, because it recovers from a loss."""
        now = self._clock()
        lanes = (book.allowance.requests, book.allowance.count_tokens)
        until = [
            x.denied.valid_until for x in lanes if x.denied is not None and x.denied.refused.reason == "RECOVERING"
        ]
        return max(until, default=now) - now

    def _somebody_waits(self, book: _Book) -> bool:
        return any(self._first(row) is not None for row in book.waiters.values())

    def _wants_more(self, book: _Book) -> bool:
        return book.refill is not None or book.returning or self._somebody_waits(book)

    def _first(self, row: deque[_Waiter]) -> _Waiter | None:
        while row and row[0].future.done():
            row.popleft()
        return row[0] if row else None

    def _next_question(self, book: _Book) -> Call:
        """Make the next question: for whom has waited, kinds in turn, else ahead, else to give back."""
        kind: Kind = REQUESTS if book.last_kind == COUNT_TOKENS else COUNT_TOKENS
        if self._first(book.waiters[kind]) is None:
            kind = REQUESTS if kind == COUNT_TOKENS else COUNT_TOKENS
        if self._first(book.waiters[kind]) is None:
            kind = book.refill or REQUESTS
        book.last_kind = kind
        waiting = [w for w in book.waiters[kind] if not w.future.done()]
        if waiting:
            waiting[0].asked += 1
        ahead = book.refill == kind
        book.refill, book.returning = None, False
        now = self._clock()
        needs = [w.need for w in waiting if w.need is not None]
        return book.allowance.ask(kind, needs, now, self._floor(now), self._session.epoch, ahead=ahead)

    async def _ask(self, book: _Book) -> str:
        """Put the pending question to auth once; return allowance, denial, void or failed."""
        call = book.allowance.pending
        if call is None:
            return "void"
        request = request_of(call, book.allowance.digest, self._session.id, self._catalog_version())
        sent_at = self._clock()
        self._calling += 1
        result = "failed"
        try:
            message = await self._stub.Allow(request, timeout=self._policy.call_seconds)
            received_at = self._clock()
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

    def _take_in(self, book: _Book, call: Call, answer: Answer, sent_at: float, received_at: float) -> str:
        """Take an answer in and tell those who wait; return what it was."""
        if answer.reason == "STORE_DOWN":
            # Nobody knows whether the store has done it: the question stays, word for word.
            self.outage.failed(received_at, "STORE_DOWN")
            if answer.key is not None and book.allowance.facts is None:
                self._learn_facts(book, answer.key)
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
            self._learn_facts(book, answer.key)
            allowance.note_limits(answer.limits, answer.edges)
        if answer.reason == "RECOVERING":
            self._session.doubt()
        if answer.refused is None:
            allowance.granted(call, answer.lease_id, answer.requests, answer.life, answer.holding)
        else:
            allowance.refused(call, answer.refused, answer.valid)
        self._tell(book, call, answer, received_at)
        return "allowance" if answer.refused is None else "denial"

    def _tell(self, book: _Book, call: Call, answer: Answer, now: float) -> None:
        """Answer those who wait, first come first served, as far as this answer goes."""
        if answer.reason == "UNKNOWN_KEY":
            self._remember_unknown(book.allowance.digest, now + answer.valid)
        for kind in (call.kind, COUNT_TOKENS if call.kind == REQUESTS else REQUESTS):
            row = book.waiters[kind]
            while (waiter := self._first(row)) is not None:
                told = self._answer_for(book, call, waiter, answer, now)
                if told is None:
                    break
                row.popleft()
                waiter.future.set_result(told)

    def _answer_for(
        self, book: _Book, call: Call, waiter: _Waiter, answer: Answer, now: float
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

    def _remember_unknown(self, digest: bytes, until: float) -> None:
        self._unknown[digest] = until
        self._unknown.move_to_end(digest)
        if len(self._unknown) > self._policy.max_unknown_keys:
            self._unknown.popitem(last=False)

    # Giving back.

    def _schedule(self, book: _Book, when: float) -> None:
        """See that this key is looked at again at `when`, if not before."""
        if when >= book.due_at:
            return
        book.due_at = when
        self._due_count += 1
        heapq.heappush(self._due, (when, self._due_count, book))
        if self._due[0][2] is book:
            self._due_changed.set()

    def _look_again(self, allowance: Allowance) -> None:
        """Something has become spare: see that it goes back in time."""
        book = self._books.get(allowance.digest)
        if book is not None and book.allowance is allowance:
            soon = self._clock() + SOON_SECONDS
            self._schedule(book, soon if any(allowance.tight) else max(allowance.spare_until, soon))

    def _give_back(self, book: _Book, now: float) -> None:
        allowance = book.allowance
        if book.task is not None:
            return
        if allowance.pending is None and not allowance.overdue(now):
            self._schedule(book, allowance.due(now))
        elif self.outage.since is not None or not self._gate.is_set():
            self._schedule(book, now + 0.75 + self._rng() / 2)
        elif len(self._tasks) >= self._policy.max_calls_to_return:
            self._schedule(book, now + 0.05)
        else:
            book.returning = True
            self._serve(book)

    def _probe(self, book: _Book, kind: Kind, now: float) -> None:
        """Now and then put a question to auth during an outage, for whom the policy has decided."""
        if now >= self._probe_at and book.task is None:
            self._probe_at = now + self._policy.probe_seconds
            book.refill = kind
            self._serve(book)

    def _heard(self, store_time_ms: int, sent_at: float, received_at: float) -> None:
        """Take in the answer to a heartbeat."""
        self.time.learn(store_time_ms, sent_at, received_at)
        self.outage.over()
