"""Lets a call over TCP through when the caller's certificate names a component that may make it."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from penstock_chassis import logs, rpc_metrics
from penstock_chassis.callers import who_may_call
from penstock_chassis.identity import components

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

log = logs.get(__name__)

# Refused callers that are remembered, so that each is logged once.
_REMEMBERED: Final = 1_000

_MAKERS: Final[dict[tuple[bool, bool], Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
_KINDS: Final = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


class Guard(grpc.aio.ServerInterceptor):
    """Lets through what `callers` allows to the components of `domain`, and refuses the rest."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._logged: set[tuple[str, str]] = set()
        self._guarded: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the method's handler with a check before it; None for a method that is not served."""
        handler = await continuation(details)
        if handler is None:
            return None
        known, guarded = self._guarded.get(details.method, (None, None))
        if known is not handler:
            guarded = self._guard(details.method, handler)
            self._guarded[details.method] = handler, guarded
        return guarded

    def _guard(self, method: str, handler: Any) -> Any:
        async def check(context: grpc.aio.ServicerContext[Any, Any]) -> None:
            await self._check(method, context)

        kind = (bool(handler.request_streaming), bool(handler.response_streaming))
        behaviour = _checked(getattr(handler, _KINDS[kind]), check)
        return _MAKERS[kind](behaviour, handler.request_deserializer, handler.response_serializer)

    async def _check(self, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        names = [name.decode("ascii", "replace") for name in context.auth_context().get("peer_dns", ())]
        callers, allowed = components(names, self._domain), who_may_call(method)
        if callers & allowed:
            return
        caller = "+".join(sorted(callers)) or "unknown"
        rpc_metrics.REFUSED.labels(method, caller).inc()
        self._log_once(method, ", ".join(sorted(names)), caller)
        await context.abort(
            grpc.StatusCode.PERMISSION_DENIED,
            f"{_described(caller)} may not call {method}; {', '.join(sorted(allowed)) or 'nobody'} may",
        )

    def _log_once(self, method: str, names: str, caller: str) -> None:
        if (names, method) in self._logged or len(self._logged) >= _REMEMBERED:
            return
        self._logged.add((names, method))
        log.warning("call_refused", method=method, caller=caller, certificate_names=names)


def _described(caller: str) -> str:
    return "a caller whose certificate names no component" if caller == "unknown" else caller


def _checked(behaviour: Any, check: Callable[[grpc.aio.ServicerContext[Any, Any]], Awaitable[None]]) -> Any:
    """Return the same behaviour after a check. gRPC looks at what it is given, so the kind of function stays."""

    async def answers(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        await check(context)
        async with contextlib.aclosing(behaviour(request, context)) as given:
            async for answer in given:
                yield answer

    async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await check(context)
        return await behaviour(request, context)

    return answers if inspect.isasyncgenfunction(behaviour) else answer
