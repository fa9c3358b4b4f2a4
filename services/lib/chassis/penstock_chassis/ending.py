"""When a process is to end, in local mode: a signal to the whole process group reaches everybody at once.

The supervisor's file says `first` while those end who need the others, and `all` afterwards.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

FIRST: Final = "first"
ALL: Final = "all"
HEARSAY_SECONDS: Final = 1.0
"""How long the supervisor may take to hear of a signal that reached us too."""
_POLL_SECONDS: Final = 0.02


class Ending:
    """`due` is set when this process is to end: at the first signal, or when the file lets it, or by a second signal.

    `seconds` bound how long the file can put that off.
    """

    def __init__(self, file: Path | None, seconds: float) -> None:
        self.due = asyncio.Event()
        self._file = file
        self._seconds = seconds
        self._waiting: asyncio.Task[None] | None = None

    def told(self) -> None:
        """Note a signal."""
        if self._file is None or self._waiting is not None:
            self.due.set()
        else:
            self._waiting = asyncio.create_task(self._wait(self._file), name="ending")

    async def _wait(self, file: Path) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self.due.is_set() and loop.time() - began < self._seconds:
            word = _read(file)
            # Without the file the signal was for us alone, or the supervisor has not heard of it yet.
            if word == ALL or (word != FIRST and loop.time() - began >= HEARSAY_SECONDS):
                break
            await asyncio.sleep(_POLL_SECONDS)
        self.due.set()


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError:
        return ""
