"""Gathers what waits for a transaction: batches that come while others are being written go into the next one together.

A transaction costs several times as much as a row in it, and edges send a batch at least every 100 ms, however small.
Nobody waits for company: a batch that finds nothing under way is written at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from penstock_auth import metrics
from penstock_auth.errors import DatabaseDown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")

MOST_ROWS: Final = 512  # of one transaction; a larger batch has one for itself
MOST_WAITING: Final = 2_048


class Gathering(Generic[T, R]):
    """`write` is given batches and returns what became of each: a result, or what to raise to who sent it.

    At most `writers` writes are under way.
    """

    def __init__(
        self, write: Callable[[Sequence[Sequence[T]]], Awaitable[Sequence[R | Exception]]], writers: int
    ) -> None:
        self._write = write
        self._writers = writers
        self._waiting: deque[tuple[Sequence[T], asyncio.Future[R]]] = deque()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, batch: Sequence[T]) -> R:
        """Have a batch written, alone or with others. Raises DatabaseDown, also when too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            metrics.SQL_ERRORS.labels("full").inc()
            raise DatabaseDown("too many calls wait for the database")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, future))
        if self._running < self._writers:
            self._running += 1
            task = asyncio.create_task(self._run(), name="gathering")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _run(self) -> None:
        while some := self._next():
            try:
                results: Sequence[R | Exception] = await self._write([batch for batch, _ in some])
            except Exception as error:  # noqa: BLE001 -- whatever it is, who waits must hear of it
                results = [error] * len(some)
            for (_, future), result in zip(some, results, strict=True):
                if future.done():
                    continue  # Its caller has gone; it will ask again.
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        # Nothing has been awaited since there was nothing left: who comes now begins anew.
        self._running -= 1

    def _next(self) -> list[tuple[Sequence[T], asyncio.Future[R]]]:
        """Take what fits into one transaction; callers that have gone are left out."""
        some: list[tuple[Sequence[T], asyncio.Future[R]]] = []
        rows = 0
        while self._waiting:
            batch, future = self._waiting[0]
            if some and rows + len(batch) > MOST_ROWS:
                break
            self._waiting.popleft()
            if not future.done():
                some.append((batch, future))
                rows += len(batch)
        return some
