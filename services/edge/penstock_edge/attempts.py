"""One try at one account: from the open record and the first byte that goes out to its outcome, whatever happens.

What waits for nobody is done by plain functions: with an idle connection `try_begin` sends the request, and `try_end`
takes a plain answer to its client when the upstream's connection calls. `make` does all of it in a task, or goes on
with what has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from penstock_edge.cost import whole_input
from penstock_edge.decoding import UndecodableError
from penstock_edge.hints import HintReader
from penstock_edge.providers.failure import of_transport
from penstock_edge.records import Opened
from penstock_edge.relay import BROKEN, StreamRelay, passed_headers, read_whole, receive, try_receive
from penstock_edge.spool import SpoolFull
from penstock_edge.standing import ENDED, UNDERWAY, UNFIT
from penstock_edge.upstream import UpstreamError
from penstock_edge.ways import Ways
from penstock_routing import Outcome, outcomes

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.answering import Answering
    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.exchange import Attempt, Exchange
    from penstock_edge.makers import Makers
    from penstock_edge.metrics import EdgeMetrics
    from penstock_edge.seams import Reports, Spool, View
    from penstock_edge.upstream import Call, Deadlines, Target, UpstreamClient
    from penstock_edge.ways import Way

_MOST_ERROR_BYTES: Final = 256 * 1024
_LARGE_BYTES: Final = 64 * 1024


class Attempts:
    """Makes attempts; one per process. `seconds`: from a request's arrival until its output begins."""

    def __init__(
        self,
        *,
        view: View,
        client: UpstreamClient,
        spool: Spool,
        reporter: Reports,
        metrics: EdgeMetrics,
        answering: Answering,
        makers: Makers,
        seconds: float,
    ) -> None:
        self._pool = view.pool
        self._client = client
        self._spool = spool
        self._reporter = reporter
        self._metrics = metrics
        self._answering = answering
        self._makers = makers
        self._seconds = seconds
        self._ways = Ways(view.account)
        self._hints = HintReader(view.pool, time.monotonic)

    def try_begin(self, exchange: Exchange, attempt: Attempt) -> Call | None:
        """Send the request if a connection is idle; else nothing, and return None. Raises UpstreamError, SpoolFull."""
        call = attempt.call = self._client.try_send(*self._sending(exchange, attempt))
        return call

    def try_end(self, exchange: Exchange, attempt: Attempt, call: Call) -> int:
        """Take a stream to its client as it comes, a plain answer when it is whole; returns how the attempt stands."""
        if call.failed:
            return UNFIT
        if not attempt.status:
            self._note_head(attempt, call)
        if not 200 <= call.status < 300:
            return UNFIT
        if exchange.streamed:
            return self._try_stream(exchange, attempt, call)
        if call.paused:
            return UNFIT
        if not call.complete:
            return UNDERWAY
        body = try_receive(call)
        if body is None:
            return UNFIT
        answer = self._answer(exchange, attempt, call, body)
        if answer is not None:
            exchange.reply.try_whole(call.status, *answer)
        self._end(exchange, attempt)
        return UNFIT if answer is None else ENDED

    def _try_stream(self, exchange: Exchange, attempt: Attempt, call: Call) -> int:
        if attempt.relay is None and not _is_stream(call):
            return UNFIT
        standing = self._relay(exchange, attempt, call).try_run()
        if standing == ENDED:
            call.let_go()
            self._end(exchange, attempt)
        return standing

    async def make(self, exchange: Exchange, attempt: Attempt, rethrow: Callable[[], None]) -> None:
        """Try one account, or go on with a try that has begun; `rethrow` raises why that cannot be gone on with.

        `attempt.failure` is None then when the client has its answer. Raises SpoolFull and what `rethrow` does, unless
        it is the upstream's failure.
        """
        wire = attempt.passage.wire
        try:
            rethrow()
            call = attempt.call
            if call is None:
                sending = self._sending(exchange, attempt)
                call = attempt.call = self._client.try_send(*sending) or await self._client.send(*sending)
            while not call.has_head():
                await call.change()
            if not attempt.status:
                self._note_head(attempt, call)
            if not 200 <= call.status < 300:
                attempt.failure = wire.of_status(call.status, call.headers, await call.read_all(_MOST_ERROR_BYTES))
            elif exchange.streamed and _is_stream(call):
                await self._relay(exchange, attempt, call).run()
                call.let_go()
            else:
                answer = self._answer(exchange, attempt, call, try_receive(call) or await receive(call))
                if answer is not None and not exchange.reply.try_whole(call.status, *answer):
                    await exchange.reply.whole(call.status, *answer)
        except UpstreamError as error:
            attempt.failure = of_transport(error, streamed=exchange.streamed)
            # The call keeps it, and the frames in its traceback name the call.
            error.__traceback__ = None
        except UndecodableError:
            attempt.failure = BROKEN
        except SpoolFull:
            attempt.unsent = True
            raise
        except asyncio.CancelledError:
            self._interrupted(exchange, attempt)
            raise
        finally:
            self._end(exchange, attempt)

    def _interrupted(self, exchange: Exchange, attempt: Attempt) -> None:
        """End an interrupted attempt: the upstream sees its client go, and what it had said counts."""
        call, relay = attempt.call, attempt.relay
        if call is not None and relay is not None and relay.ended:
            # The client had all of it just before.
            call.let_go()
            return
        attempt.cls = outcomes.CLIENT_LEFT
        if call is not None:
            with contextlib.suppress(UndecodableError):
                self._salvage(exchange, attempt, call)
            call.abort()

    def _salvage(self, exchange: Exchange, attempt: Attempt, call: Call) -> None:
        """Read for the books what came and was not relayed. Raises UndecodableError."""
        if not 200 <= call.status < 300:
            return
        if not exchange.streamed:
            if call.complete:
                attempt.passage.whole(b"".join(call.leftover()), attempt.meter)
        elif attempt.relay is not None or _is_stream(call):
            self._relay(exchange, attempt, call).salvage(call.leftover())

    def _note_head(self, attempt: Attempt, call: Call) -> None:
        attempt.status = call.status
        # Now, not when the answer has ended: by then others know better.
        self._hints.read(attempt.passage.wire, attempt.pick, call)

    # The request

    def _sending(
        self, exchange: Exchange, attempt: Attempt
    ) -> tuple[Target, list[bytes], Deadlines, Callable[[], None]]:
        """Return where a request goes, what goes there, how long that may take, and what is done just before."""
        way = self._ways.to(attempt.account)
        left = exchange.started_at + self._seconds - attempt.sent_at
        deadlines = way.deadlines(left, streamed=exchange.streamed)
        return way.target, _request(exchange, attempt, way), deadlines, partial(self._open, exchange)

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

    # The answer

    def _answer(
        self, exchange: Exchange, attempt: Attempt, call: Call, body: bytes | None
    ) -> tuple[Headers, bytes] | None:
        """Return a whole answer as the client gets it; None when it cannot be used."""
        if body is not None and len(body) > _LARGE_BYTES:
            # To read and to translate it may take long.
            self._client.release()
        answer = None if body is None else read_whole(attempt, body)
        native = attempt.passage.native
        # Where pings went out the client reads a stream: this answer is none.
        if answer is None or exchange.reply.started or (exchange.streamed and not native):
            attempt.failure = BROKEN
            return None
        attempt.cls = outcomes.OK
        exchange.output_committed = True
        exchange.delivered = attempt.index
        headers = passed_headers(call.fields, native=native)
        headers += self._answering.unary_headers(exchange, attempt)
        return headers, answer

    def _relay(self, exchange: Exchange, attempt: Attempt, call: Call) -> StreamRelay:
        relay = attempt.relay
        if relay is None:
            headers = partial(self._answering.stream_headers, exchange)
            output_begins = partial(self._output_begins, exchange, attempt)
            relay = attempt.relay = StreamRelay(exchange, attempt, call, headers, output_begins)
        return relay

    def _output_begins(self, exchange: Exchange, attempt: Attempt) -> None:
        exchange.forget_request()
        now = time.monotonic()
        self._metrics.first_output(exchange.operation, now - exchange.started_at)
        if attempt.pick.watched and self._pool.begun(attempt.pick, now):
            self._reporter.outcome(_outcome(exchange, attempt, outcomes.BEGUN, now), urgent=True)

    # The end

    def _end(self, exchange: Exchange, attempt: Attempt) -> None:
        """Give the place back, tell health, keep the record."""
        now = time.monotonic()
        exchange.current = None
        # It and the attempt name each other.
        attempt.relay = None
        call, failure = attempt.call, attempt.failure
        if exchange.opened is None and exchange.operation == outcomes.MESSAGES and failure is None:
            self._pool.unused(attempt.pick, now)
            return
        if failure is not None:
            attempt.cls = failure.cls
            attempt.status = attempt.status or failure.status
        if call is not None and attempt.cls != outcomes.OK:
            # After a crash too: nobody reads on.
            call.abort()
        exchange.characters = attempt.characters
        exchange.final_usage = attempt.meter.final
        if attempt.meter.answer_id and exchange.asked.stored:
            self._makers.made(attempt.meter.answer_id, attempt.account.name)
        loop_offset = now - exchange.reply.clock()
        exchange.attempts.append(attempt.record(now, loop_offset))
        if exchange.trace is not None:
            exchange.trace.attempted(attempt, now, loop_offset)
        self._metrics.attempt(attempt.account.name, attempt.cls)
        if failure is not None and not failure.blames_account:
            self._pool.unused(attempt.pick, now)
            return
        outcome = _outcome(exchange, attempt, attempt.cls, now)
        urgent = self._pool.finished(attempt.pick, outcome, now)
        self._reporter.outcome(outcome, urgent=urgent)


def _request(exchange: Exchange, attempt: Attempt, way: Way) -> list[bytes]:
    """Return the request's head and body."""
    passage, streamed = attempt.passage, exchange.streamed
    wire, body, native = passage.wire, passage.body, passage.native
    head = wire.head(
        way.target,
        wire.path(attempt.upstream_model, streamed=streamed, counting=exchange.operation == outcomes.COUNT_TOKENS),
        wire.query(exchange.query if native else b"", streamed=streamed),
        way.credential,
        exchange.client_headers if native else [],
        exchange.request_id,
        len(body),
    )
    return [head, body]


def _is_stream(call: Call) -> bool:
    return (call.header(b"content-type") or b"").startswith(b"text/event-stream")


def _outcome(exchange: Exchange, attempt: Attempt, cls: str, now: float) -> Outcome:
    call, failure = attempt.call, attempt.failure
    traits = exchange.traits
    tokens = -1
    if attempt.meter.reported:
        used = attempt.meter.tokens()
        tokens = whole_input(used) + used[1]
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
