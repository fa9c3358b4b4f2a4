"""Between clients, a policy and accounts: plays every attempt, and tells each side only what it would see.

All that is the same for every policy is here: deadlines (120 s to the first byte of a stream, 600 s for a unary answer),
broken connections, what counts as an error. The policy decides where a request goes, whether it waits, and what follows
a failed attempt.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.routing.sight import Asked, Hedge, Refuse, Seen, Send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from benchmarks.routing.accounts.account import Account, Reply
    from benchmarks.routing.accounts.faults import Fault
    from benchmarks.routing.clients.turns import Turn
    from benchmarks.routing.engine import Engine
    from benchmarks.routing.metrics import Metrics
    from benchmarks.routing.sight import Decision, Headers, Policy

FIRST_BYTE_SECONDS = 120.0
RESPONSE_SECONDS = 600.0
_BYTES_PER_TOKEN = 4.0
_BYTES_SPREAD = 0.12


class Open:
    """A request between its arrival and its answer."""

    __slots__ = (
        "account",
        "answered",
        "arrived",
        "asked",
        "attempt",
        "began_at",
        "counted",
        "first",
        "headers",
        "perfect",
        "reply",
        "rival",
        "sent_at",
        "turn",
    )

    def __init__(self, turn: Turn, asked: Asked, answered: Callable[[int, float], None], first: bool) -> None:
        self.turn = turn
        self.asked = asked
        self.answered = answered
        self.first = first
        self.arrived = asked.arrived
        self.attempt = 0
        self.account: Account | None = None
        self.reply: Reply | None = None
        self.rival: Open | None = None
        """The other attempt of the same request while neither has begun."""
        self.headers: Headers | None = None
        self.sent_at = self.began_at = -1.0
        self.perfect = 0
        self.counted = False


class Gateway:
    """Runs one policy over these accounts."""

    def __init__(
        self, engine: Engine, policy: Policy, accounts: Mapping[str, Account], metrics: Metrics, edges: int, rng: Random
    ) -> None:
        self.engine = engine
        self.policy = policy
        self.accounts = accounts
        self.metrics = metrics
        self._edges = edges
        self._rng = rng
        self._open: dict[int, Open] = {}
        self._running: dict[str, dict[int, Open]] = {name: {} for name in accounts}
        self._count = 0
        self._ticks_at = math.inf

    # From clients

    def ask(self, turn: Turn, answered: Callable[[int, float], None], *, first: bool) -> None:
        """Take a request."""
        now = self.engine.now
        self._count += 1
        size = turn.prompt_tokens * _BYTES_PER_TOKEN * math.exp(self._rng.gauss(0.0, _BYTES_SPREAD))
        asked = Asked(
            number=self._count,
            edge=int(self._rng.random() * self._edges),
            project=turn.project,
            session=turn.session if turn.named else "",
            model=turn.model,
            prompt_bytes=int(size),
            max_tokens=turn.max_tokens,
            stream=turn.stream,
            prefix=turn.session,
            arrived=now,
        )
        opened = Open(turn, asked, answered, first)
        self._open[asked.number] = opened
        self.metrics.arrived(opened, now)
        self._decided(opened, self.policy.pick(asked, now))
        self._wind()

    # From the policy

    def _decided(self, opened: Open, decision: Decision) -> None:
        if isinstance(decision, Send):
            self._send(opened, decision.account)
        elif isinstance(decision, Hedge):
            self._hedge(opened, decision.account)
        elif isinstance(decision, Refuse):
            self._refuse(opened, decision)

    def _refuse(self, opened: Open, refusal: Refuse) -> None:
        now = self.engine.now
        del self._open[opened.asked.number]
        self.metrics.refused(opened, refusal.status, now)
        self.engine.after(0.0, opened.answered, refusal.status, refusal.retry_after)

    def _wind(self) -> None:
        """Call the policy again when it wants to be."""
        due = self.policy.due()
        if due < self._ticks_at:
            self._ticks_at = due
            self.engine.at(due, self._tick, due)
        for name in self.policy.probes():
            status, seconds = self.accounts[name].probed()
            self.engine.after(seconds, self._probed, name, status)

    def _tick(self, due: float) -> None:
        if due != self._ticks_at:
            return
        self._ticks_at = math.inf
        for number, decision in self.policy.tick(self.engine.now):
            opened = self._open.get(number)
            if opened is not None:
                self._decided(opened, decision)
        self._wind()

    def _probed(self, name: str, status: int) -> None:
        self.policy.probed(name, status, self.engine.now)
        self._wind()

    # Attempts

    def _hedge(self, opened: Open, name: str) -> None:
        asked = replace(opened.asked, number=-opened.asked.number)
        second = Open(opened.turn, asked, opened.answered, opened.first)
        second.arrived, second.perfect, second.counted = opened.arrived, opened.perfect, opened.counted
        second.rival, opened.rival = opened, second
        self._open[asked.number] = second
        self.metrics.hedged(second)
        self._send(second, name)

    def _drop(self, loser: Open) -> None:
        """Give up an attempt whose rival has begun; its prompt is paid for where it was taken."""
        account, reply = loser.account, loser.reply
        if account is None or reply is None:
            return
        number = loser.asked.number
        loser.attempt += 1
        loser.account = loser.reply = None
        del self._running[account.name][number], self._open[number]
        account.in_flight -= 1
        self.metrics.dropped(loser, reply)
        self.policy.dropped(number, self.engine.now)

    def _send(self, opened: Open, name: str) -> None:
        now = self.engine.now
        account = self.accounts[name]
        opened.attempt += 1
        opened.account, opened.sent_at, opened.began_at, opened.headers = account, now, -1.0, None
        self.metrics.sent(opened, name, now)
        reply = opened.reply = account.takes(opened.turn, now)
        self._running[name][opened.asked.number] = opened
        account.in_flight += 1
        attempt = opened.attempt
        deadline = FIRST_BYTE_SECONDS if opened.asked.stream else RESPONSE_SECONDS
        waits_for = reply.begins if opened.asked.stream and reply.begins >= 0 else reply.ends
        if reply.begins >= 0 and reply.begins <= deadline:
            self.engine.after(reply.begins, self._begins, opened, attempt)
        if waits_for > deadline:
            self.engine.after(deadline, self._ended, opened, attempt, True)
        else:
            self.engine.after(reply.ends, self._ended, opened, attempt, False)

    def _begins(self, opened: Open, attempt: int) -> None:
        account, reply = opened.account, opened.reply
        if opened.attempt != attempt or account is None or reply is None:
            return
        now = self.engine.now
        opened.began_at = now
        if opened.rival is not None:
            self._drop(opened.rival)
            opened.rival = None
        account.begins(opened.turn, reply, now)
        opened.headers = account.headers(opened.turn.model, now)
        self.metrics.wrote(opened, now)
        if opened.asked.stream:
            self.policy.begun(opened.asked.number, opened.headers, now)
            self._wind()

    def _ended(self, opened: Open, attempt: int, late: bool) -> None:
        """End an attempt: as its account said, or (`late`) because a deadline has come."""
        if opened.attempt != attempt or opened.reply is None:
            return
        if late:
            self._over(opened, 0, broken=False, repeatable=opened.asked.stream)
        else:
            self._over(opened, opened.reply.status, broken=opened.reply.broken, repeatable=True)

    def broken_off(self, name: str) -> None:
        """Break all connections to an account."""
        for opened in list(self._running[name].values()):
            self._over(opened, 0, broken=opened.began_at >= 0, repeatable=True)

    def _over(self, opened: Open, status: int, *, broken: bool, repeatable: bool) -> None:
        now = self.engine.now
        account, reply = opened.account, opened.reply
        if account is None or reply is None:
            return
        number = opened.asked.number
        opened.attempt += 1
        del self._running[account.name][number]
        account.in_flight -= 1
        if opened.began_at >= 0:
            account.ends(opened.turn, reply, now)
        # Until its output begins, a client of a unary answer has seen nothing.
        shown = broken and opened.asked.stream
        seen = self._seen(opened, account, reply, status, shown, repeatable, broken)
        opened.account = opened.reply = None
        following = self.policy.finished(number, seen, now)
        if opened.rival is not None:
            # The other attempt goes on alone.
            opened.rival.rival = None
            del self._open[number]
        elif following is not None:
            self._decided(opened, following)
        else:
            del self._open[number]
            if seen.good:
                self.metrics.delivered(
                    opened, reply, opened.began_at if opened.asked.stream else opened.sent_at + reply.begins, now
                )
                self.engine.after(0.0, opened.answered, 200, 0.0)
            else:
                self.metrics.broke(opened)
                self.engine.after(0.0, opened.answered, 200, 0.0)
        self._wind()

    def _seen(
        self, opened: Open, account: Account, reply: Reply, status: int, shown: bool, repeatable: bool, broken: bool
    ) -> Seen:
        good = status == 200 and not broken
        return Seen(
            account=account.name,
            status=200 if shown else 0 if broken else status,
            sent_at=opened.sent_at,
            ended_at=self.engine.now,
            began_at=opened.began_at if opened.asked.stream or good else -1.0,
            retry_after=reply.retry_after,
            headers=opened.headers
            if opened.began_at >= 0
            else account.headers(opened.turn.model, self.engine.now)
            if status == 429
            else None,
            broken=shown,
            repeatable=repeatable,
            input_tokens=opened.turn.prompt_tokens if good else -1,
            cached_tokens=reply.cached if good else -1,
            output_tokens=opened.turn.output_tokens if good else -1,
        )

    # The world

    def plan(self, faults: tuple[Fault, ...]) -> None:
        """Put down what is going to go wrong."""
        names = list(self.accounts)
        for fault in faults:
            self.engine.at(fault.begins, self._fault, names[fault.account], fault, True)
            self.engine.at(fault.ends, self._fault, names[fault.account], fault, False)

    def _fault(self, name: str, fault: Fault, begins: bool) -> None:
        if self.accounts[name].fails(fault.kind if begins else None, self.engine.now):
            self.broken_off(name)
