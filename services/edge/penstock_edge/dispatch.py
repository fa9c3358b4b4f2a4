"""The attempt loop: takes an admitted request to one account after another until an answer reaches the client.

Two commit points bound it. Header commit: status and pings have gone out, failover goes on behind them. Output commit:
the first content event has gone out, and whatever happens now is the client's to see.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from penstock_chassis import logs
from penstock_edge import errors
from penstock_edge.answering import Answering
from penstock_edge.attempts import Attempts
from penstock_edge.closing import Closing
from penstock_edge.crossing import cross
from penstock_edge.errors import Problem, ProblemError
from penstock_edge.exchange import Attempt
from penstock_edge.keepalive import KeepAlive
from penstock_edge.makers import Makers
from penstock_edge.spool import SpoolFull
from penstock_edge.unattended import Unattended
from penstock_edge.waiting import WaitingLine
from penstock_routing import NoneLeft, Pick, RetryBudget, outcomes
from penstock_routing.accounts import ACTIVE
from penstock_routing.retry import Attempted, may_retry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from penstock_edge.direct_turn import DirectTurn
    from penstock_edge.estimates import Estimates
    from penstock_edge.exchange import Exchange
    from penstock_edge.metrics import EdgeMetrics
    from penstock_edge.providers.failure import Failure
    from penstock_edge.seams import Admission, Reports, Settlement, Spool, View
    from penstock_edge.tracing import Tracing
    from penstock_edge.upstream import Call, UpstreamClient
    from penstock_routing import Traits
    from penstock_routing.policy import Policy

log = logs.get(__name__)

_NOBODY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things may take, in seconds."""

    total: float = 900.0
    """From arrival until output begins, over all attempts."""
    keepalive: float = 15.0
    stall: float = 120.0
    """How long a client may not read before it counts as gone."""
    wait: float = 2.0
    """How long a request may wait for an account that is about to have room."""
    wait_places: int = 512


