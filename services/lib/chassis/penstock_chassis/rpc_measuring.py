"""Counts and times the calls that a gRPC server answers."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from penstock_chassis import rpc_metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from prometheus_client import Histogram


class Measuring(grpc.aio.ServerInterceptor):
    """Counts each call by method and code, and times those with one answer. It stands before everything else."""

    def __init__(self) -> None:
        self._measured: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the method's handler with a count after it; None for a method that is not served."""
        handler = await continuation(details)
        if handler is None or handler.request_streaming:
            return handler
        known, measured = self._measured.get(details.method, (None, None))
        if known is not handler:
            measured = _measured(details.method.lstrip("/"), handler)
            self._measured[details.method] = handler, measured
        return measured


def _measured(method: str, handler: Any) -> Any:
    if handler.response_streaming:
        behaviour = _counted(handler.unary_stream, method, None)
        return grpc.unary_stream_rpc_method_handler(
            behaviour, handler.request_deserializer, handler.response_serializer
        )
    behaviour = _counted(handler.unary_unary, method, rpc_metrics.CALL_SECONDS.labels(method))
    return grpc.unary_unary_rpc_method_handler(behaviour, handler.request_deserializer, handler.response_serializer)


def _counted(behaviour: Any, method: str, seconds: Histogram | None) -> Any:
    """Return the same behaviour with a count after it. gRPC looks at it, so the kind of function stays."""

    @contextlib.contextmanager
    def count(context: grpc.aio.ServicerContext[Any, Any]) -> Iterator[None]:
        began = time.perf_counter()
        code = grpc.StatusCode.UNKNOWN
        try:
            yield
            code = said(context, grpc.StatusCode.OK)
        except (asyncio.CancelledError, GeneratorExit):
            code = grpc.StatusCode.CANCELLED
            raise
        except BaseException:
            code = said(context, grpc.StatusCode.UNKNOWN)
            raise
        finally:
            rpc_metrics.CALLS.labels(method, code.name).inc()
            if seconds is not None:
                seconds.observe(time.perf_counter() - began)

    async def answers(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        with count(context):
            async with contextlib.aclosing(behaviour(request, context)) as given:
                async for answer in given:
                    yield answer

    async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        with count(context):
            return await behaviour(request, context)

    return answers if inspect.isasyncgenfunction(behaviour) else answer


def said(context: grpc.aio.ServicerContext[Any, Any], otherwise: grpc.StatusCode) -> grpc.StatusCode:
    """Return the code that a handler has set, `otherwise` where it has set none."""
    said: grpc.StatusCode | None = context.code()  # None as long as nobody has set one, whatever its type says.
    return otherwise if said is None else said
