"""The spool: each request that may have reached an upstream is on disk until its settlement is final.

`open` returns when the record is in the page cache, which outlives the process (not the machine), and comes before
the first upstream byte. Segments go from the oldest on, when none of their requests is needed; few requests that keep
an old segment are copied forward.

Errors::

    SpoolError
    ├── SpoolFull     no record can be written: too many bytes or requests, or the disk refuses
    └── SpoolLocked   another process has this folder
"""

from __future__ import annotations

import errno
import os
import re
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock_chassis import logs
from penstock_edge.folder_lock import FolderLock
from penstock_edge.records import Closed, Opened
from penstock_edge.segments import FORMAT, Acknowledged, Header, frame, framed
from penstock_edge.spooled import Segment, Spooled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge.observer import Observer

_log = logs.get(__name__)

SUFFIX: Final = ".spool"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class SpoolError(Exception):
    """Something is wrong with the spool."""


class SpoolFull(SpoolError):  # noqa: N818 - a state that callers match
    """No record can be written now; refuse the request, do not send it."""


class SpoolLocked(SpoolError):  # noqa: N818 - a state that callers match
    """Another living process writes to this folder."""


def segment_paths(folder: Path) -> list[Path]:
    """Return the folder's segments, oldest first."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())


class Spool:
    """One edge life's records of open and unsettled requests. Use `start`; not thread-safe."""

    def __init__(
        self,
        lock: FolderLock,
        header: Header,
        *,
        observer: Observer,
        max_bytes: int = 256 << 20,
        max_records: int = 50_000,
        segment_bytes: int = 4 << 20,
    ) -> None:
        self.folder = lock.folder
        self.inherited = segment_paths(lock.folder)
        """Segments of earlier lives, for the replay."""
        self.bytes = 0
        """Size of this life's segments."""
        self._lock = lock
        self._header = header
        self._observer = observer
        self._max_bytes = max_bytes
        self._max_records = max_records
        self._segment_bytes = segment_bytes
        self._entries: dict[str, Spooled] = {}
        self._segments: deque[Segment] = deque()
        self._next = 1 + max((int(p.stem) for p in self.inherited), default=0)
        self._descriptor = -1
        self._current = self._begin_segment()

    @classmethod
    def start(
        cls,
        root: Path,
        edge: str,
        session_id: str,
        *,
        now_ms: int,
        observer: Observer,
        max_bytes: int = 256 << 20,
        max_records: int = 50_000,
        segment_bytes: int = 4 << 20,
    ) -> Spool:
        """Take `root/edge` for this life of the edge. Raises SpoolLocked, ValueError (a name that is no file name)."""
        if not _NAME.fullmatch(edge):
            raise ValueError(f"{edge!r} does not do as a folder's name")
        folder = root / edge
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FolderLock.take(folder)
        if lock is None:
            raise SpoolLocked(f"another process uses the spool in {folder}")
        header = Header(format=FORMAT, session=session_id, edge=edge, created_ms=now_ms)
        return cls(
            lock,
            header,
            observer=observer,
            max_bytes=max_bytes,
            max_records=max_records,
            segment_bytes=segment_bytes,
        )

    @property
    def records(self) -> int:
        """How many requests are open or await their settlement."""
        return len(self._entries)

    def get(self, request_id: str) -> Opened | Closed | None:
        """Return the newest record of a request that is not settled yet."""
        entry = self._entries.get(request_id)
        return None if entry is None else _record(entry.close_frame or entry.open_frame)

    def opened(self, request_id: str) -> Opened | None:
        """Return the open record of a request that is not settled yet."""
        entry = self._entries.get(request_id)
        record = None if entry is None else _record(entry.open_frame)
        return record if isinstance(record, Opened) else None

    def open(self, opened: Opened) -> None:
        """Write a request down, before its first upstream byte. Raises SpoolFull; then do not send it."""
        if len(self._entries) >= self._max_records or (self.bytes >= self._max_bytes and not self._make_room()):
            self._observer.spool_full()
            raise SpoolFull("too many requests await their settlement")
        data = frame(opened)
        try:
            self._write(data)
        except OSError as error:
            self._observer.spool_full()
            raise SpoolFull(f"the disk refuses: {error.strerror}") from error
        segment = self._current
        segment.live += 1
        segment.live_bytes += len(data)
        self._entries[opened.request_id] = Spooled(segment, data)
        self._rotate_if_long()

    def close(self, closed: Closed) -> None:
        """Write down how a request ended. Never raises: without the record a crash would make it `abandoned`."""
        entry = self._entries.get(closed.request_id)
        if entry is None:
            return
        data = frame(closed)
        entry.segment.live_bytes += len(data) - len(entry.close_frame)
        entry.close_frame = data
        self._write_if_possible(data)
        self._rotate_if_long()

    def acknowledge(self, request_ids: Iterable[str]) -> None:
        """Forget requests whose settlements are final."""
        known = [i for i in request_ids if i in self._entries]
        if not known:
            return
        self._write_if_possible(frame(Acknowledged(known)))
        for request_id in known:
            entry = self._entries.pop(request_id)
            entry.segment.live -= 1
            entry.segment.live_bytes -= len(entry.open_frame) + len(entry.close_frame)
        self._drop_unneeded()
        self._rotate_if_long()

    def shut(self, *, ended: bool = True) -> None:
        """Give the folder up. When nothing is outstanding, this life's segments go; else the next life replays them.

        So it does when the session could not be declared `ended`: the segments name it.
        """
        os.close(self._descriptor)
        if ended and not self._entries:
            for segment in self._segments:
                segment.path.unlink(missing_ok=True)
        self._lock.release(remove=False)

    def _write_if_possible(self, data: bytes) -> None:
        try:
            self._write(data)
        except OSError as error:
            _log.error("spool_write_failed", error=error.strerror)

    def _write(self, data: bytes) -> None:
        """Append one frame as a whole or not at all."""
        segment = self._current
        if os.write(self._descriptor, data) != len(data):
            # A part of a frame would do no harm to a reader, but let the file end where we believe it ends.
            os.ftruncate(self._descriptor, segment.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        segment.size += len(data)
        self.bytes += len(data)

    def _begin_segment(self) -> Segment:
        segment = Segment(self.folder / f"{self._next:012d}{SUFFIX}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(segment.path, flags, 0o600)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._next += 1
        self._segments.append(segment)
        self._current = segment
        self._write(frame(self._header))
        return segment

    def _rotate_if_long(self) -> None:
        if self._current.size < self._segment_bytes:
            return
        try:
            self._begin_segment()
        except OSError as error:
            _log.error("spool_segment_failed", error=error.strerror)
            return
        self._drop_unneeded()
        self._make_room()

    def _drop_unneeded(self) -> None:
        """Remove segments from the oldest on: an acknowledgement must never go before the record that it ends."""
        while self._segments[0].live == 0 and self._segments[0] is not self._current:
            gone = self._segments.popleft()
            self.bytes -= gone.size
            gone.path.unlink(missing_ok=True)

    def _make_room(self) -> bool:
        """Copy the few requests forward that keep an old segment; say whether there is room for one more."""
        while (oldest := self._segments[0]) is not self._current and oldest.live_bytes * 2 < oldest.size:
            for entry in [e for e in self._entries.values() if e.segment is oldest]:
                if not self._copy_forward(entry):
                    return False
            self._drop_unneeded()
        return self.bytes < self._max_bytes

    def _copy_forward(self, entry: Spooled) -> bool:
        data = entry.open_frame + entry.close_frame
        try:
            self._write(data)
        except OSError as error:
            _log.error("spool_write_failed", error=error.strerror)
            return False
        entry.segment.live -= 1
        entry.segment.live_bytes -= len(data)
        entry.segment = self._current
        entry.segment.live += 1
        entry.segment.live_bytes += len(data)
        return True


def _record(data: bytes) -> Opened | Closed | None:
    """Return what a request's frame stands for."""
    record = framed(data)
    return record if isinstance(record, (Opened, Closed)) else None
