"""Whether a request may go on: spends what auth has lent of its key's limits, and asks auth when that does not do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from penstock_edge.admission_policy import AdmissionPolicy
from penstock_edge.allow_messages import declaration_of
from penstock_edge.allowance import COUNT_TOKENS, REQUESTS
from penstock_edge.asking import Asking
from penstock_edge.decisions import Decisions
from penstock_edge.freshness import Freshness
from penstock_edge.giving_back import GivingBack
from penstock_edge.hearing import Hearing
from penstock_edge.holds import Holds
from penstock_edge.key_book import KeyBook, Waiter
from penstock_edge.key_books import KeyBooks
from penstock_edge.key_facts import KeyFacts
from penstock_edge.outage import Outage
from penstock_edge.records import Admitted, Need, Refused
from penstock_edge.reminders import Reminders
from penstock_edge.store_clock import StoreClock
from penstock_edge.unrecorded import RECENT_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.auth.v1 import auth_pb2
    from penstock.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub
    from penstock_edge.changes import Changes
    from penstock_edge.observer import Observer
    from penstock_edge.session import Session


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
        policy = policy or AdmissionPolicy()
        self.outage = outage = Outage()
        self.time = time = StoreClock()
        self._session = session
        self._clock = clock
        self._most_waiters = policy.max_waiters_per_key
        self._freshness = freshness = Freshness(changes, session, time)
        reminders = Reminders(clock)
        self._books = books = KeyBooks(clock, max_keys=policy.max_keys, max_unknown_keys=policy.max_unknown_keys)
        self._holds = Holds(books, reminders, clock)
        self._decisions = Decisions(
            freshness=freshness,
            outage=outage,
            time=time,
            holds=self._holds,
            reminders=reminders,
            observer=observer,
            policy=policy,
            books=books,
        )
        self._asking = Asking(
            stub,
            session=session,
            changes=changes,
            books=books,
            outage=outage,
            freshness=freshness,
            hearing=Hearing(books=books, session=session, outage=outage, time=time, decisions=self._decisions),
            reminders=reminders,
            clock=clock,
            rng=rng,
            observer=observer,
            catalog_version=catalog_version,
            policy=policy,
        )
        self._giving_back = GivingBack(
            books=books, reminders=reminders, asking=self._asking, outage=outage, clock=clock, rng=rng, policy=policy
        )
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
            return self._decisions.refuse(Refused("UNKNOWN_KEY")) if self._books.unknown(digest, now) else None
        self._books.used(book)
        if book.row(need.kind):
            return None
        decided = self._decisions.decide(book, need, now)
        if book.refill is not None:
            self._asking.serve(book)
        return decided

    async def admit(self, digest: bytes, need: Need, deadline: float) -> Admitted | Refused:
        """Decide, asking auth if need be, until `deadline`; then by the plan's outage policy."""
        now = self._clock()
        decided = self.try_admit(digest, need, now)
        if decided is not None:
            return decided
        book = self._book(digest)
        if book is None or not book.has_place(need.kind, self._most_waiters):
            return self._decisions.refuse(Refused("AUTH_UNAVAILABLE", reset_ms=1000))
        answer = await self._answer(book, Waiter(need), deadline, now)
        if answer is None:
            return self._decisions.by_policy(book, need, self._clock())
        if isinstance(answer, KeyFacts):
            raise TypeError("a request was answered with facts")
        return answer

    async def identify(self, digest: bytes, deadline: float) -> KeyFacts | Refused:
        """Return who has this key, for endpoints that debit nothing."""
        now = self._clock()
        book = self._books.get(digest)
        if book is None and self._books.unknown(digest, now):
            return Refused("UNKNOWN_KEY")
        if book is not None and (owner := self._decisions.owner(book, now)) is not None:
            return owner
        book = self._book(digest)
        if book is None or not book.has_place(REQUESTS, self._most_waiters):
            return Refused("AUTH_UNAVAILABLE", reset_ms=1000)
        answer = await self._answer(book, Waiter(None), deadline, now)
        if isinstance(answer, (KeyFacts, Refused)):
            return answer
        return self._decisions.owner_by_policy(book, self._clock())

    def ended(self, admitted: Admitted) -> None:
        """Free the request's slot: its answer has ended. Calling it again does nothing."""
        self._holds.ended(admitted)

    def settled(self, admitted: Admitted, *, recorded: bool = False) -> None:
        """Let go of the request's tokens and money: its settlement is final (`recorded`), or nothing was opened."""
        self._holds.settled(admitted, recorded=recorded)

    # For the session and the stream of changes.

    def key_changed(self, key_sha256: bytes) -> None:
        """Use nothing of this key that was asked for before now."""
        book = self._doubt(key_sha256)
        if book is not None and self.outage.since is not None:
            # Its plan may let it go on without the store; auth knows whether it still may.
            book.returning = True
            self._asking.serve(book)

    def project_changed(self, project: str) -> None:
        """Use nothing of this project's keys that was asked for before now."""
        self._books.group_changed_at = self._clock()
        for digest in self._books.of_project(project):
            self._doubt(digest)

    def plan_changed(self, plan: str) -> None:
        """Use nothing of this plan's keys that was asked for before now."""
        self._books.group_changed_at = self._clock()
        for digest in self._books.of_plan(plan):
            self._doubt(digest)

    def everything_changed(self) -> None:
        """Use nothing that was asked for before now."""
        self._freshness.everything_changed(self._clock())
        self._books.doubt_unknown()

    async def quiet(self) -> None:
        """Let no new question out; return when none is under way."""
        await self._asking.close()

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
            self._asking.open()

    def _heard(self, store_time_ms: int, sent_at: float, received_at: float) -> None:
        """Take in the answer to a heartbeat."""
        self.time.learn(store_time_ms, sent_at, received_at)
        self.outage.over()

    # For the process.

    @property
    def keys(self) -> int:
        """How many keys are known here."""
        return len(self._books)

    def held(self) -> dict[str, int]:
        """Return what open requests hold over all keys, for gauges: slots, input_tokens, output_tokens, micro_usd."""
        totals = [0, 0, 0, 0]
        for book in self._books:
            for i, amount in enumerate(book.allowance.holdings.open):
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
        await self._giving_back.all(seconds)

    async def run(self) -> None:
        """Give back what is over or has become spare, until cancelled."""
        await self._giving_back.run()

    def _doubt(self, digest: bytes) -> KeyBook | None:
        self._books.doubt_unknown(digest)
        book = self._books.get(digest)
        if book is not None:
            book.allowance.changed_at = self._clock()
        return book

    # Waiting.

    def _book(self, digest: bytes) -> KeyBook | None:
        return self._books.find(digest, self.time.at(self._clock()) - RECENT_MS)

    async def _answer(
        self, book: KeyBook, waiter: Waiter, deadline: float, now: float
    ) -> Admitted | Refused | KeyFacts | None:
        """Wait for auth's answer; None when it did not come in time. Nothing stays taken for a caller that is gone."""
        book.row(REQUESTS if waiter.need is None else waiter.need.kind).append(waiter)
        self._asking.serve(book)
        try:
            async with asyncio.timeout(self._decisions.patience(book, deadline, now)):
                return await waiter.future
        except TimeoutError:
            return waiter.future.result() if waiter.answered else None
        except asyncio.CancelledError:
            if waiter.answered and isinstance(admitted := waiter.future.result(), Admitted):
                self.ended(admitted)
                self.settled(admitted)
            raise