class Dispatcher:
    """Serves admitted requests; one per process."""

    def __init__(
        self,
        *,
        view: View,
        client: UpstreamClient,
        admission: Admission,
        spool: Spool,
        settlement: Settlement,
        reporter: Reports,
        estimates: Estimates,
        metrics: EdgeMetrics,
        policy: Policy,
        pace: Pace,
        rng: Callable[[], float],
        tracing: Tracing | None = None,
    ) -> None:
        self._view = view
        self._tracing = tracing
        self._metrics = metrics
        self._policy = policy
        self._pace = pace
        self._budget = RetryBudget()
        self._line = WaitingLine(view.pool, rng, pace.wait_places, pace.wait, reporter.waiting)
        self._answering = Answering(view.pool)
        self._makers = Makers()
        self.attempts = Attempts(
            view=view,
            client=client,
            spool=spool,
            reporter=reporter,
            metrics=metrics,
            answering=self._answering,
            makers=self._makers,
            seconds=pace.total,
        )
        self._closing = Closing(admission=admission, settlement=settlement, estimates=estimates, metrics=metrics)
        self.active: set[Exchange] = set()
        """Every exchange between admission and settlement."""

    def begin(self, exchange: Exchange, turn: DirectTurn) -> Coroutine[Any, Any, None] | None:
        """Take an admitted exchange as far as goes at once. Returns what is to be awaited for the rest.

        None when it has been sent: then the upstream's answer takes it further.
        """
        now = time.monotonic()
        tries = self._accept(exchange, now)
        if exchange.interrupted:
            return self.go_on(exchange, tries)
        try:
            call = self._try_begin(exchange, tries, now)
        except Exception as error:  # noqa: BLE001 -- raised anew where such things are dealt with
            tries.crash, call = error, None
        attempt = tries.begun
        if call is None or attempt is None:
            return self.go_on(exchange, tries)
        Unattended(self, exchange, turn, tries, attempt, call).wait()
        return None

    def _try_begin(self, exchange: Exchange, tries: Tries, now: float) -> Call | None:
        choice = tries.choice = self._try_pick(exchange, _NOBODY, now)
        if choice is None or isinstance(choice, NoneLeft):
            return None
        tries.choice = None
        attempt = tries.begun = self._cross(exchange, choice, tries)
        return None if attempt is None else self.attempts.try_begin(exchange, attempt)

    async def go_on(self, exchange: Exchange, tries: Tries) -> None:
        """Take an exchange on from where it stands."""
        await self._serve(exchange, tries)
        self.answered(exchange)

    async def serve(self, exchange: Exchange) -> None:
        """Take an admitted exchange to its end: answered, settled and reported, whatever happens."""
        await self._serve(exchange, self._accept(exchange, time.monotonic()))
        self.answered(exchange)

    async def _serve(self, exchange: Exchange, tries: Tries) -> None:
        task = exchange.task = asyncio.current_task()
        try:
            if exchange.waited and tries.begun is None:
                # Let the watcher look before anything is sent for a client that is gone.
                await asyncio.sleep(0)
            await self._run(exchange, tries)
        except asyncio.CancelledError:
            if not exchange.interrupted or task is None:
                raise
            task.uncancel()
            if exchange.interrupted == "draining":
                await self._answering.problem(exchange, errors.DRAINING)
        except SpoolFull:
            await self._answering.problem(exchange, errors.SPOOL_FULL)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the client gets an answer and the books a row
            log.error(  # noqa: TRY400 -- no message and no locals: they might quote a prompt or a key
                "exchange_crashed", request_id=exchange.request_id, error=type(error).__name__, where=logs.where(error)
            )
            await self._answering.problem(exchange, errors.INTERNAL)
        finally:
            self._close(exchange, tries)
            # The task, its frames and the exchange name each other.
            exchange.task = None

    def over(self, exchange: Exchange, tries: Tries) -> None:
        """Settle an exchange that has its answer."""
        self._close(exchange, tries)
        self.answered(exchange)

    def _accept(self, exchange: Exchange, now: float) -> Tries:
        exchange.turn.listen(exchange.client_left)
        self.active.add(exchange)
        self._budget.request(now)
        return Tries(self._keep_alive(exchange) if exchange.streamed else None)

    def _close(self, exchange: Exchange, tries: Tries) -> None:
        exchange.over = True
        exchange.turn.forget()
        if tries.keepalive is not None:
            tries.keepalive.stop()
        self.active.discard(exchange)
        self._closing.settle(exchange)

    def answered(self, exchange: Exchange) -> None:
        """Count an exchange that is over, and end its trace."""
        self._metrics.answered(exchange.operation, exchange.reply.status, time.monotonic() - exchange.started_at)
        self.traced(exchange)

    def traced(self, exchange: Exchange) -> None:
        """End the trace of an exchange that is over."""
        if exchange.trace is not None and self._tracing is not None:
            self._tracing.finish(exchange, exchange.turn.path)

    def _keep_alive(self, exchange: Exchange) -> KeepAlive:
        return KeepAlive(
            asyncio.get_running_loop(),
            exchange.reply,
            exchange.dialect.ping(exchange.asked),
            lambda: self._answering.stream_headers(exchange),
            exchange.client_left,
            seconds=self._pace.keepalive,
            stall_seconds=self._pace.stall,
        )

    # The loop

    async def _run(self, exchange: Exchange, tries: Tries) -> None:
        attempt = tries.begun
        if attempt is None:
            tries.rethrow(exchange)
        while attempt is None or not await self._made(exchange, attempt, tries):
            now = time.monotonic()
            tried, choice, tries.choice = tries.tried, tries.choice, None
            choice = choice or self._try_pick(exchange, tried, now) or await self._pick(exchange, tries)
            if isinstance(choice, NoneLeft):
                await self._answering.problem(exchange, self._no_account(exchange, choice, tries))
                return
            if tries.history and not self._budget.try_retry(time.monotonic()):
                self._view.pool.unused(choice, time.monotonic())
                self._metrics.retry_budget_empty()
                await self._answering.problem(exchange, self._given_up(exchange, tries))
                return
            attempt = self._cross(exchange, choice, tries)

    async def _made(self, exchange: Exchange, attempt: Attempt, tries: Tries) -> bool:
        """Make an attempt, or end one that has begun; says whether the exchange has an answer then."""
        rethrow = partial(tries.rethrow, exchange) if tries.begun is attempt else _nothing
        if exchange.current is attempt:
            await self.attempts.make(exchange, attempt, rethrow)
        else:
            rethrow()
        failure = attempt.failure
        problem = None if failure is None else self._verdict(exchange, attempt, failure, tries)
        if problem is not None:
            await self._answering.problem(exchange, problem)
        return failure is None or problem is not None

    def _cross(self, exchange: Exchange, choice: Pick, tries: Tries) -> Attempt | None:
        """Return an attempt at the account that was picked; None when it cannot be made, and another has to be."""
        account = self._view.account(choice.account)
        if account is None:
            self._view.pool.unused(choice, time.monotonic())
            tries.tried |= {choice.account}
            return None
        try:
            name, passage = cross(exchange, account)
        except ProblemError as refusal:
            # An account of another provider may be able to carry what this one cannot.
            self._view.pool.unused(choice, time.monotonic())
            exchange.refusal = refusal.problem
            tries.tried |= {account.name}
            return None
        exchange.ignored = tuple(passage.ignored)
        attempt = exchange.current = Attempt(len(exchange.attempts), account, choice, name, passage)
        return attempt

    def _verdict(self, exchange: Exchange, attempt: Attempt, failure: Failure, tries: Tries) -> Problem | None:
        """Return what the client is told after a failed attempt; None when another account is to be tried."""
        fault = failure.fault
        if fault is not None and not attempt.passage.native:
            # An upstream's own error object means something in its own wire format alone.
            fault = replace(fault, detail=None)
        if failure.cls == outcomes.CLIENT_FAULT and fault is not None and not exchange.output_committed:
            return fault
        if exchange.output_committed:
            # The stream ends with an error event, never with its proper end.
            return errors.last_failure(failure.cls, None)
        if failure.stale and tries.second_chance:
            # The upstream had hung up before we spoke: that says nothing, and the same account may be asked again.
            tries.second_chance = False
            return None
        account = attempt.account.name
        tries.tried |= {account}
        tries.history.append(Attempted(account, failure.cls, failure.status, repeatable=failure.repeatable))
        exchange.refusal = fault
        if fault is None and account == tries.maker:
            tries.away = self._last_failure(exchange, tries)
        if not may_retry(tries.history, self._policy) or self._left(exchange) <= 0:
            return self._given_up(exchange, tries)
        return None

    def _left(self, exchange: Exchange) -> float:
        return exchange.started_at + self._pace.total - time.monotonic()

    def _try_pick(self, exchange: Exchange, tried: frozenset[str], now: float) -> Pick | NoneLeft | None:
        """Return an account if one has room, or why none will have; None when that takes more."""
        traits = exchange.traits
        if traits is None or exchange.origins or exchange.asked.follows:
            return None
        return self._line.try_seek(traits, tried, now)

    async def _pick(self, exchange: Exchange, tries: Tries) -> Pick | NoneLeft:
        traits, tried = exchange.traits, tries.tried
        assert traits is not None  # noqa: S101 -- set before serve
        if exchange.asked.follows and not tries.maker:
            tries.maker = self._makers.of(exchange.asked.follows) or ""
            if self._may_return(tries.maker):
                # What it goes on from is stored there, and strangers refuse it.
                found = await self._line.seek(traits, frozenset(self._view.accounts()) - {tries.maker})
                if not isinstance(found, NoneLeft):
                    return found
                tries.away = errors.none_left(throttled=found.throttled, soonest_seconds=found.soonest_seconds)
        # Thinking goes back to who signed it, if any of them has room.
        return await self._line.seek(traits, tried, _of(traits, exchange.origins))

    def _no_account(self, exchange: Exchange, none: NoneLeft, tries: Tries) -> Problem:
        if tries.history:
            return self._given_up(exchange, tries)
        # A refusal is final only when no account is left that may take the request later.
        if exchange.refusal is not None and not any(map(self._may_return, none.reasons.keys() - tries.tried)):
            return exchange.refusal
        return errors.none_left(throttled=none.throttled, soonest_seconds=none.soonest_seconds)

    def _may_return(self, name: str) -> bool:
        account = self._view.account(name)
        return account is not None and account.mode == ACTIVE and not account.not_served

    def _given_up(self, exchange: Exchange, tries: Tries) -> Problem:
        """Answer by the last failure; the accounts that were tried count for the soonest recovery too."""
        if exchange.refusal is not None:
            # That strangers do not know the answer says nothing where its maker would.
            return tries.away or exchange.refusal
        return self._last_failure(exchange, tries)

    def _last_failure(self, exchange: Exchange, tries: Tries) -> Problem:
        traits = exchange.traits
        assert traits is not None  # noqa: S101 -- set before serve
        return errors.last_failure(tries.history[-1].cls, self._view.pool.soonest(traits, time.monotonic()))


