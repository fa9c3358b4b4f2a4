"""What an answer of auth means: for the key's allowance, for the session, and for those who wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.allowance import COUNT_TOKENS, REQUESTS
from penstock_edge.denials import OF_THE_KEY
from penstock_edge.records import Refused

if TYPE_CHECKING:
    from penstock_edge.allow_messages import Answer
    from penstock_edge.calls import Call
    from penstock_edge.decisions import Decisions
    from penstock_edge.key_book import KeyBook, Waiter
    from penstock_edge.key_books import KeyBooks
    from penstock_edge.key_facts import KeyFacts
    from penstock_edge.outage import Outage
    from penstock_edge.records import Admitted
    from penstock_edge.session import Session
    from penstock_edge.store_clock import StoreClock

_MANY_QUESTIONS: Final = 20


class Hearing:
    """Takes answers in. `received_at` is monotonic seconds, as all times are."""

    def __init__(
        self, *, books: KeyBooks, session: Session, outage: Outage, time: StoreClock, decisions: Decisions
    ) -> None:
        self._books = books
        self._session = session
        self._outage = outage
        self._time = time
        self._decisions = decisions

    def take_in(self, book: KeyBook, call: Call, answer: Answer, sent_at: float, received_at: float) -> str:
        """Take an answer in and tell those who wait; return what it was: allowance, denial, void or failed."""
        if answer.reason == "STORE_DOWN":
            # Nobody knows whether the store has done it: the question stays, word for word.
            self._outage.failed(received_at, "STORE_DOWN")
            self._learn_key(book, answer, sent_at)
            return "failed"
        if answer.epoch or self._outage.reason != "STORE_DOWN":
            # What a key is, auth says without its store.
            self._outage.over()
        self._session.reached(sent_at)
        self._session.saw_epoch(answer.epoch)
        if not self._is_current(book, call, answer):
            # Somebody has declared this session since, or must: what this answer lends was never declared.
            if book.allowance.pending is call:
                book.allowance.void()
            book.allowance.give_back(answer.lease_id)
            return "void"
        self._learn(book, call, answer, sent_at, received_at)
        self._tell(book, call, answer, received_at)
        return "allowance" if answer.refused is None else "denial"

    def _is_current(self, book: KeyBook, call: Call, answer: Answer) -> bool:
        epoch = answer.epoch == call.epoch or (not answer.epoch and answer.refused is not None)
        return book.allowance.pending is call and epoch and self._session.in_step

    def _learn(self, book: KeyBook, call: Call, answer: Answer, sent_at: float, received_at: float) -> None:
        allowance = book.allowance
        self._time.learn(answer.store_time_ms, sent_at, received_at)
        self._learn_key(book, answer, sent_at)
        if answer.refused is None or answer.limits:
            # A refusal may be about the key, or say nothing of limits because they are being recovered.
            allowance.note_limits(answer.limits, answer.edges, call.sent_at)
        if answer.reason == "RECOVERING":
            self._session.doubt()
        if answer.refused is None:
            allowance.granted(call, answer.lease_id, answer.requests, answer.life, answer.holding)
        else:
            allowance.refused(call, answer.refused, answer.valid)

    def _learn_key(self, book: KeyBook, answer: Answer, sent_at: float) -> None:
        if answer.key is not None:
            self._books.learn(book, answer.key)
            book.allowance.told_at = sent_at

    def _tell(self, book: KeyBook, call: Call, answer: Answer, now: float) -> None:
        """Answer those who wait, first come first served, as far as this answer goes."""
        if answer.reason == "UNKNOWN_KEY":
            self._books.note_unknown(book.allowance.digest, now + answer.valid)
        for kind in (call.kind, COUNT_TOKENS if call.kind == REQUESTS else REQUESTS):
            row = book.row(kind)
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
        need, refused = waiter.need, answer.refused
        if need is None:
            if answer.reason in OF_THE_KEY:
                return refused
            return answer.key or Refused("AUTH_UNAVAILABLE", reset_ms=1000)
        asked_for_it = need is call.asked_for
        decided = self._decisions.granted(book, need, now) if refused is None and asked_for_it else None
        if decided is None:
            decided = self._decisions.decide(book, need, now)
        if decided is not None or answer.reason == "RECOVERING":
            return decided
        if asked_for_it and refused is not None and call.sent_at >= book.allowance.changed_at:
            return self._decisions.refuse(refused)
        if waiter.asked >= _MANY_QUESTIONS:
            return self._decisions.refuse(Refused("AUTH_UNAVAILABLE", reset_ms=1000, key=answer.key))
        return None
