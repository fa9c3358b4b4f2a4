"""The attempt loop: takes an admitted request to one account after another until an answer reaches the client.

Two commit points bound it. Header commit: status and pings have gone out, failover goes on behind them. Output commit:
the first content event has gone out, and whatever happens now is the client's to see.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from penstock_chassis import logs
from penstock_edge import errors
from penstock_edge.answering import Answering
from penstock_edge.closing import Closing
from penstock_edge.crossing import cross
from penstock_edge.decoding import UndecodableError
from penstock_edge.errors import Problem, ProblemError
from penstock_edge.exchange import Attempt
from penstock_edge.keepalive import KeepAlive
from penstock_edge.providers.failure import of_transport
from penstock_edge.records import Opened
from penstock_edge.relay import BROKEN, StreamRelay, passed_headers, receive_whole
from penstock_edge.spool import SpoolFull
from penstock_edge.upstream import UpstreamError
from penstock_edge.waiting import WaitingLine
from penstock_edge.ways import Ways
from penstock_routing import NoneLeft, Outcome, Pick, RetryBudget, outcomes
from penstock_routing.accounts import ACTIVE
from penstock_routing.retry import Attempted, may_retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.estimates import Estimates
    from penstock_edge.exchange import Exchange
    from penstock_edge.metrics import EdgeMetrics
    from penstock_edge.seams import Admission, Reports, Settlement, Spool, View
    from penstock_edge.upstream import Call, UpstreamClient
    from penstock_routing import Traits
    from penstock_routing.policy import Policy

log = logs.get(__name__)

_MOST_ERROR_BYTES = 256 * 1024


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
        self._client = client
        self._spool = spool
        self._reporter = reporter
        self._metrics = metrics
        self._policy = policy
        self._pace = pace
        self._rng = rng
        self._budget = RetryBudget()
        self._line = WaitingLine(view.pool, rng, pace.wait_places, pace.wait, reporter.waiting)
        self._answering = Answering(view.pool)
        self._ways = Ways(view.account)
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
        self._budget.request(time.monotonic())
        history: list[Attempted] = []
        tried: frozenset[str] = frozenset()
        second_chance = True
        while True:
            choice = await self._pick(exchange, tried)
            if isinstance(choice, NoneLeft):
                await self._answering.problem(exchange, self._no_account(exchange, history, choice, tried))
                return
            if history and not self._budget.try_retry(time.monotonic()):
                self._view.pool.unused(choice, time.monotonic())
                self._metrics.retry_budget_empty()
                await self._answering.problem(exchange, self._given_up(exchange, history[-1].cls))
                return
            account = self._view.account(choice.account)
            if account is None:
                self._view.pool.unused(choice, time.monotonic())
                tried |= {choice.account}
                continue
            try:
                name, passage = cross(exchange, account)
            except ProblemError as refusal:
                # An account of another provider may be able to carry what this one cannot.
                self._view.pool.unused(choice, time.monotonic())
                exchange.refusal = refusal.problem
                tried |= {account.name}
                continue
            exchange.ignored = tuple(passage.ignored)
            attempt = await self._attempt(exchange, Attempt(len(exchange.attempts), account, choice, name, passage))
            failure = attempt.failure
            if failure is None:
                return
            fault = failure.fault
            if fault is not None and not passage.native:
                # An upstream's own error object means something in its own wire format alone.
                fault = replace(fault, detail=None)
            if failure.cls == outcomes.CLIENT_FAULT and fault is not None and not exchange.output_committed:
                await self._answering.problem(exchange, fault)
                return
            if exchange.output_committed:
                await self._break_off(exchange, failure.cls)
                return
            if failure.stale and second_chance:
                # The upstream had hung up before we spoke: that says nothing, and the same account may be asked again.
                second_chance = False
                continue
            tried |= {account.name}
            history.append(Attempted(account.name, failure.cls, failure.status, repeatable=failure.repeatable))
            exchange.refusal = fault
            if not may_retry(history, self._policy) or self._left(exchange) <= 0:
                await self._answering.problem(exchange, self._given_up(exchange, failure.cls))
                return

    def _left(self, exchange: Exchange) -> float:
        return exchange.started_at + self._pace.total - time.monotonic()

    async def _pick(self, exchange: Exchange, tried: frozenset[str]) -> Pick | NoneLeft:
        traits = exchange.traits
        assert traits is not None  # noqa: S101 -- set before serve
        # Thinking goes back to who signed it, if any of them has room.
        return await self._line.seek(traits, tried, _of(traits, exchange.origins))

    def _no_account(
        self, exchange: Exchange, history: list[Attempted], none: NoneLeft, tried: frozenset[str]
    ) -> Problem:
        if history:
            return self._given_up(exchange, history[-1].cls)
        # A refusal is final only when no account is left that may take the request later.
        if exchange.refusal is not None and not any(map(self._may_return, none.reasons.keys() - tried)):
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

    # One attempt

    async def _attempt(self, exchange: Exchange, attempt: Attempt) -> Attempt:
        """Try one account; `failure` of the returned attempt is None when the client has its answer."""
        wire = attempt.passage.wire
        relay: StreamRelay | None = None
        try:
            exchange.current = attempt
            call = attempt.call = await self._send(exchange, attempt)
            await call.head()
            attempt.status = call.status
            # Now, not when the answer has ended: by then others know better.
            if (hints := wire.hints(call.headers)) is not None:
                self._view.pool.heard(attempt.pick, hints, time.monotonic())
            if not 200 <= call.status < 300:
                body = await call.read_all(_MOST_ERROR_BYTES)
                attempt.failure = wire.of_status(call.status, call.headers, body)
            elif exchange.streamed and (call.header(b"content-type") or b"").startswith(b"text/event-stream"):
                relay = StreamRelay(
                    exchange,
                    attempt,
                    call,
                    lambda: self._answering.stream_headers(exchange),
                    lambda: self._output_begins(exchange, attempt),
                )
                await relay.run()
                call.let_go()
            else:
                await self._relay_whole(exchange, attempt, call)
        except UpstreamError as error:
            attempt.failure = of_transport(error, streamed=exchange.streamed)
        except UndecodableError:
            attempt.failure = BROKEN
        except SpoolFull:
            attempt.unsent = True
            raise
        except asyncio.CancelledError:
            attempt.cls = outcomes.CLIENT_LEFT
            self._salvage(exchange, attempt, relay)
            raise
        finally:
            self._end_attempt(exchange, attempt)
        return attempt

    def _open(self, exchange: Exchange) -> None:
        """Write the open record, once, in the moment before the first byte to an upstream."""
        admitted, model = exchange.admitted, exchange.model
        if exchange.opened is not None or exchange.operation != outcomes.MESSAGES or admitted is None or model is None:
            return
        key, need = admitted.key, admitted.need
        opened = Opened(
            request_id=exchange.request_id,
            key_id=key.key_id,
            key_sha256=exchange.digest,
            project=key.project,
            model=model.name,
            dialect=exchange.dialect.name,
            price_digest="" if exchange.price is None else exchange.price.digest,
            price_multiplier_ppm=key.price_multiplier_ppm,
            admitted_at_ms=admitted.admitted_at_ms,
            started_at_ms=time.time_ns() // 1_000_000,
            streamed=exchange.streamed,
            hold_input_tokens=need.input_tokens,
            hold_output_tokens=need.output_tokens,
            hold_micro_usd=need.micro_usd,
        )
        self._spool.open(opened)
        exchange.opened = opened

    async def _send(self, exchange: Exchange, attempt: Attempt) -> Call:
        way = self._ways.to(attempt.account)
        passage = attempt.passage
        wire, body, streamed = passage.wire, passage.body, exchange.streamed
        counting = exchange.operation == outcomes.COUNT_TOKENS
        head = wire.head(
            way.target,
            wire.path(attempt.upstream_model, streamed=streamed, counting=counting),
            wire.query(exchange.query if passage.native else b"", streamed=streamed),
            way.credential,
            exchange.client_headers if passage.native else [],
            exchange.request_id,
            len(body),
        )
        deadlines = way.deadlines(self._left(exchange), streamed=streamed)
        return await self._client.send(way.target, [head, body], deadlines, partial(self._open, exchange))

    async def _relay_whole(self, exchange: Exchange, attempt: Attempt, call: Call) -> None:
        body = await receive_whole(attempt, call)
        if body is None:
            return
        reply = exchange.reply
        if reply.started or (exchange.streamed and not attempt.passage.native):
            # Pings went out, so the client reads a stream: this answer is none.
            attempt.failure = BROKEN
            return
        attempt.cls = outcomes.OK
        exchange.output_committed = True
        exchange.delivered = attempt.index
        headers = passed_headers(call.headers, native=attempt.passage.native)
        headers += self._answering.unary_headers(exchange, attempt)
        await reply.whole(call.status, headers, body)

    def _output_begins(self, exchange: Exchange, attempt: Attempt) -> None:
        exchange.forget_request()
        now = time.monotonic()
        self._metrics.first_output(exchange.operation, now - exchange.started_at)
        if attempt.pick.watched and self._view.pool.begun(attempt.pick, now):
            self._reporter.outcome(self._outcome(exchange, attempt, outcomes.BEGUN, now), urgent=True)

    @staticmethod
    def _salvage(exchange: Exchange, attempt: Attempt, relay: StreamRelay | None) -> None:
        """End an interrupted attempt: the upstream sees its client go, and what it had said counts."""
        call = attempt.call
        if call is None:
            return
        left = call.leftover()
        if relay is not None:
            relay.salvage(left)
        elif call.complete and not exchange.streamed and 200 <= call.status < 300:
            attempt.passage.whole(b"".join(left), attempt.meter)
        call.abort()

    def _end_attempt(self, exchange: Exchange, attempt: Attempt) -> None:
        """Give the place back, tell health, keep the record."""
        now = time.monotonic()
        pool = self._view.pool
        exchange.current = None
        if exchange.opened is None and exchange.operation == outcomes.MESSAGES and attempt.failure is None:
            pool.unused(attempt.pick, now)
            return
        call, failure = attempt.call, attempt.failure
        if failure is not None:
            attempt.cls = failure.cls
            attempt.status = attempt.status or failure.status
            if call is not None:
                call.abort()
        exchange.characters = attempt.characters
        exchange.final_usage = attempt.meter.final
        loop_offset = now - exchange.reply.clock()
        exchange.attempts.append(attempt.record(now, loop_offset))
        if exchange.trace is not None:
            exchange.trace.attempted(attempt, now, loop_offset)
        self._metrics.attempt(attempt.account.name, attempt.cls)
        if failure is not None and not failure.blames_account:
            pool.unused(attempt.pick, now)
            return
        outcome = self._outcome(exchange, attempt, attempt.cls, now)
        urgent = pool.finished(attempt.pick, outcome, now)
        self._reporter.outcome(outcome, urgent=urgent)

    def _outcome(self, exchange: Exchange, attempt: Attempt, cls: str, now: float) -> Outcome:
        call, failure = attempt.call, attempt.failure
        traits = exchange.traits
        tokens = -1
        if attempt.meter.reported:
            usage = attempt.meter.usage()
            tokens = usage.whole_input + usage.output_tokens
        return Outcome(
            request_id=exchange.request_id,
            project="" if traits is None else traits.project,
            account=attempt.account.name,
            model="" if traits is None else traits.model,
            operation=exchange.operation,
            cls=cls,
            status=attempt.status,
            retry_after=None if failure is None else failure.retry_after,
            sent_at=attempt.sent_at,
            ended_at=now,
            first_byte=call is not None and call.answered,
            tokens=tokens,
            trial=attempt.pick.trial,
            hints=attempt.pick.heard,
        )

    # Ends

    async def _break_off(self, exchange: Exchange, cls: str) -> None:
        """End a stream whose output had begun: with an error event, never with its proper end."""
        await self._answering.problem(exchange, errors.last_failure(cls, None))


def _of(traits: Traits, origins: frozenset[str]) -> Traits | None:
    """Return the traits of a request that only these providers, as far as they may, are to take; None for nobody."""
    if traits.providers is not None:
        origins &= traits.providers
    return replace(traits, providers=origins) if origins else None
