"""One file of the spool that records are appended to: what `append` has taken outlives the process, not the machine.

A record is copied into pages of the file that are mapped here, which costs no system call. They are reserved before,
a window at a time: a full disk is told when a window is reserved, and never by the signal that ends a process for a
page it cannot have. Where the file system cannot promise that (`file_systems.py`), or refuses, `pwrite` does it.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from typing import TYPE_CHECKING, Final

from penstock_edge.segments import HEAD_BYTES, framed, put_frame

if TYPE_CHECKING:
    from pathlib import Path

WINDOW_BYTES: Final = 256 << 10
"""So much is reserved and mapped at once, and resident at most."""
_STEP_BYTES: Final = max(32 << 10, mmap.PAGESIZE)
# Since Linux 5.14; Python has no name for it.
_MADV_POPULATE_WRITE: Final = 23


class Journal:
    """A file that grows by whole records, and how much of it is still needed."""

    def __init__(self, path: Path, *, mapped: bool) -> None:
        """Make the file; `mapped` where that is safe. Raises OSError."""
        self.path = path
        self.size = 0
        self.live = 0
        """Requests that were opened here and are not settled."""
        self.live_bytes = 0
        """Their records' payloads: what would have to be copied to do without this file."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._mapped = mapped
        self._window: mmap.mmap | None = None
        self._begin = 0
        """Where the window begins in the file,"""
        self._end = 0
        """where it ends,"""
        self._ready = 0
        """and up to where its pages have been fetched."""

    def append(self, payload: bytes) -> int:
        """Add a frame as a whole or not at all; return its length. Raises OSError."""
        length = HEAD_BYTES + len(payload)
        end = self.size + length
        if end > self._ready and self._mapped:
            self._make_ready(end)
        window = self._window
        if window is None:
            self._write(framed(payload))
        else:
            put_frame(window, self.size - self._begin, payload)
        self.size = end
        return length

    def end(self) -> None:
        """Append no more: the file gets its true size. Never raises."""
        self._unmap()
        # It is closed even where that fails, and nobody could do anything about it.
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _make_ready(self, end: int) -> None:
        """Have pages up to `end`; where that fails, this file is written from now on, which tells what is wrong."""
        try:
            if end > self._end:
                self._move_window(end)
            self._fetch_pages(end)
        except (OSError, ValueError):
            # ValueError: `mmap` finds the file shorter than what a file system claims to have reserved.
            self._mapped = False
            self._unmap()

    def _move_window(self, end: int) -> None:
        """Reserve and map the next part of the file, from the page on in which it ends now."""
        begin = self.size - self.size % mmap.PAGESIZE
        length = max(WINDOW_BYTES, _whole_pages(end - begin))
        os.posix_fallocate(self._descriptor, begin, length)
        window = mmap.mmap(self._descriptor, length, offset=begin)
        # A process that is forked off would write into the same pages.
        window.madvise(mmap.MADV_DONTFORK)
        if self._window is not None:
            self._window.close()
        self._window, self._begin, self._end, self._ready = window, begin, begin + length, begin

    def _fetch_pages(self, end: int) -> None:
        """Have some pages made writable in one call, which is cheaper than a fault for each."""
        ready = min(max(self._ready + _STEP_BYTES, _whole_pages(end)), self._end)
        if self._window is not None:
            try:
                self._window.madvise(_MADV_POPULATE_WRITE, self._ready - self._begin, ready - self._ready)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
        self._ready = ready

    def _unmap(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None
        self._cut()

    def _write(self, frame: bytes) -> None:
        if os.pwrite(self._descriptor, frame, self.size) != len(frame):
            self._cut()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _cut(self) -> None:
        """Let the file end where its records end. A reader does without, so a disk that refuses does no harm."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self.size)


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
