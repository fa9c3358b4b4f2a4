"""Makes server spans of gRPC calls: of those that belong to a traced request, and of a few of the others by lot."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from penstock_chassis.rpc_measuring import said
from penstock_chassis.tracing import CURRENT, HEADER, Span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock_chassis.tracing import Tracer


class Traced(grpc.aio.ServerInterceptor):
    """Stands behind Measuring. Streams last, and carry what belongs to many requests: they have no spans."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._traced: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the method's handler with a span around those calls that are traced."""
        handler = await continuation(details)
        if handler is None or handler.request_streaming or handler.response_streaming:
            return handler
        known, traced = self._traced.get(details.method, (None, None))
        if known is not handler:
            traced = self._around(details.method.lstrip("/"), handler)
            self._traced[details.method] = handler, traced
        return traced

    def _around(self, method: str, handler: Any) -> Any:
        behaviour, tracer = handler.unary_unary, self._tracer

        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            joined = tracer.joins(_header(context))
            if joined is None:
                return await behaviour(request, context)
            own, parent_id = joined
            token = CURRENT.set(own)
            began = time.time_ns()
            code = grpc.StatusCode.UNKNOWN
            try:
                given = await behaviour(request, context)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except BaseException:
                code = said(context, grpc.StatusCode.UNKNOWN)
                raise
            else:
                code = said(context, grpc.StatusCode.OK)
                return given
            finally:
                CURRENT.reset(token)
                tracer.put([_span(method, own, parent_id, began, code)])

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)


def _header(context: grpc.aio.ServicerContext[Any, Any]) -> str | bytes | None:
    for name, value in context.invocation_metadata() or ():
        if name == HEADER:
            return value
    return None


def _span(method: str, own: Any, parent_id: int, began: int, code: grpc.StatusCode) -> Span:
    return Span(
        method,
        own,
        parent_id,
        began,
        time.time_ns(),
        kind="server",
        attributes={"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": code.name},
        error="" if code is grpc.StatusCode.OK else code.name,
    )
