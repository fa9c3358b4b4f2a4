"""The spool: each request that may have reached an upstream is on disk until its settlement is final.

`open` returns when the record is in the page cache, which outlives the process (not the machine), and comes before
the first upstream byte. The files are segments: `journal.py` appends to the newest. They go from the oldest on, when
none of their requests is needed; few requests that keep an old one are copied forward.

Errors::

    SpoolError
    ├── SpoolFull     no record can be written: too many bytes or requests, or the disk refuses
    └── SpoolLocked   another process has this folder
"""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock_chassis import logs
from penstock_edge.file_systems import maps_safely
from penstock_edge.folder_lock import FolderLock
from penstock_edge.journal import Journal
from penstock_edge.records import Closed, Opened
from penstock_edge.segments import FORMAT, payload_of, record_of
from penstock_edge.segments_fields import Acknowledged, Header
from penstock_edge.spooled import Spooled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge.observer import Observer

_log = logs.get(__name__)

SUFFIX: Final = ".spool"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# So many segments may stand before one is copied forward: by then what it still holds are long requests, and not
# those that will be settled a moment later anyway.
_PATIENCE: Final = 4


class SpoolError(Exception):
    """Something is wrong with the spool."""


class SpoolFull(SpoolError):  # noqa: N818 - a state that callers match
    """No record can be written now; refuse the request, do not send it."""


class SpoolLocked(SpoolError):  # noqa: N818 - a state that callers match
    """Another living process writes to this folder."""


