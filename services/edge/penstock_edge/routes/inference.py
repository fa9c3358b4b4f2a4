"""Every path that asks a model: from the first header to the dispatcher, the same way for all dialects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from penstock_chassis import logs
from penstock_edge import errors, request_id, signatures
from penstock_edge.bodies import ClientLeftError, announced
from penstock_edge.credentials import key_digest
from penstock_edge.dialects.dialect import Dialect, Head
from penstock_edge.direct_turn import DirectTurn
from penstock_edge.errors import Problem, ProblemError
from penstock_edge.estimates import has_blobs
from penstock_edge.exchange import Exchange
from penstock_edge.records import Admitted, Refused
from penstock_edge.reply import Reply
from penstock_routing import Traits, outcomes
from penstock_routing.access import is_claude, may_use, providers_for
from penstock_routing.affinity import affinity_key

if TYPE_CHECKING:
    from penstock_edge.dispatch import Dispatcher
    from penstock_edge.estimates import Estimates
    from penstock_edge.key_facts import KeyFacts
    from penstock_edge.records import Kind, Need
    from penstock_edge.seams import Admission, View
    from penstock_edge.snapshot import Model
    from penstock_edge.tracing import Tracing
    from penstock_edge.turn import Serve, Turn

log = logs.get(__name__)

_SMALL_BODY_BYTES: Final = 1024 * 1024
_SESSION_HEADERS: Final = frozenset({b"x-claude-code-session-id", b"x-session-affinity", b"session-id"})
_TRACE_HEADER: Final = b"traceparent"
_NOTED_HEADERS: Final = _SESSION_HEADERS | {_TRACE_HEADER}


@dataclass(frozen=True, slots=True)
class Door:
    """One way in: what is spoken there, and how a request's head is read."""

    dialect: Dialect
    read: Callable[[bytes], Head]
    operation: str = outcomes.MESSAGES
    query: bytes | None = None
    """The query that may go on, where it is not the client's own."""
    credential: bytes = b""
    """A key that came in the path's query."""


