"""The attempt loop: takes an admitted request to one account after another until an answer reaches the client.

Two commit points bound it. Header commit: status and pings have gone out, failover goes on behind them. Output commit:
the first content event has gone out, and whatever happens now is the client's to see.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from penstock_chassis import logs
from penstock_edge import errors
from penstock_edge.answering import Answering
from penstock_edge.attempts import Attempts
from penstock_edge.closing import Closing
from penstock_edge.crossing import cross
from penstock_edge.errors import Problem, ProblemError
from penstock_edge.exchange import Attempt
from penstock_edge.keepalive import KeepAlive
from penstock_edge.spool import SpoolFull
from penstock_edge.waiting import WaitingLine
from penstock_routing import NoneLeft, Pick, RetryBudget, outcomes
from penstock_routing.accounts import ACTIVE
from penstock_routing.retry import Attempted, may_retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.estimates import Estimates
    from penstock_edge.exchange import Exchange
    from penstock_edge.metrics import EdgeMetrics
    from penstock_edge.providers.failure import Failure
    from penstock_edge.seams import Admission, Reports, Settlement, Spool, View
    from penstock_edge.upstream import UpstreamClient
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
    ) -> None:
        self._view = view
        self._metrics = metrics
        self._policy = policy
        self._pace = pace
        self._budget = RetryBudget()
        self._line = WaitingLine(view.pool, rng, pace.wait_places, pace.wait, reporter.waiting)
        self._answering = Answering(view.pool)
        self._attempts = Attempts(
            view=view,
            client=client,
            spool=spool,
            reporter=reporter,
            metrics=metrics,
            answering=self._answering,
            seconds=pace.total,
        )
        self._closing = Closing(admission=admission, settlement=settlement, estimates=estimates, metrics=metrics)
        self.active: set[Exchange] = set()
        """Every exchange between admission and settlement."""

    async def serve(self, exchange: Exchange) -> None:
        """Take an admitted exchange to its end: answered, settled and reported, whatever happens."""
        loop = asyncio.get_running_loop()
        task = exchange.task = asyncio.current_task(loop)
        exchange.turn.listen(exchange.client_left)
        keepalive = self._keep_alive(exchange, loop) if exchange.streamed else None
        self.active.add(exchange)
        try:
            if exchange.waited:
                # Let the watcher look before anything is sent for a client that is gone.
                await asyncio.sleep(0)
            await self._run(exchange)
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
            exchange.over = True
            exchange.turn.forget()
            if keepalive is not None:
                keepalive.stop()
            self.active.discard(exchange)
            self._closing.settle(exchange)
            # The task, its frames and the exchange name each other.
            exchange.task = None

    def _keep_alive(self, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> KeepAlive:
        return KeepAlive(
            loop,
            exchange.reply,
            exchange.dialect.ping(exchange.asked),
            lambda: self._answering.stream_headers(exchange),
            exchange.client_left,
            seconds=self._pace.keepalive,
            stall_seconds=self._pace.stall,
        )

    # The loop

    async def _run(self, exchange: Exchange) -> None:
        now = time.monotonic()
        self._budget.request(now)
        tries = _Tries()
        while True:
            choice = self._try_pick(exchange, tries.tried, now) or await self._pick(exchange, tries.tried)
            if isinstance(choice, NoneLeft):
                await self._answering.problem(exchange, self._no_account(exchange, choice, tries))
                return
            if tries.history and not self._budget.try_retry(time.monotonic()):
                self._view.pool.unused(choice, time.monotonic())
                self._metrics.retry_budget_empty()
                await self._answering.problem(exchange, self._given_up(exchange, tries.history[-1].cls))
                return
            attempt = self._cross(exchange, choice, tries)
            if attempt is not None:
                await self._attempts.make(exchange, attempt)
                failure = attempt.failure
                if failure is None:
                    return
                problem = self._verdict(exchange, attempt, failure, tries)
                if problem is not None:
                    await self._answering.problem(exchange, problem)
                    return
            now = time.monotonic()

    def _cross(self, exchange: Exchange, choice: Pick, tries: _Tries) -> Attempt | None:
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
        return Attempt(len(exchange.attempts), account, choice, name, passage)

    def _verdict(self, exchange: Exchange, attempt: Attempt, failure: Failure, tries: _Tries) -> Problem | None:
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
        if not may_retry(tries.history, self._policy) or self._left(exchange) <= 0:
            return self._given_up(exchange, failure.cls)
        return None

    def _left(self, exchange: Exchange) -> float:
        return exchange.started_at + self._pace.total - time.monotonic()

    def _try_pick(self, exchange: Exchange, tried: frozenset[str], now: float) -> Pick | NoneLeft | None:
        """Return an account if one has room, or why none will have; None when that takes more."""
        traits = exchange.traits
        if traits is None or exchange.origins:
            return None
        return self._line.try_seek(traits, tried, now)

    async def _pick(self, exchange: Exchange, tried: frozenset[str]) -> Pick | NoneLeft:
        traits = exchange.traits
        assert traits is not None  # noqa: S101 -- set before serve
        # Thinking goes back to who signed it, if any of them has room.
        return await self._line.seek(traits, tried, _of(traits, exchange.origins))

    def _no_account(self, exchange: Exchange, none: NoneLeft, tries: _Tries) -> Problem:
        if tries.history:
            return self._given_up(exchange, tries.history[-1].cls)
        # A refusal is final only when no account is left that may take the request later.
        if exchange.refusal is not None and not any(map(self._may_return, none.reasons.keys() - tries.tried)):
            return exchange.refusal
        return errors.none_left(throttled=none.throttled, soonest_seconds=none.soonest_seconds)

    def _may_return(self, name: str) -> bool:
        account = self._view.account(name)
        return account is not None and account.mode == ACTIVE and not account.not_served

    def _given_up(self, exchange: Exchange, cls: str) -> Problem:
        """Answer by the last failure; the accounts that were tried count for the soonest recovery too."""
        if exchange.refusal is not None:
            return exchange.refusal
        traits = exchange.traits
        assert traits is not None  # noqa: S101 -- set before serve
        return errors.last_failure(cls, self._view.pool.soonest(traits, time.monotonic()))


class _Tries:
    """What the attempts of one request have come to so far."""

    __slots__ = ("history", "second_chance", "tried")

    def __init__(self) -> None:
        self.history: list[Attempted] = []
        self.tried: frozenset[str] = _NOBODY
        self.second_chance = True


def _of(traits: Traits, origins: frozenset[str]) -> Traits | None:
    """Return the traits of a request that only these providers, as far as they may, are to take; None for nobody."""
    if traits.providers is not None:
        origins &= traits.providers
    return replace(traits, providers=origins) if origins else None
