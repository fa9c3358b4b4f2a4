"""Turns auth's errors into gRPC statuses, in this one place. No other exception's text reaches a caller."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import grpc

from penstock_auth import metrics
from penstock_auth.counters import StoreDown, StoreRefused
from penstock_auth.errors import Conflict, DatabaseDown, Invalid, NotFound, Refused, TooMany
from penstock_chassis import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message
    from grpc.aio import ServicerContext

log = logs.get(__name__)

Self = TypeVar("Self")
Ask = TypeVar("Ask", bound="Message")
Answer = TypeVar("Answer", bound="Message")

# A message may quote a name of any length. What is longer than clients take in a header would be lost with its code;
# a character has up to twelve bytes there.
_MOST_CHARACTERS: Final = 500
_CODES: Final[dict[type[Exception], grpc.StatusCode]] = {
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    TooMany: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
# How a caller tells the two outages apart; the edge looks at the part before the colon.
_DATABASE_DOWN: Final = "database_down"
_STORE_DOWN: Final = "store_down"
_TOLD_EVERY_SECONDS: Final = 10.0


class Repetitions:
    """Which of the same lines are logged: the first, and then one in ten seconds; an outage fails every call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def skipped(self, event: str, call: str) -> int | None:
        """Return how many were left out since the last one that was logged; None for one that is left out too."""
        now = self._clock()
        told_at, count = self._told.get((event, call), (float("-inf"), 0))
        if now - told_at < _TOLD_EVERY_SECONDS:
            self._told[event, call] = told_at, count + 1
            return None
        self._told[event, call] = now, 0
        return count


_repetitions = Repetitions()


def _warn(event: str, call: str, **more: str) -> None:
    skipped = _repetitions.skipped(event, call)
    if skipped is not None:
        log.warning(event, call=call, skipped=skipped, **more)


def answers(
    method: Callable[[Self, Ask, ServicerContext[Ask, Answer]], Awaitable[Answer]],
) -> Callable[[Self, Ask, ServicerContext[Ask, Answer]], Awaitable[Answer]]:
    """Wrap a unary method of a servicer so that its errors become statuses."""

    @functools.wraps(method)  # noqa: RET503 -- abort raises
    async def answer(self: Self, request: Ask, context: ServicerContext[Ask, Answer]) -> Answer:
        try:
            return await method(self, request, context)
        except Refused as error:
            code, message = _CODES.get(type(error), grpc.StatusCode.FAILED_PRECONDITION), str(error)
        except DatabaseDown as error:
            _warn("database_down", method.__name__, reason=str(error))
            code, message = grpc.StatusCode.UNAVAILABLE, f"{_DATABASE_DOWN}: {error}; try again"
        except (StoreDown, StoreRefused):
            _warn("store_down", method.__name__)
            metrics.STORE_ERRORS.labels(method.__name__).inc()
            code, message = (
                grpc.StatusCode.UNAVAILABLE,
                f"{_STORE_DOWN}: the store of counters does not answer; try again",
            )
        except Exception as error:
            if isinstance(error, (grpc.aio.AbortError, grpc.aio.UsageError)):
                raise
            log.exception("call_failed", call=method.__name__)
            code, message = grpc.StatusCode.INTERNAL, "auth failed at this; its log says more"
        await context.abort(code, message[:_MOST_CHARACTERS])

    return answer


async def refuse(context: ServicerContext[Any, Any], error: Refused) -> NoReturn:
    """End a stream's call as `answers` does a unary one."""
    await context.abort(_CODES.get(type(error), grpc.StatusCode.FAILED_PRECONDITION), str(error)[:_MOST_CHARACTERS])
