"""auth.v1.AuthService over gRPC: carries messages between edges and the domain, decides nothing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

from penstock.auth.v1 import auth_pb2, auth_pb2_grpc
from penstock_auth import metrics, translation
from penstock_auth.changes import ChangeKind
from penstock_auth.counters import Declaration, KeyDeclaration, SettleEffect, StoreDown
from penstock_auth.errors import Invalid, NotFound
from penstock_auth.grpc_errors import answers, refuse
from penstock_auth.keys import KeyState
from penstock_auth.stretches import in_stretches, stretches
from penstock_auth.usage import show

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from grpc.aio import ServicerContext

    from penstock_auth.changes import ChangeHub, Numbered
    from penstock_auth.counters import Counters
    from penstock_auth.database import Database
    from penstock_auth.epochs import EpochWatch
    from penstock_auth.key_book import KeyBook
    from penstock_auth.ledger import Ledger
    from penstock_auth.lending import Lender
    from penstock_auth.postings import Batch, Incoming, Row
    from penstock_auth.sessions import SessionBook

T = TypeVar("T")

_MOST_SETTLEMENTS: Final = 10_000
# So many settlements are applied to the counters at once; then the loop turns.
_COUNTED_AT_ONCE: Final = 256
_MOST_KEYS: Final = 50_000
_STORE_SECONDS: Final = 2.0
_OBSERVED_SECONDS: Final = 0.25
_OBSERVED_AGAIN: Final = 20
_SESSIONS_SHOWN: Final = 10_000
# Edges speak every five seconds; one that has not for so long may speak to another replica.
_SPEAKS_HERE_MS: Final = 12_000


class AuthServicer(auth_pb2_grpc.AuthServiceServicer):
    """What edges, and the operator, ask of auth."""

    def __init__(
        self,
        *,
        database: Database,
        keys: KeyBook,
        lender: Lender,
        ledger: Ledger,
        counters: Counters,
        sessions: SessionBook,
        changes: ChangeHub,
        epochs: EpochWatch,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._keys = keys
        self._lender = lender
        self._ledger = ledger
        self._counters = counters
        self._sessions = sessions
        self._changes = changes
        self._epochs = epochs
        self._now_ms = now_ms
        self._loaded: dict[str, tuple[str, int]] = {}

    @answers
    async def Allow(  # noqa: N802 -- gRPC's name
        self, request: auth_pb2.AllowRequest, context: ServicerContext[auth_pb2.AllowRequest, auth_pb2.AllowResponse]
    ) -> auth_pb2.AllowResponse:
        """Lend a part of a key's limits."""
        del context
        began = time.monotonic()
        session = translation.session_name(request.edge_session)
        await self._sessions.seen(session)
        self._note_loaded(session, request.catalog_version)
        answer = await self._lender.allow(request)
        answer.watch_anew = not self._changes.watched_by(session)
        metrics.ALLOW_SECONDS.observe(time.monotonic() - began)
        return answer

    @answers
    async def Declare(  # noqa: N802 -- gRPC's name
        self,
        request: auth_pb2.DeclareRequest,
        context: ServicerContext[auth_pb2.DeclareRequest, auth_pb2.DeclareResponse],
    ) -> auth_pb2.DeclareResponse:
        """Take a heartbeat, a declaration, or the end of a session."""
        del context
        session = translation.session_name(request.edge_session)
        if request.final:
            self._loaded.pop(session, None)
            heard = await self._in_time(self._counters.end_session(session))
            await self._sessions.ended(session, request.edge[:128])
        else:
            self._note_loaded(session, request.catalog_version)
            await self._sessions.seen(session, request.edge[:128])
            declaration = await self._declaration(session, request)
            heard = await self._in_time(self._counters.declare(declaration))
        return auth_pb2.DeclareResponse(
            epoch=heard.epoch,
            store_time_ms=heard.store_time_ms,
            declare_again=heard.declare_again,
            watch_anew=not (request.final or self._changes.watched_by(session)),
        )

    async def _declaration(self, session: str, request: auth_pb2.DeclareRequest) -> Declaration:
        if len(request.keys) > _MOST_KEYS:
            raise Invalid(f"a declaration has at most {_MOST_KEYS} keys")
        told = request.keys if request.complete else ()
        # All at once: one after the other they would take longer than an edge waits.
        found = await self._keys.find_many([translation.key_digest(each.key_sha256) for each in told])
        keys = []
        for each in told:
            key = found.get(each.key_sha256)
            if key is None:
                continue
            keys.append(
                KeyDeclaration(
                    project=key.project,
                    key=key.counter,
                    limits=self._keys.catalog.limits_of(key.plan),
                    holding=translation.amounts(each.holding),
                    leases=translation.leases_held(each.leases),
                    admissions=translation.admissions(each.admissions),
                )
            )
        return Declaration(session, request.epoch, complete=request.complete, keys=tuple(keys))

    @answers
    async def Settle(  # noqa: N802 -- gRPC's name
        self,
        request: auth_pb2.SettleRequest,
        context: ServicerContext[auth_pb2.SettleRequest, auth_pb2.SettleResponse],
    ) -> auth_pb2.SettleResponse:
        """Commit settlements, apply them to the counters, and only then acknowledge them."""
        del context
        if len(request.settlements) > _MOST_SETTLEMENTS:
            raise Invalid(f"a batch has at most {_MOST_SETTLEMENTS} settlements; send fewer")
        began = time.monotonic()
        incoming = await _incoming(request)
        batch = await self._ledger.settle(incoming)
        for rows in stretches(list(batch.rows.values()), _COUNTED_AT_ONCE):
            effects = self._effects(rows, batch)
            await self._in_time(self._counters.settle(effects))
            await asyncio.sleep(0)
        metrics.SETTLE_SECONDS.observe(time.monotonic() - began)
        return await _results(incoming, batch)

    def _effects(self, rows: Sequence[Row], batch: Batch) -> list[SettleEffect]:
        catalog, balances = self._keys.catalog, batch.balances
        # What is the same for all requests of a key.
        keys = {
            key_id: (
                batch.counters.get(key_id, key_id),
                catalog.limits_of(batch.plans.get(key_id, "")),
                batch.spent.get(key_id),
            )
            for key_id in {row.key_id for row in rows}
        }
        effects = []
        for row in in_stretches(rows):
            key, limits, spent = keys[row.key_id]
            usage = row.usage
            effects.append(
                SettleEffect(
                    project=row.project,
                    key=key,
                    session=row.edge_session,
                    request_id=row.request_id,
                    admitted_at_ms=row.admitted_at_ms,
                    input_tokens=usage.whole_input,
                    output_tokens=usage.output_tokens,
                    micro_usd=row.cost_micro,
                    limits=limits,
                    balance=balances.get(row.project),
                    spent=spent,
                )
            )
        return effects

    async def WatchChanges(  # noqa: N802 -- gRPC's name
        self,
        request: auth_pb2.WatchChangesRequest,
        context: ServicerContext[auth_pb2.WatchChangesRequest, auth_pb2.Change],
    ) -> AsyncIterator[auth_pb2.Change]:
        """Tell what changes, and every half second that nothing did."""
        try:
            session = translation.session_name(request.edge_session)
        except Invalid as error:
            await refuse(context, error)
        with self._changes.watch(session) as watcher:
            yield self._change(await watcher.next(0))
            while not watcher.ended:
                yield self._change(await watcher.next())

    def _change(self, numbered: Numbered) -> auth_pb2.Change:
        message = auth_pb2.Change(seq=numbered.seq, epoch=self._epochs.id)
        change = numbered.change
        match change.kind:
            case ChangeKind.KEY:
                message.key_sha256 = bytes.fromhex(change.subject)
            case ChangeKind.PROJECT:
                message.project = change.subject
            case ChangeKind.PLAN:
                message.plan = change.subject
            case ChangeKind.EVERYTHING:
                message.everything = True
            case ChangeKind.HEARTBEAT:
                message.heartbeat = True
        return message

    @answers
    async def GetUsage(  # noqa: N802 -- gRPC's name
        self,
        request: auth_pb2.GetUsageRequest,
        context: ServicerContext[auth_pb2.GetUsageRequest, auth_pb2.GetUsageResponse],
    ) -> auth_pb2.GetUsageResponse:
        """Show one request's row to a key of its project."""
        del context
        key = await self._keys.find(translation.key_digest(request.key_sha256))
        if key is None or key.state_at(self._now_ms()) is not KeyState.ACTIVE:
            raise NotFound("this key has no such request")
        row = await self._database.read(lambda connection: show(connection, request.request_id.replace("\0", "")))
        if row.project != key.project:
            raise NotFound(f"the ledger has no request {request.request_id!r}; it may not be settled yet")
        return auth_pb2.GetUsageResponse(row=translation.usage_row(row))

    async def WatchObserved(  # noqa: N802 -- gRPC's name
        self,
        request: auth_pb2.WatchObservedRequest,
        context: ServicerContext[auth_pb2.WatchObservedRequest, auth_pb2.Observed],
    ) -> AsyncIterator[auth_pb2.Observed]:
        """Tell which catalog is loaded here and on the edges: at once, when that changes, and every five seconds."""
        del request, context
        last, repeats = None, 0
        while not self._changes.ended:
            now = self.observed()
            repeats += 1
            if now != last or repeats >= _OBSERVED_AGAIN:
                last, repeats = now, 0
                yield now
            await asyncio.sleep(_OBSERVED_SECONDS)

    def observed(self) -> auth_pb2.Observed:
        """Say what is loaded now, by this auth and by each live edge session."""
        live, since = self._epochs.live, self._now_ms() - _SPEAKS_HERE_MS
        return auth_pb2.Observed(
            catalog_version=self._keys.catalog.version,
            epoch=self._epochs.id,
            edge_sessions={
                session: version
                for session, (version, heard) in self._loaded.items()
                if session in live and heard > since
            },
        )

    def _note_loaded(self, session: str, version: str) -> None:
        self._loaded.pop(session, None)
        while len(self._loaded) >= _SESSIONS_SHOWN:
            del self._loaded[next(iter(self._loaded))]
        self._loaded[session] = version[:64], self._now_ms()

    @staticmethod
    async def _in_time(call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                return await call
        except TimeoutError:
            raise StoreDown("the store of counters did not answer in time") from None


async def _incoming(request: auth_pb2.SettleRequest) -> list[Incoming]:
    """Read a batch in stretches, so that an Allow need not wait for all of it."""
    read: list[Incoming] = []
    for some in stretches(request.settlements):
        read += [translation.incoming(each) for each in some]
        await asyncio.sleep(0)
    return read


async def _results(incoming: Sequence[Incoming], batch: Batch) -> auth_pb2.SettleResponse:
    """Write what became of a batch, in stretches too."""
    response = auth_pb2.SettleResponse()
    rows, add = batch.rows, response.results.add
    for some in stretches(incoming):
        for each in some:
            result = add()
            result.request_id = each.request_id
            row = rows.get(each.request_id)
            if row is not None:
                result.committed = True
                result.cost_micro = row.cost_micro
            elif each.request_id in batch.quarantined:
                result.quarantined = ": ".join(batch.quarantined[each.request_id])
        await asyncio.sleep(0)
    return response
