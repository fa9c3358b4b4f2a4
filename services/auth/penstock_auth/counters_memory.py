"""Counters in this process's memory: the store of a single auth. Every start of it is a loss of store.

All decisions are synchronous; the only awaits are for `Truth` (SQL) when a project is first seen in this epoch.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Final

from penstock_auth.allowances import RECOVERING_MS
from penstock_auth.book_entries import Circumstances
from penstock_auth.books import Books
from penstock_auth.bulletin import MemoryBulletin
from penstock_auth.counters import AllowResult, Denial, Heard, ProjectHistory, Reason, StoreDown
from penstock_auth.rebuilding import Rebuilding
from penstock_auth.recovery import Epoch, Status
from penstock_auth.settled_ids import SettledIds
from penstock_auth.stretches import stretches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from penstock_auth.counters import AllowCall, Declaration, EpochState, SettleEffect, Truth

TIDY_MS: Final = 10_000
REMEMBER_ID_MS: Final = 900_000
ROWS_AT_ONCE: Final = 500
TRIES: Final = 4


def steady_clock() -> Callable[[], int]:
    """Return a clock of unix ms that starts right and then never steps, whatever the machine's clock does."""
    start = time.time_ns() - time.monotonic_ns()
    return lambda: (start + time.monotonic_ns()) // 1_000_000