class Tries:
    """What the attempts of one request have come to so far."""

    __slots__ = ("away", "begun", "choice", "crash", "history", "keepalive", "maker", "second_chance", "tried")

    def __init__(self, keepalive: KeepAlive | None) -> None:
        self.keepalive = keepalive
        self.history: list[Attempted] = []
        self.tried: frozenset[str] = _NOBODY
        self.second_chance = True
        self.maker = ""
        """The account that stores what the request goes on from; "" while nobody has looked, or knows."""
        self.away: Problem | None = None
        """Why that account does not take it now."""
        self.choice: Pick | NoneLeft | None = None
        """Whom to take next, where that is known."""
        self.begun: Attempt | None = None
        """The attempt that began before there was a task."""
        self.crash: Exception | None = None
        """What went wrong before there was a task."""

    def rethrow(self, exchange: Exchange) -> None:
        """Raise what ended the exchange, or interrupted it, before there was a task."""
        crash, self.crash = self.crash, None
        try:
            if crash is not None:
                raise crash
            if exchange.interrupted:
                raise asyncio.CancelledError
        finally:
            # Its traceback names this frame.
            del crash


def _nothing() -> None:
    """Raise nothing."""


def _of(traits: Traits, origins: frozenset[str]) -> Traits | None:
    """Return the traits of a request that only these providers, as far as they may, are to take; None for nobody."""
    if traits.providers is not None:
        origins &= traits.providers
    return replace(traits, providers=origins) if origins else None
