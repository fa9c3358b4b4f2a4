"""gRPC's door to the router: carries messages in and out, decides nothing."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import grpc

from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_router.observed import observed, without_countdowns
from penstock_router.probing import result
from penstock_routing import AccountFacts, Traits
from penstock_routing.outcomes import MESSAGES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from grpc.aio import ServicerContext

    from penstock_router.desired import Desired
    from penstock_router.router import Router
    from penstock_router.watching import Watcher

_LONGEST_NAME = 200
_RESULTS = {
    "ok": router_pb2.PROBE_RESULT_OK,
    "refused": router_pb2.PROBE_RESULT_REFUSED,
    "failed": router_pb2.PROBE_RESULT_FAILED,
    "unknown": router_pb2.PROBE_RESULT_UNKNOWN,
}


class RouterServicer(router_pb2_grpc.RouterServiceServicer):
    """All calls. `heartbeat_seconds`: how often a watcher hears something at least."""

    def __init__(self, router: Router, *, heartbeat_seconds: float = 0.5) -> None:
        self._router = router
        self._heartbeat = heartbeat_seconds

    async def Watch(  # noqa: N802 -- gRPC's name
        self,
        request: router_pb2.WatchRequest,
        context: ServicerContext[router_pb2.WatchRequest, router_pb2.Update],
    ) -> AsyncIterator[router_pb2.Update]:
        """Send a full snapshot, then what changes, and a heartbeat where nothing does."""
        await _named(request.edge_session, context)
        router = self._router
        if not router.loaded:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no catalog is loaded yet")
        beginning = asyncio.ensure_future(router.watch(request))
        try:
            # Many may begin at once, and an edge that hears nothing for long would begin again.
            while not (await asyncio.wait({beginning}, timeout=self._heartbeat))[0]:
                yield router_pb2.Update(heartbeat=True)
            watcher = beginning.result()
        except BaseException:
            beginning.add_done_callback(lambda done: _unwatch(router, done))
            beginning.cancel()
            raise
        try:
            while not watcher.closed:
                for update in router.updates(watcher):
                    yield update
                if not await watcher.wait(self._heartbeat):
                    watcher.seq += 1
                    yield router_pb2.Update(seq=watcher.seq, heartbeat=True)
        finally:
            router.unwatch(watcher)

    async def Report(  # noqa: N802 -- gRPC's name
        self,
        request: router_pb2.ReportRequest,
        context: ServicerContext[router_pb2.ReportRequest, router_pb2.ReportResponse],
    ) -> router_pb2.ReportResponse:
        """Take in outcomes and demand, once per (session, seq)."""
        await _named(request.edge_session, context)
        resync = self._router.report(request)
        return router_pb2.ReportResponse(accepted_seq=request.seq, resync=resync)

    async def Explain(  # noqa: N802 -- gRPC's name
        self,
        request: router_pb2.ExplainRequest,
        context: ServicerContext[router_pb2.ExplainRequest, router_pb2.ExplainResponse],
    ) -> router_pb2.ExplainResponse:
        """Say which accounts would serve such a request, and why each was taken or dropped."""
        del context
        router = self._router
        name = router.desired.aliases.get(request.model, "")
        traits = Traits(
            model=name or request.model,
            operation=request.operation or MESSAGES,
            affinity=request.affinity or None,
            project=request.project,
            estimated_tokens=max(request.estimated_tokens, 0),
            session=request.edge_session,
            providers=frozenset(request.providers) or None,
        )
        candidates, soonest = router.explain(traits)
        return router_pb2.ExplainResponse(
            candidates=[
                router_pb2.Candidate(
                    account=row.account,
                    eligible=row.eligible,
                    reason=row.reason,
                    score=row.score,
                    tier=row.tier,
                    rank=row.rank,
                    soonest_ms=_milliseconds(row.seconds),
                )
                for row in candidates
            ],
            catalog_version=router.desired.version,
            soonest_ms=_milliseconds(soonest),
            **_facts_of(router.desired, name),
        )

    async def WatchObserved(  # noqa: N802 -- gRPC's name
        self,
        request: router_pb2.WatchObservedRequest,
        context: ServicerContext[router_pb2.WatchObservedRequest, router_pb2.Observed],
    ) -> AsyncIterator[router_pb2.Observed]:
        """Send the state of every account, and again whenever it has changed."""
        del request, context
        router = self._router
        last = b""
        while True:
            now = router.clock.now()
            message = observed(router.desired, router.telling.words, router.sessions.present(now), now)
            essence = without_countdowns(message)
            if essence != last:
                last = essence
                yield message
            await asyncio.sleep(self._heartbeat)

    async def Probe(  # noqa: N802 -- gRPC's name
        self,
        request: router_pb2.ProbeRequest,
        context: ServicerContext[router_pb2.ProbeRequest, router_pb2.ProbeResponse],
    ) -> router_pb2.ProbeResponse:
        """Try a credential on its provider, unbilled."""
        if not request.account or not request.base_url or not request.api_key:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "account, base_url and api_key are required")
        status = await self._router.try_credential(
            AccountFacts(
                name=request.account,
                provider=request.provider,
                base_url=request.base_url,
                api_key=request.api_key,
                allow_private_address=request.allow_private_address,
            )
        )
        return router_pb2.ProbeResponse(result=_RESULTS[result(status)], status=status)


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000) if math.isfinite(seconds) else 0


def _facts_of(desired: Desired, name: str) -> dict[str, Any]:
    """Return what an explanation says of the model itself."""
    for message in desired.message.models:
        if message.name == name:
            return {"model": name, "aliases": message.aliases, "owned_by": message.owned_by}
    return {}


def _unwatch(router: Router, begun: asyncio.Future[Watcher]) -> None:
    """End a stream that began when nobody waited for it any more."""
    if not begun.cancelled() and begun.exception() is None:
        router.unwatch(begun.result())


async def _named(session: str, context: ServicerContext[Any, Any]) -> None:
    if not session or len(session) > _LONGEST_NAME:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "edge_session is missing or too long")
