"""After a crash: what earlier lives of this edge, or edges that are gone, left in their spools is settled here.

Runs beside the traffic. An open record with a close is settled as it is; without one it is `abandoned`. When all of a
folder is final, its sessions are declared ended and the segments go.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from penstock.auth.v1 import auth_pb2
from penstock_chassis import logs
from penstock_edge.folder_lock import FolderLock
from penstock_edge.records import Closed, Opened
from penstock_edge.segments import READABLE, Reading, read
from penstock_edge.settlement import final_results
from penstock_edge.settlement_messages import SettlementMessages, abandoned
from penstock_edge.spool import segment_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from penstock.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub
    from penstock_edge.observer import Observer

_log = logs.get(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LAST_PAUSE_SECONDS = 2.0


@dataclass(slots=True)
class Outstanding:
    """One request of an earlier life that has no final settlement."""

    session: str
    opened: Opened
    closed: Closed | None = None


@dataclass(slots=True)
class Legacy:
    """What a folder's segments say together: sessions in the order of their first segment, and what they owe."""

    sessions: dict[str, str] = field(default_factory=dict)
    """Session -> stable name of its edge."""
    requests: dict[str, Outstanding] = field(default_factory=dict)
    _session: str = ""

    def add(self, reading: Reading) -> None:
        """Take one segment in; they come oldest first."""
        if reading.header is not None:
            self._session = reading.header.session
            self.sessions.setdefault(self._session, reading.header.edge)
        for record in reading.records:
            if isinstance(record, Opened):
                # One that comes again was copied forward; how it ended, if that is known, stays known.
                self.requests.setdefault(record.request_id, Outstanding(self._session, record))
            elif isinstance(record, Closed):
                if (known := self.requests.get(record.request_id)) is not None:
                    known.closed = record
            else:
                for request_id in record.request_ids:
                    self.requests.pop(request_id, None)


class Replay:
    """Settles what earlier lives left: at the start this edge's own segments, then any folder nobody has locked."""

    def __init__(
        self,
        stub: AuthServiceAsyncStub,
        *,
        root: Path,
        edge: str,
        inherited: Sequence[Path],
        session_id: str,
        observer: Observer,
        rng: Callable[[], float],
        look_every_seconds: float = 30.0,
        deadline_seconds: float = 5.0,
        max_batch: int = 256,
    ) -> None:
        self.outstanding = 0
        """Requests of earlier lives that await their settlement, as far as they have been read."""
        self.own_done = asyncio.Event()
        """Set when all that this edge's own folder held is settled."""
        self._stub = stub
        self._root = root
        self._edge = edge
        self._inherited = list(inherited)
        self._session_id = session_id
        self._observer = observer
        self._rng = rng
        self._look_every = look_every_seconds
        self._deadline = deadline_seconds
        self._max_batch = max_batch
        self._pause = 0.0

    async def run(self) -> None:
        """Replay until cancelled."""
        await self._replay(self._inherited)
        self._inherited.clear()
        self.own_done.set()
        while True:
            try:
                await self.adopt()
            except OSError as error:
                # A disk that fails makes new requests be refused; it is no reason to end.
                _log.error("spools_unreadable", error=error.strerror)
            await asyncio.sleep(self._look_every * (0.75 + self._rng() / 2))

    async def adopt(self) -> None:
        """Replay each sibling folder that no living process has locked. Raises OSError."""
        for folder in await asyncio.to_thread(self._siblings):
            lock = FolderLock.take(folder)
            if lock is None:
                continue
            done = False
            try:
                _log.warning("spool_adopted", folder=folder.name)
                await self._replay(segment_paths(folder))
                done = True
            finally:
                lock.release(remove=done)

    def _siblings(self) -> list[Path]:
        return sorted(p for p in self._root.iterdir() if p.is_dir() and p.name != self._edge)

    async def _replay(self, paths: Sequence[Path]) -> None:
        if not paths:
            return
        legacy = Legacy()
        damaged: set[Path] = set()
        for path in paths:
            reading = await asyncio.to_thread(self._read, path)
            legacy.add(reading)
            if reading.bad:
                damaged.add(path)
        todo = list(legacy.requests.values())
        lost = sum(1 for o in todo if o.closed is None)
        _log.info("spool_replay", sessions=len(legacy.sessions), settled=len(todo) - lost, abandoned=lost)
        self.outstanding += len(todo)
        await self._settle(todo)
        self._observer.replayed(settled=len(todo) - lost, abandoned=lost)
        for session, edge in legacy.sessions.items():
            await self._end(session, edge)
        # Oldest first: an acknowledgement must never go before the record that it ends.
        for path in paths:
            _remove(path, keep=path in damaged)

    def _read(self, path: Path) -> Reading:
        """Read one segment, as far as it makes sense; what does not is told loudly."""
        try:
            data = path.read_bytes()
        except OSError as error:
            _log.error("spool_unreadable", path=path.name, error=error.strerror)
            return Reading(bad=b"?")
        reading = read(data)
        if reading.header is not None and reading.header.format not in READABLE:
            reading = Reading(bad=data)
        if reading.bad:
            _log.error("spool_corrupt", path=path.name, bytes=len(reading.bad), kept=len(reading.records))
            self._observer.spool_corrupt(len(reading.bad))
        elif reading.torn:
            _log.info("spool_torn", path=path.name, bytes=reading.torn)
        return reading

    async def _settle(self, todo: list[Outstanding]) -> None:
        limit = self._max_batch
        while todo:
            batch, todo = todo[:limit], todo[limit:]
            final = await self._send(batch)
            limit = self._max_batch if final else max(1, len(batch) // 2)
            left = [o for o in batch if o.opened.request_id not in final]
            self.outstanding -= len(batch) - len(left)
            todo += left
            if left:
                await self._rest()
            else:
                self._pause = 0.0

    async def _send(self, batch: list[Outstanding]) -> dict[str, bool]:
        messages = SettlementMessages()
        rows = [messages.row(each.session, each.opened, each.closed or abandoned(each.opened)) for each in batch]
        request = auth_pb2.SettleRequest(edge_session=self._session_id)
        request.MergeFromString(b"".join(rows))
        try:
            answer = await self._stub.Settle(request, timeout=self._deadline)
        except grpc.aio.AioRpcError as error:
            self._observer.settle_failed()
            _log.warning("replay_failed", error=error.code().name, count=len(batch))
            return {}
        return final_results(answer.results, self._observer)

    async def _end(self, session: str, edge: str) -> None:
        request = auth_pb2.DeclareRequest(edge_session=session, edge=edge, final=True)
        while True:
            try:
                await self._stub.Declare(request, timeout=self._deadline)
            except grpc.aio.AioRpcError as error:
                _log.warning("session_end_failed", error=error.code().name)
            else:
                self._pause = 0.0
                return
            await self._rest()

    async def _rest(self) -> None:
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE_SECONDS), _LAST_PAUSE_SECONDS)
        await asyncio.sleep(self._pause * (0.75 + self._rng() / 2))


def _remove(path: Path, *, keep: bool) -> None:
    """Remove a segment of which all is settled; one with damage is kept for people, under another name."""
    try:
        if keep:
            path.replace(path.with_suffix(".bad"))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        _log.error("spool_not_removed", path=path.name, error=error.strerror)
