"""Whether a request may go on, by what is known here. No I/O: it only marks a key of which auth should be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.allowance import COUNT_TOKENS, Allowance
from penstock_edge.denials import OF_THE_KEY
from penstock_edge.outage import Outage, Remainder
from penstock_edge.records import Admitted, Need, Refused
from penstock_edge.times import NEVER

if TYPE_CHECKING:
    from penstock_edge.admission_policy import AdmissionPolicy
    from penstock_edge.freshness import Freshness
    from penstock_edge.holds import Holds
    from penstock_edge.key_book import KeyBook
    from penstock_edge.key_books import KeyBooks
    from penstock_edge.key_facts import KeyFacts
    from penstock_edge.observer import Observer
    from penstock_edge.records import Kind
    from penstock_edge.reminders import Reminders
    from penstock_edge.store_clock import StoreClock

_FRESH_SECONDS: Final = 30.0


class Decisions:
    """Decides from allowances, denials and, in an outage, by the key's plan.

    A decision may leave `book.refill` set: whoever asked for it sees that auth is asked then.
    """

    def __init__(
        self,
        *,
        freshness: Freshness,
        outage: Outage,
        time: StoreClock,
        holds: Holds,
        reminders: Reminders,
        observer: Observer,
        policy: AdmissionPolicy,
        books: KeyBooks,
    ) -> None:
        self._books = books
        self._freshness = freshness
        self._outage = outage
        self._time = time
        self._holds = holds
        self._reminders = reminders
        self._observer = observer
        self._policy = policy
        self._probe_at = -NEVER

    def decide(self, book: KeyBook, need: Need, now: float) -> Admitted | Refused | None:
        """Decide; None when auth must be asked."""
        allowance = book.allowance
        # Of a key whose time may be over, auth says anew what it is.
        floor = self._freshness.floor_of(allowance.facts, now)
        if allowance.take(need, now, floor):
            return self.admitted(book, need, now)
        denied = allowance.denial(need, now, floor)
        if denied is not None and denied.refused.reason != "RECOVERING":
            said = denied.refused
            reset_ms = max(0, int((denied.reset_at - now) * 1000)) if said.reset_ms else 0
            return self.refuse(
                Refused(said.reason, said.limit, said.amount, said.unit, reset_ms, allowance.facts, allowance)
            )
        if self._outage.since is not None and self._outage.lasted(now) >= self._patience_of(allowance.facts):
            self._probe(book, need.kind, now)
            return self.by_policy(book, need, now)
        return None

    def granted(self, book: KeyBook, need: Need, now: float) -> Admitted | Refused | None:
        """Admit the request that auth has just made room for; None when that came too late."""
        if book.allowance.take_granted(need, now, self._freshness.floor(now)):
            return self.admitted(book, need, now)
        return None

    def admitted(self, book: KeyBook, need: Need, now: float, *, degraded: bool = False) -> Admitted | Refused:
        """Make the record of a request whose need has been taken."""
        allowance = book.allowance
        facts = allowance.facts
        if facts is None:
            raise ValueError("something was lent of a key of which auth told nothing")
        at = self._time.at(now)
        kind = need.kind
        requests = kind == "requests"
        admitted = Admitted(facts, at, need, degraded, allowance, requests, requests)
        if requests:
            allowance.unrecorded.opens(at)
        else:
            allowance.unrecorded.remember(at, COUNT_TOKENS)
        if 0 < facts.expires_at_ms <= at:
            self._holds.ended(admitted)
            self._holds.settled(admitted, recorded=False)
            return self.refuse(Refused("EXPIRED", key=facts))
        self._observer.admitted(degraded=degraded)
        if not degraded:
            lane = allowance.requests if requests else allowance.count_tokens
            if book.task is None and now >= lane.refill_after and allowance.low(lane, now):
                book.refill = kind
            if allowance.ended:
                self._reminders.remind(book, allowance.due(now))
        return admitted

    def by_policy(self, book: KeyBook, need: Need, now: float) -> Admitted | Refused:
        """Decide without auth, by what the key's plan says of outages."""
        allowance, facts = book.allowance, book.allowance.facts
        denied, outage = allowance.lane(need.kind).denied, self._outage
        if denied is not None and outage.since is None and denied.refused.reason == "RECOVERING":
            return self.refuse(Refused("RECOVERING", reset_ms=1000, key=facts))
        if denied is not None and denied.refused.reason in OF_THE_KEY:
            return self.refuse(Refused(denied.refused.reason, key=facts))
        # Nobody has answered in time; no call need have failed for that: while a session declares itself none is made.
        if facts is not None and facts.on_store_outage == "Degraded":
            if allowance.remainder is None:
                allowance.remainder = Remainder(
                    allowance.limits,
                    facts.max_concurrent_requests,
                    allowance.edges,
                    allowance.limits_at,
                    self._books.parts_of(facts.project),
                )
            if self._money_is_safe(allowance, need, now) and allowance.remainder.spend(need, now):
                if need.kind == "requests":
                    allowance.hold(need)
                return self.admitted(book, need, now, degraded=True)
        return self.refuse(Refused(outage.reason, reset_ms=1000, key=facts))

    def refuse(self, refused: Refused) -> Refused:
        """Count a refusal."""
        self._observer.refused(refused.reason)
        return refused

    def patience(self, book: KeyBook, deadline: float, now: float) -> float:
        """Return for how many seconds to wait for auth."""
        seconds = deadline - now
        since = self._outage.since
        if since is not None:
            seconds = min(seconds, max(0.0, since + self._patience_of(book.allowance.facts) - now))
        return max(0.0, seconds)

    def owner(self, book: KeyBook, now: float) -> KeyFacts | Refused | None:
        """Return what is known of the key's owner, if it is fresh."""
        allowance = book.allowance
        floor = max(self._freshness.floor_of(allowance.facts, now), allowance.changed_at)
        denied = allowance.requests.denied
        if denied is not None and denied.refused.reason in OF_THE_KEY:
            holds = now < denied.valid_until and denied.asked_at >= floor
            return Refused(denied.refused.reason, key=allowance.facts) if holds else None
        fresh = allowance.asked_at >= floor and now - allowance.asked_at < _FRESH_SECONDS
        return allowance.facts if fresh else None

    def owner_by_policy(self, book: KeyBook, now: float) -> KeyFacts | Refused:
        """Return what was last heard of the key's owner: whose a key is, is no secret of the store."""
        facts, denied = book.allowance.facts, book.allowance.requests.denied
        if denied is not None and denied.refused.reason in OF_THE_KEY:
            return Refused(denied.refused.reason, key=facts)
        if facts is not None and 0 < facts.expires_at_ms <= self._time.at(now):
            return Refused("EXPIRED", key=facts)
        return facts or Refused(self._outage.reason, reset_ms=1000)

    def _patience_of(self, facts: KeyFacts | None) -> float:
        if facts is not None and facts.on_store_outage == "Degraded":
            return self._policy.degraded_after_seconds
        return self._policy.closed_after_seconds

    def _money_is_safe(self, allowance: Allowance, need: Need, now: float) -> bool:
        """Say whether credit is not touched, or was lent ahead: an outage never lends it."""
        if allowance.facts is None or not allowance.facts.credit_required or need.kind == COUNT_TOKENS:
            return True
        reachable = self._freshness.reaches_auth(now)
        return reachable and allowance.holdings.covers_money(need.micro_usd, now)

    def _probe(self, book: KeyBook, kind: Kind, now: float) -> None:
        """Now and then put a question to auth during an outage, for whom the policy has decided."""
        allowance = book.allowance
        # What became of a key that may have changed, auth says although its store is down.
        doubted_at = max(allowance.changed_at, self._freshness.everything_from)
        news = self._outage.reason == "STORE_DOWN" and allowance.told_at < doubted_at and now >= book.probe_after
        if book.task is None and (news or now >= self._probe_at):
            self._probe_at = book.probe_after = now + self._policy.probe_seconds
            book.refill = kind