class Inference:
    """Serves requests through any door, without any layer above it. Made on the loop that serves."""

    def __init__(
        self,
        *,
        view: View,
        admission: Admission,
        dispatcher: Dispatcher,
        estimates: Estimates,
        session: str,
        max_body_bytes: int,
        admit_seconds: float,
        tracing: Tracing | None = None,
    ) -> None:
        # Asked for each time, it would cost a system call on CPython 3.11.
        self._loop = asyncio.get_running_loop()
        self._view = view
        self._admission = admission
        self._dispatcher = dispatcher
        self._estimates = estimates
        self._session = session
        self._max_body_bytes = max_body_bytes
        self._admit_seconds = admit_seconds
        self._tracing = tracing
        self._may_ask = tracing is not None and tracing.asks
        """Clients may ask for a trace."""

    def at(self, door: Door) -> Serve:
        """Return what serves the requests that come through a door."""
        return partial(self.begin, door)

    def begin(self, door: Door, turn: Turn) -> Coroutine[Any, Any, None] | None:
        """Serve one request as far as goes at once; returns what is to be awaited for the rest, None for nothing."""
        exchange = self._exchange(door, turn)
        try:
            if isinstance(turn, DirectTurn) and self._try_prepare(exchange, door):
                return self._dispatcher.begin(exchange, turn)
        except ProblemError as refusal:
            return self._refused(exchange, refusal)
        return self._serve(exchange, door)

    def _exchange(self, door: Door, turn: Turn) -> Exchange:
        name = request_id.new()
        exchange = Exchange(name, turn, Reply(self._loop, turn, name), door.dialect, door.operation)
        exchange.client_headers = turn.headers
        if door.credential:
            exchange.client_headers = [*turn.headers, (b"x-goog-api-key", door.credential)]
        exchange.query = turn.query if door.query is None else door.query
        tracing = self._tracing
        if tracing is not None and tracing.drawn():
            exchange.trace = tracing.hit(turn.headers)
        return exchange

    async def _serve(self, exchange: Exchange, door: Door) -> None:
        try:
            await self._prepare(exchange, door)
        except ProblemError as refusal:
            await self._refused(exchange, refusal)
        except ClientLeftError:
            self._dispatcher.traced(exchange)
        else:
            turn = exchange.turn
            if not isinstance(turn, DirectTurn):
                await self._dispatcher.serve(exchange)
            elif (rest := self._dispatcher.begin(exchange, turn)) is not None:
                await rest

    def _try_prepare(self, exchange: Exchange, door: Door) -> bool:
        """Do what `_prepare` does if nothing has to be waited for; where it returns False nothing is held."""
        try:
            digest = exchange.digest = key_digest(exchange.client_headers, self._admission.known)
            key = self._admission.known(digest)
            body = None if key is None else exchange.turn.try_body(self._max_body_bytes)
            if key is None or body is None:
                return False
            exchange.body, exchange.body_read = body, True
            model = self._read(exchange, door)
            providers = self._check(exchange, key, model)
        except ProblemError:
            # What is known may be old; only fresh facts may refuse.
            return False
        need, now = self._need(exchange, key, model), time.monotonic()
        admitted = self._admission.try_admit(digest, need, now)
        if admitted is None:
            return False
        self._admitted(exchange, admitted, key, model, providers)
        return True

    async def _prepare(self, exchange: Exchange, door: Door) -> None:
        """Read, check and admit. Raises ProblemError and ClientLeftError; nothing is held when it does."""
        digest = exchange.digest = key_digest(exchange.client_headers, self._admission.known)
        if not exchange.body_read:
            exchange.body = await exchange.turn.body(self._max_body_bytes)
            exchange.body_read = True
        try:
            model = self._read(exchange, door)
        except ProblemError:
            # Whose request it is comes first: a stranger is told so, whatever else is wrong.
            await self._identify(exchange)
            raise
        key = self._admission.known(digest)
        if key is None or not _includes(key, model, exchange.asked_model):
            # What is known may be old; only fresh facts may refuse.
            key = await self._identify(exchange)
        providers = self._check(exchange, key, model)
        need, now = self._need(exchange, key, model), time.monotonic()
        admitted = self._admission.try_admit(digest, need, now) or await self._admit(exchange, need, now)
        self._admitted(exchange, admitted, key, model, providers)

    def _admitted(
        self,
        exchange: Exchange,
        admitted: Admitted | Refused,
        key: KeyFacts,
        model: Model,
        providers: frozenset[str] | None,
    ) -> None:
        """Take an admission, by which the exchange is the dispatcher's. Raises ProblemError."""
        if isinstance(admitted, Refused):
            raise _RefusedError(admitted)
        if admitted.key is not key:
            providers = self._check_again(exchange, admitted, model)
        exchange.admitted = admitted
        exchange.traits = self._traits(exchange, admitted, model, providers)
        if exchange.trace is not None:
            exchange.trace.admitted()

    def _read(self, exchange: Exchange, door: Door) -> Model:
        """Read the head of the body, and what else has to be known of it. Raises ProblemError."""
        body = exchange.body
        exchange.body_bytes = len(body)
        head = exchange.head = door.read(body)
        model = exchange.model = self._resolve(head.model)
        exchange.asked_model = head.model
        exchange.streamed = head.stream
        if not head.plain:
            exchange.origins = signatures.origins(body)
        exchange.price = self._view.price(model, time.time_ns() // 1_000_000)
        return model

    def _resolve(self, name: str) -> Model:
        model = self._view.resolve(name)
        if model is None:
            raise ProblemError(Problem(404, errors.NOT_FOUND, f"model: {name[:200]}"))
        return model

    async def _identify(self, exchange: Exchange) -> KeyFacts:
        self._before_auth(exchange)
        answer = await self._admission.identify(exchange.digest, time.monotonic() + self._admit_seconds)
        if isinstance(answer, Refused):
            raise ProblemError(errors.refused(answer))
        return answer

    def _check(self, exchange: Exchange, key: KeyFacts, model: Model) -> frozenset[str] | None:
        """Return the providers whose accounts may serve this; None for all. Raises ProblemError."""
        if not _includes(key, model, exchange.asked_model):
            raise ProblemError(
                Problem(403, errors.PERMISSION, f"the plan of this API key does not include the model {model.name}")
            )
        spoken = exchange.dialect.wire
        if spoken == "messages" and not is_claude(model.name, model.owned_by) and key.messages_translation != "Allow":
            raise ProblemError(errors.not_claude(model.name))
        counting = exchange.operation == outcomes.COUNT_TOKENS
        translation = key.translation == "Allow"
        providers = providers_for(spoken, model.name, counting=counting, translation=translation)
        if providers is not None:
            serving = self._view.pool.providers(model.name)
            if serving and not serving & providers:
                raise ProblemError(_no_way(spoken, model.name, counting=counting, translation=translation))
        return providers

    def _check_again(self, exchange: Exchange, admitted: Admitted, model: Model) -> frozenset[str] | None:
        """Judge by what auth said with the admission, and give that back if the plan has lost the model."""
        try:
            return self._check(exchange, admitted.key, model)
        except ProblemError:
            self._admission.ended(admitted)
            self._admission.settled(admitted)
            raise

    def _need(self, exchange: Exchange, key: KeyFacts, model: Model) -> Need:
        counting = exchange.operation == outcomes.COUNT_TOKENS
        kind: Kind = "count_tokens" if counting else "requests"
        exchange.blobs = not exchange.asked.plain and has_blobs(exchange.body, exchange.dialect.wire)
        return self._estimates.need(
            body=exchange.body,
            model=model.name,
            max_tokens=_most_output(exchange, model),
            context_tokens=model.context_tokens,
            digest=exchange.digest,
            strict=key.over_budget == "Strict",
            price=exchange.price,
            multiplier_ppm=key.price_multiplier_ppm,
            kind=kind,
            blobs=exchange.blobs,
        )

    async def _admit(self, exchange: Exchange, need: Need, now: float) -> Admitted | Refused:
        exchange.waited = True
        self._before_auth(exchange)
        return await self._admission.admit(exchange.digest, need, now + self._admit_seconds)

    def _traits(self, exchange: Exchange, admitted: Admitted, model: Model, providers: frozenset[str] | None) -> Traits:
        session = ""
        may_ask = self._may_ask
        for name, value in exchange.client_headers:
            if name in _NOTED_HEADERS:
                if name != _TRACE_HEADER:
                    session = session or value.decode("latin-1")
                    if not may_ask:
                        break
                elif may_ask and exchange.trace is None and self._tracing is not None:
                    exchange.trace = self._tracing.asked(value)
        project, need, head = admitted.key.project, admitted.need, exchange.asked
        output = need.output_tokens
        affinity = affinity_key(
            project,
            session or head.session,
            head.prefix,
            exchange.body,
        )
        return Traits(
            model=model.name,
            operation=exchange.operation,
            affinity=affinity,
            project=project,
            estimated_tokens=need.input_tokens + output,
            estimated_output=output,
            session=self._session,
            providers=providers,
        )

    def _before_auth(self, exchange: Exchange) -> None:
        """Let the client's wish for a trace hold from now on: the call to auth belongs to it."""
        if self._may_ask and self._tracing is not None and exchange.trace is None:
            exchange.trace = self._tracing.looked_for(exchange.client_headers)
        if exchange.trace is not None:
            exchange.trace.ask_auth()

    async def _refused(self, exchange: Exchange, refusal: ProblemError) -> None:
        await self._refuse(exchange, refusal)
        self._dispatcher.answered(exchange)

    async def _refuse(self, exchange: Exchange, refusal: ProblemError) -> None:
        """Answer a request that goes no further."""
        reply, problem, dialect = exchange.reply, refusal.problem, exchange.dialect
        status = dialect.error_status(problem)
        body = dialect.error_body(problem, exchange.request_id)
        headers = dialect.error_headers(problem)
        if isinstance(refusal, _RefusedError):
            headers += dialect.limit_headers(refusal.refusal.limits(), time.time())
        if not exchange.body_read and not _small(exchange.client_headers):
            # Parts of the body may still be on their way: the answer goes out first, then they are thrown away.
            await reply.early(status, headers, body)
            if not _awaits_continue(exchange.client_headers):
                await exchange.turn.drain()
            await reply.end()
            return
        if not exchange.body_read:
            await exchange.turn.drain()
        await reply.whole(status, headers, body)


class _RefusedError(ProblemError):
    """A refusal of the books, with the limits that its answer shows."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(errors.refused(refusal))
        self.refusal = refusal


def _most_output(exchange: Exchange, model: Model) -> int:
    """Return the most that the answer may hold, in tokens: what the client said, else what the model can say."""
    head = exchange.asked
    if head.max_tokens or exchange.dialect.wire == "messages":
        return head.max_tokens
    return 0 if exchange.dialect.wire == "embeddings" else model.max_output_tokens


def _no_way(spoken: str, model: str, *, counting: bool, translation: bool) -> Problem:
    if spoken == "embeddings":
        return errors.not_carried(model, "embeddings are")
    if counting and translation:
        return errors.not_carried(model, "counting tokens is")
    return errors.no_translation(model)


def _small(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the rest of a body is read faster than a connection is made anew."""
    return all(
        not (name == b"content-length" and announced(value) > _SMALL_BODY_BYTES)
        and name != b"transfer-encoding"
        and not (name == b"expect" and value.lower() == b"100-continue")
        for name, value in headers
    )


def _awaits_continue(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)


def _includes(key: KeyFacts, model: Model, asked: str) -> bool:
    return may_use(key.models, model.name, model.aliases, asked)
