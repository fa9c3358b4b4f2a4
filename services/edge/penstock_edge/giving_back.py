"""What was lent and is over, or has become spare, goes back to auth in time, without any traffic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from penstock_chassis import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.admission_policy import AdmissionPolicy
    from penstock_edge.asking import Asking
    from penstock_edge.key_book import KeyBook
    from penstock_edge.key_books import KeyBooks
    from penstock_edge.outage import Outage
    from penstock_edge.reminders import Reminders

_log = logs.get(__name__)


class GivingBack:
    """Looks at keys when they are due, and has auth asked about them."""

    def __init__(
        self,
        *,
        books: KeyBooks,
        reminders: Reminders,
        asking: Asking,
        outage: Outage,
        clock: Callable[[], float],
        rng: Callable[[], float],
        policy: AdmissionPolicy,
    ) -> None:
        self._books = books
        self._reminders = reminders
        self._asking = asking
        self._outage = outage
        self._clock = clock
        self._rng = rng
        self._policy = policy

    async def run(self) -> None:
        """Give back what is due, until cancelled."""
        try:
            while True:
                self._look_at(await self._reminders.next(), self._clock())
        finally:
            self._asking.cancel()

    async def all(self, seconds: float) -> None:
        """Return every lease and all spare."""
        try:
            async with asyncio.timeout(seconds):
                for book in list(self._books):
                    await self._return(book)
                while self._asking.tasks:
                    await asyncio.wait(self._asking.tasks)
        except TimeoutError:
            _log.info("leases_left")

    async def _return(self, book: KeyBook) -> None:
        allowance, tasks = book.allowance, self._asking.tasks
        if allowance.requests.leases or allowance.count_tokens.leases or any(allowance.holdings.believed):
            book.returning = True
            self._asking.serve(book)
            if len(tasks) >= self._policy.max_calls_to_return:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    def _look_at(self, book: KeyBook, now: float) -> None:
        allowance = book.allowance
        if book.task is not None:
            return
        if allowance.pending is None and not allowance.overdue(now):
            self._reminders.remind(book, allowance.due(now))
        elif self._outage.since is not None or not self._asking.is_open:
            self._reminders.remind(book, now + 0.75 + self._rng() / 2)
        elif len(self._asking.tasks) >= self._policy.max_calls_to_return:
            self._reminders.remind(book, now + 0.05)
        else:
            book.returning = True
            self._asking.serve(book)
