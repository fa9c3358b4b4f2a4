"""The ledger as the servicer knows it: settle a batch, whatever is in it, or say that SQL is down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DataError, IntegrityError

from penstock_auth import metrics
from penstock_auth.gathering import Gathering
from penstock_auth.postings import Batch, lock_away, settle
from penstock_auth.price_book import Prices
from penstock_auth.settlement import Poison
from penstock_chassis import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penstock_auth.database import Database
    from penstock_auth.postings import Incoming

log = logs.get(__name__)

_WAITED_FOR: Final = 1000


class Ledger:
    """Settlements into SQL. `monotonic` gives seconds, `now_ms` Unix ms, `store_ms` the same by the counters' clock.

    A price that nobody knows yet is waited for: an edge may have a new catalog a moment before auth has.
    """

    def __init__(
        self,
        database: Database,
        *,
        now_ms: Callable[[], int],
        store_ms: Callable[[], int],
        monotonic: Callable[[], float],
        price_wait_seconds: float = 10.0,
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._store_ms = store_ms
        self._monotonic = monotonic
        self._price_wait = price_wait_seconds
        self._asked: dict[str, float] = {}
        self._prices = Prices()
        # One transaction can be prepared while another is on its way to the disk; a file has one writer anyway.
        self._gathering = Gathering(self._settle_together, 2 if database.shared else 1)

    async def settle(self, incoming: Sequence[Incoming]) -> Batch:
        """Commit a batch, perhaps together with others that came at the same time.

        Raises DatabaseDown: then nothing may be acknowledged, and the same may be sent again.
        """
        return await self._gathering.add(incoming)

    async def _settle_together(self, batches: Sequence[Sequence[Incoming]]) -> Sequence[Batch | Exception]:
        """Commit batches in one transaction; when SQL refuses it, each in one of its own."""
        incoming = [each for batch in batches for each in batch]
        try:
            whole = await self._settle(incoming)
        except (DataError, IntegrityError):
            if len(batches) > 1:
                return await asyncio.gather(*(self._settle_alone(batch) for batch in batches), return_exceptions=True)  # type: ignore[return-value]  # what is no Exception ends the process anyway
            log.warning("settle_one_by_one", count=len(incoming))
            whole = await self._one_by_one(incoming)
        self._count(incoming, whole)
        return whole.parts([{each.request_id for each in batch} for batch in batches])

    async def _settle_alone(self, batch: Sequence[Incoming]) -> Batch:
        (result,) = await self._settle_together([batch])
        if isinstance(result, Exception):
            raise result
        return result

    async def _settle(self, incoming: Sequence[Incoming]) -> Batch:
        now_ms, store_ms = self._now_ms(), self._store_ms()
        return await self._database.write(
            lambda connection: settle(
                connection, incoming, now_ms, store_ms, prices=self._prices, price_may_come=self._price_may_come
            ),
            repeatable=True,
        )

    async def _one_by_one(self, incoming: Sequence[Incoming]) -> Batch:
        """Find the row that the database itself refuses, and put it into quarantine."""
        whole = Batch()
        for each in incoming:
            try:
                part = await self._settle([each])
            except (DataError, IntegrityError):
                part = await self._refused(each)
            for name in Batch.__slots__:
                getattr(whole, name).update(getattr(part, name))
        return whole

    async def _refused(self, each: Incoming) -> Batch:
        poison = Poison("database", "the database refuses it")
        now_ms = self._now_ms()
        return await self._database.write(
            lambda connection: lock_away(connection, each, poison, now_ms), repeatable=True
        )

    def _price_may_come(self, digest: str) -> bool:
        """Whether this unknown price was first asked for a short while ago. Runs in the database's threads."""
        now = self._monotonic()
        if len(self._asked) >= _WAITED_FOR:
            self._asked.clear()
        return now - self._asked.setdefault(digest, now) < self._price_wait

    def _count(self, incoming: Sequence[Incoming], batch: Batch) -> None:
        decided = len(batch.rows) + len(batch.quarantined)
        # Usually each is decided and none came twice.
        ids = decided if decided == len(incoming) else len({each.request_id for each in incoming})
        deferred = ids - decided
        metrics.SETTLEMENTS.labels("committed").inc(len(batch.fresh))
        metrics.SETTLEMENTS.labels("duplicate").inc(
            len(incoming) - len(batch.fresh) - len(batch.quarantined) - deferred
        )
        metrics.SETTLEMENTS.labels("quarantined").inc(len(batch.quarantined))
        metrics.SETTLEMENTS.labels("deferred").inc(deferred)
        metrics.CHARGED_MICRO_USD.inc(sum(batch.rows[request_id].cost_micro for request_id in batch.fresh))
        for request_id, (kind, message) in batch.quarantined.items():
            metrics.QUARANTINED.labels(kind).inc()
            log.error("settlement_quarantined", request_id=request_id[:64], kind=kind, reason=message)
