"""Memory that the C library keeps from a peak that is over: given back to the system where it is worth it.

What a process frees in the midst of its heap stays resident until somebody asks for it: a moment of large bodies would
cost their memory for ever.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from pathlib import Path
from typing import Final, Protocol

_LOOK_SECONDS: Final = 10.0
# There has to be something to be had; the more there is, the longer others wait who want memory: 1 ms for 8 MB, or 10.
_WORTH_BYTES: Final = 4 * 1024 * 1024


class Heap(Protocol):
    """The memory of this process, as far as the C library manages it."""

    def spare(self) -> int:
        """Return how many resident bytes are not in use, and a part that hardly changes."""
        ...

    def trim(self) -> None:
        """Give back what is not in use."""
        ...


class Trimming:
    """Trims a heap each time that so much has gathered since the last time."""

    def __init__(self, heap: Heap, worth: int = _WORTH_BYTES) -> None:
        self._heap = heap
        self._worth = worth
        self._least: int | None = None

    def look(self) -> None:
        """Trim, if it is the first time or worth it."""
        spare = self._heap.spare()
        if self._least is None or spare - self._least >= self._worth:
            self._heap.trim()
            self._least = self._heap.spare()
        else:
            self._least = min(self._least, spare)


class _Allocated(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


class GlibcHeap:
    """glibc's heap. Raises AttributeError where there is another C library, or one before 2.33."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._trim = library.malloc_trim
        self._trim.argtypes = [ctypes.c_size_t]
        self._allocated = library.mallinfo2
        self._allocated.restype = _Allocated
        self._page = os.sysconf("SC_PAGE_SIZE")

    def spare(self) -> int:
        """Return what is resident without what is in use: free memory, code, and what Python manages itself."""
        resident = int(Path("/proc/self/statm").read_bytes().split()[1]) * self._page
        allocated = self._allocated()
        return resident - int(allocated.uordblks) - int(allocated.hblkhd)

    def trim(self) -> None:
        """Give back what is not in use. It takes some milliseconds, during which Python goes on."""
        self._trim(0)


def here() -> Heap | None:
    """Return the heap of this process; None where it cannot be trimmed."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        heap = GlibcHeap()
        heap.spare()
    except (AttributeError, OSError):
        return None
    return heap


async def keep_small() -> None:
    """Trim the heap now, and whenever it is worth it, until cancelled."""
    heap = here()
    if heap is None:
        return
    trimming = Trimming(heap)
    while True:
        # In a thread, because the loop can go on meanwhile: the C library is called without the interpreter's lock.
        await asyncio.to_thread(trimming.look)
        await asyncio.sleep(_LOOK_SECONDS)