def segment_paths(folder: Path) -> list[Path]:
    """Return the folder's segments, oldest first."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())


def _last_number(folder: Path) -> int:
    """Return the highest number in use; a damaged segment that was set aside keeps its own, or another replaces it."""
    return max((int(path.stem) for path in folder.iterdir() if path.stem.isdecimal()), default=0)


class Spool:
    """One edge life's records of open and unsettled requests. Use `start`; not thread-safe."""

    def __init__(
        self,
        lock: FolderLock,
        header: Header,
        *,
        observer: Observer,
        mapped: bool = False,
        max_bytes: int = 256 << 20,
        max_records: int = 50_000,
        segment_bytes: int = 4 << 20,
    ) -> None:
        self.folder = lock.folder
        self.inherited = segment_paths(lock.folder)
        """Segments of earlier lives, for the replay."""
        self.bytes = 0
        """Size of this life's records."""
        self._lock = lock
        self._header = payload_of(header)
        self._observer = observer
        self._mapped = mapped
        self._max_bytes = max_bytes
        self._max_records = max_records
        self._segment_bytes = self._rotate_at = segment_bytes
        self._entries: dict[str, Spooled] = {}
        self._unwritten: list[str] = []
        """Requests whose end the disk had no room for."""
        self._next = 1 + _last_number(lock.folder)
        self._current = self._new_journal()
        self._journals = deque([self._current])

    @classmethod
    def start(
        cls,
        root: Path,
        edge: str,
        session_id: str,
        *,
        now_ms: int,
        observer: Observer,
        mapped: bool | None = None,
        max_bytes: int = 256 << 20,
        max_records: int = 50_000,
        segment_bytes: int = 4 << 20,
    ) -> Spool:
        """Take `root/edge` for this life of the edge. Raises SpoolLocked, ValueError (a name that is no file name).

        `mapped`: whether records go through a map of their file; by default where its file system lets that be safe.
        """
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
            mapped=maps_safely(folder) if mapped is None else mapped,
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
        return None if entry is None else _record(entry.closed or entry.opened)

    def opened(self, request_id: str) -> Opened | None:
        """Return the open record of a request that is not settled yet."""
        entry = self._entries.get(request_id)
        record = None if entry is None else _record(entry.opened)
        return record if isinstance(record, Opened) else None

    def open(self, opened: Opened) -> None:
        """Write a request down, before its first upstream byte. Raises SpoolFull; then do not send it."""
        if len(self._entries) >= self._max_records or (self.bytes >= self._max_bytes and not self._make_room(1)):
            self._observer.spool_full()
            raise SpoolFull("too many requests await their settlement")
        payload = payload_of(opened)
        journal = self._current
        try:
            self.bytes += journal.append(payload)
        except OSError as error:
            self._observer.spool_full()
            raise SpoolFull(f"the disk refuses: {error.strerror}") from error
        journal.live += 1
        journal.live_bytes += len(payload)
        self._entries[opened.request_id] = Spooled(journal, payload)
        if self._unwritten:
            self._write_late()
        self._rotate_if_long()

    def close(self, closed: Closed) -> None:
        """Write down how a request ended, as soon as the disk takes it. Never raises.

        Without the record a crash would make it `abandoned`.
        """
        entry = self._entries.get(closed.request_id)
        if entry is None:
            return
        try:
            payload = payload_of(closed)
        except (ValueError, OverflowError) as error:
            # What no row can carry is settled as `abandoned` (`settlement_messages.py`), as it is after a crash.
            _log.error("spool_record_unwritable", request_id=closed.request_id, error=type(error).__name__)
            return
        entry.journal.live_bytes += len(payload) - len(entry.closed)
        entry.closed = payload
        if not self._append_if_possible(payload):
            self._unwritten.append(closed.request_id)
        self._rotate_if_long()

    def acknowledge(self, request_ids: Iterable[str]) -> None:
        """Forget requests whose settlements are final."""
        entries, known = self._entries, []
        for request_id in request_ids:
            entry = entries.pop(request_id, None)
            if entry is not None:
                known.append(request_id)
                _forget(entry)
        if known:
            self._append_if_possible(payload_of(Acknowledged(known)))
            self._drop_unneeded()
            self._write_late()
            self._rotate_if_long()

    def shut(self, *, ended: bool = True) -> None:
        """Give the folder up. When nothing is outstanding, this life's segments go; else the next life replays them.

        So it does when the session could not be declared `ended`: the segments name it.
        """
        self._write_late()
        self._current.end()
        if ended and not self._entries:
            # Oldest first, and none after one that stays.
            all(_removed(journal) for journal in self._journals)
        self._lock.release(remove=False)

    def _append_if_possible(self, payload: bytes) -> bool:
        try:
            self.bytes += self._current.append(payload)
        except OSError as error:
            _log.error("spool_write_failed", error=error.strerror)
            return False
        return True

    def _write_late(self) -> None:
        """Write the ends of requests that the disk refused, now that it may have room: a crash would lose them."""
        while self._unwritten:
            entry = self._entries.get(self._unwritten[-1])
            if entry is not None and not self._append_if_possible(entry.closed):
                return
            self._unwritten.pop()

    def _new_journal(self) -> Journal:
        """Make the next file and write the header into it. Raises OSError; then there is none."""
        path = self.folder / f"{self._next:012d}{SUFFIX}"
        self._next += 1
        journal = Journal(path, mapped=self._mapped)
        try:
            self.bytes += journal.append(self._header)
        except OSError:
            journal.end()
            path.unlink(missing_ok=True)
            raise
        return journal

    def _rotate_if_long(self) -> None:
        """Go on in a new file after a long one; where that cannot be made, for an eighth more in the same."""
        if self._current.size < self._rotate_at:
            return
        try:
            journal = self._new_journal()
        except OSError as error:
            _log.error("spool_segment_failed", error=error.strerror)
            self._rotate_at = self._current.size + self._segment_bytes // 8
            return
        self._rotate_at = self._segment_bytes
        self._current.end()
        self._journals.append(journal)
        self._current = journal
        self._drop_unneeded()
        self._make_room(_PATIENCE)

    def _drop_unneeded(self) -> None:
        """Remove segments from the oldest on: an acknowledgement must never go before the record that it ends.

        Where the disk refuses, one stays, and all after it, until the next time.
        """
        while (oldest := self._journals[0]).live == 0 and oldest is not self._current and _removed(oldest):
            self._journals.popleft()
            self.bytes -= oldest.size

    def _make_room(self, patience: int) -> bool:
        """Copy the few requests forward that keep an old segment; say whether there is room for one more."""
        while len(self._journals) > patience and _holds_little(oldest := self._journals[0]):
            for entry in [e for e in self._entries.values() if e.journal is oldest]:
                if not self._copy_forward(entry):
                    return False
            self._drop_unneeded()
            if self._journals[0] is oldest:
                break
        return self.bytes < self._max_bytes

    def _copy_forward(self, entry: Spooled) -> bool:
        """Write a request's records again, in the newest segment; only then does the old one do without it."""
        for payload in (entry.opened, entry.closed):
            if payload and not self._append_if_possible(payload):
                return False
        _forget(entry)
        entry.journal = self._current
        entry.journal.live += 1
        entry.journal.live_bytes += len(entry.opened) + len(entry.closed)
        return True


def _forget(entry: Spooled) -> None:
    """Let a request no longer keep the segment in which it was opened."""
    entry.journal.live -= 1
    entry.journal.live_bytes -= len(entry.opened) + len(entry.closed)


def _removed(journal: Journal) -> bool:
    """Remove a segment; say whether it is gone."""
    try:
        journal.path.unlink(missing_ok=True)
    except OSError as error:
        _log.error("spool_not_removed", path=journal.path.name, error=error.strerror)
        return False
    return True


def _holds_little(journal: Journal) -> bool:
    return journal.live_bytes * 2 < journal.size


def _record(payload: bytes) -> Opened | Closed | None:
    """Return what a request's payload stands for."""
    record = record_of(payload)
    return record if isinstance(record, (Opened, Closed)) else None