class MemoryCounters:
    """`Counters` in memory. `clock` gives unix ms."""

    def __init__(self, truth: Truth, *, clock: Callable[[], int] | None = None) -> None:
        self.bulletin = MemoryBulletin()
        self._truth = truth
        self._clock = clock or steady_clock()
        self._last = self._clock()
        self._epoch = Epoch(uuid.uuid4().hex, self._last)
        self._projects: dict[str, Books] = {}
        self._settled = SettledIds()
        self._rebuilding = Rebuilding(self._rebuild)
        self._recounting = Rebuilding(self._recount)
        self._expecting = asyncio.Lock()
        self._tidied = self._last

    async def open(self) -> None:
        """Need nothing."""

    async def close(self) -> None:
        """Stop looking into the ledger."""
        await self._rebuilding.close()
        await self._recounting.close()

    def time_ms(self) -> int:
        """See `Counters.time_ms`."""
        return self._now()

    async def allow(self, call: AllowCall) -> AllowResult:
        """See `Counters.allow`."""
        await self._expect()
        now = self._now()
        self._epoch.drop_silent(now)
        status = self._epoch.touch(call.session, now)
        stranger = call.epoch != self._epoch.id and (call.epoch != "" or self._epoch.recorded(call.session))
        if status in (Status.MUST, Status.ENDED) or stranger:
            return self._answer(Denial(Reason.RECOVERING, reset_ms=RECOVERING_MS, valid_ms=RECOVERING_MS))
        books = await self._counting(call)
        now = self._now()
        live = self._epoch.live()
        decided = books.allow(
            call,
            Circumstances(
                now=now,
                edges=max(1, len(live)),
                recovering=self._epoch.recovering(now),
                full_at_ms=self._epoch.full_at_ms(now),
                live=frozenset(live),
                gone=frozenset(self._epoch.gone()),
            ),
        )
        self._tidy(now)
        return AllowResult(
            grant=decided.grant,
            denial=decided.denial,
            epoch=self._epoch.id,
            store_time_ms=now,
            edges=max(1, len(live)),
            limits=decided.limits,
            dropped=decided.dropped,
        )

    async def settle(self, effects: Sequence[SettleEffect]) -> None:
        """See `Counters.settle`."""
        await self._expect()
        now = self._now()
        for some in _alike(effects):
            first = some[0]
            # What is counted anew is read from the ledger: a row that came later must come later here too.
            await self._recounting.ended(first.project)
            books, absent = self._books(first.project), self._epoch.absent(first.session)
            for part in stretches(some):
                books.settle(part, now, absent=absent)
        self._tidy(now)

    async def declare(self, declaration: Declaration) -> Heard:
        """See `Counters.declare`."""
        await self._expect()
        now = self._now()
        status = self._epoch.touch(declaration.session, now)
        news = status in (Status.FRESH, Status.MUST)
        if declaration.complete and declaration.epoch == self._epoch.id and news:
            first = not self._epoch.spoke(declaration.session)
            for key in declaration.keys:
                self._books(key.project).declare(declaration.session, key, now, first=first)
            self._epoch.declare(declaration.session, now)
        return self._heard(declaration.session)

    async def touch_session(self, session: str) -> Heard:
        """See `Counters.touch_session`."""
        await self._expect()
        self._epoch.touch(session, self._now())
        return self._heard(session)

    async def end_session(self, session: str) -> Heard:
        """See `Counters.end_session`."""
        await self._expect()
        self._epoch.end(session, self._now())
        return self._heard(session)

    async def epoch(self) -> EpochState:
        """See `Counters.epoch`."""
        await self._expect()
        now = self._now()
        self._epoch.drop_silent(now)
        return self._epoch.state(now)

    async def _expect(self) -> None:
        if self._epoch.expected is None:
            async with self._expecting:
                if self._epoch.expected is None:
                    self._epoch.expect(await self._truth.unclean_sessions())

    async def _rebuilt(self, project: str) -> Books:
        books = self._books(project)
        if not books.rebuilt:
            await self._rebuilding.wait(project)
            books = self._books(project)
        return books

    async def _counting(self, call: AllowCall) -> Books:
        """Return the project's books when all windows of the call's limits have what the key has used."""
        for _ in range(TRIES):
            books = await self._rebuilt(call.project)
            if books.counts(call.key, call.limits):
                return books
            await self._recounting.wait(call.project)
        raise StoreDown("the plan of the key changes again and again")

    async def _recount(self, project: str) -> None:
        """Count a project anew because a plan has changed, beside its books; they are as they were if that fails."""
        books = self._books(project)
        history = await self._truth.history(project)
        counted = Books()
        for rows in stretches(history.rows, ROWS_AT_ONCE):
            counted.recount(rows, history.limits, self._now())
            await asyncio.sleep(0)
        if books is self._projects.get(project):  # else it was forgotten meanwhile, and is rebuilt when it is asked for
            books.replace(counted, history, self._now())

    async def _rebuild(self, project: str) -> None:
        """Count a project's rows of the ledger; those with an id, which may be many, in turn with other work."""
        history = await self._truth.history(project)
        books = self._books(project)
        for rows in stretches([row for row in history.rows if row.request_id], ROWS_AT_ONCE):
            books.recount(rows, history.limits, self._now())
            await asyncio.sleep(0)
        others = [row for row in history.rows if not row.request_id]
        books.rebuild(ProjectHistory(others, history.limits), self._now())

    def _books(self, project: str) -> Books:
        books = self._projects.get(project)
        if books is None:
            books = self._projects[project] = Books(self._settled)
        return books

    def _now(self) -> int:
        self._last = max(self._last, self._clock())
        return self._last

    def _heard(self, session: str) -> Heard:
        again = self._epoch.status(session) not in (Status.DECLARED, Status.ENDED)
        return Heard(self._epoch.id, self._last, again)

    def _answer(self, denial: Denial) -> AllowResult:
        edges = max(1, len(self._epoch.live()))
        return AllowResult(None, denial, self._epoch.id, self._last, edges)

    def _tidy(self, now: int) -> None:
        if now < self._tidied + TIDY_MS:
            return
        self._tidied = now
        self._settled.forget(now - REMEMBER_ID_MS)
        for project in [name for name, books in self._projects.items() if books.tidy(now)]:
            del self._projects[project]


def _alike(effects: Sequence[SettleEffect]) -> Iterable[list[SettleEffect]]:
    """Sort effects by project, key, session and limits: batches hold many of each."""
    found: dict[tuple[str, str, str, int], list[SettleEffect]] = {}
    for effect in effects:
        alike = effect.project, effect.key, effect.session, id(effect.limits)
        found.setdefault(alike, []).append(effect)
    return found.values()
