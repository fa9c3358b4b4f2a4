"""Watches the store's epoch and recovery, and keeps the edge sessions in SQL in step with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from penstock_auth import metrics
from penstock_auth.counters import StoreDown, StoreRefused
from penstock_auth.errors import DatabaseDown
from penstock_chassis import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_auth.counters import Counters, EpochState
    from penstock_auth.sessions import SessionBook

log = logs.get(__name__)

_EVERY_SECONDS: Final = 0.5
_STORE_SECONDS: Final = 2.0
# A session so long silent, while auth was there to hear it, has nothing that any window still counts by itself.
_SILENT_MS: Final = 900_000


class EpochWatch:
    """Polls the store. `on_new_epoch` is called when its epoch changes; `id` is `""` until it first answered."""

    def __init__(
        self,
        counters: Counters,
        sessions: SessionBook,
        *,
        now_ms: Callable[[], int],
        on_new_epoch: Callable[[], None],
    ) -> None:
        self._counters = counters
        self._sessions = sessions
        self._now_ms = now_ms
        self._on_new_epoch = on_new_epoch
        self._began_ms = now_ms()
        self._swept_ms = now_ms()
        self._dropped: frozenset[str] = frozenset()
        self._lost: frozenset[str] = frozenset()
        self.id = ""
        self.live: frozenset[str] = frozenset()
        self.answering = False

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_SECONDS)

    async def look(self) -> None:
        """Ask once. A store or database that is down is counted, and asked again next time."""
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                state = await self._counters.epoch()
            await self._take(state)
        except (StoreDown, StoreRefused, TimeoutError):
            if self.answering:
                log.warning("store_silent")
            self.answering = False
            metrics.STORE_ERRORS.labels("epoch").inc()
        except DatabaseDown as error:
            log.warning("sessions_unwritten", reason=str(error))

    async def _take(self, state: EpochState) -> None:
        self.answering = True
        self.live = state.live
        if state.id != self.id:
            log.info("epoch", epoch=state.id, waiting_for=len(state.waiting))
            metrics.EPOCHS.inc()
            self.id = state.id
            self._on_new_epoch()
        metrics.EDGE_SESSIONS.labels("live").set(len(state.live))
        metrics.EDGE_SESSIONS.labels("waiting").set(len(state.waiting))
        for session in sorted(state.dropped - self._dropped):
            log.warning("edge_session_dropped", session=session, reason="silent for 30 s; its holdings are released")
            metrics.SESSIONS_DROPPED.labels("dropped").inc()
        self._dropped = state.dropped
        # The store names them for as long as the epoch lasts; once is enough.
        lost = state.lost - self._lost
        if lost:
            await self._sessions.lost(lost)
            log.warning("edge_sessions_lost", sessions=sorted(lost))
            metrics.SESSIONS_DROPPED.labels("lost").inc(len(lost))
        self._lost = state.lost
        await self._sweep()

    async def _sweep(self) -> None:
        now = self._now_ms()
        if now - self._swept_ms >= _SILENT_MS // 10 and now - self._began_ms > _SILENT_MS:
            self._swept_ms = now
            await self._sessions.sweep(now - _SILENT_MS)
