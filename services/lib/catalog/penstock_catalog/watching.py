"""Notice that files changed, by looking: whatever editors, links and file systems do."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

POLL_SECONDS = 0.2

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""Of each file its path, the time of its last change, its size and its number; zeros where nobody may look at it."""


def fingerprint(files: Iterable[Path]) -> Fingerprint:
    """Tell states of files apart without reading them. A file that is not there is left out."""
    marks = []
    for file in files:
        try:
            found = file.stat()
        except FileNotFoundError:
            continue
        except OSError:
            marks.append((str(file), 0, 0, 0))
            continue
        # Not the time of its last writing: a file that may be read again has changed too.
        marks.append((str(file), found.st_ctime_ns, found.st_size, found.st_ino))
    return tuple(marks)


async def changed(
    look: Callable[[], Fingerprint], seen: Fingerprint, poll_seconds: float = POLL_SECONDS
) -> Fingerprint:
    """Wait until what is looked at differs from `seen` and has then stayed the same for one interval; return it."""
    while True:
        await asyncio.sleep(poll_seconds)
        now = look()
        if now == seen:
            continue
        while True:
            await asyncio.sleep(poll_seconds)
            again = look()
            if again == now:
                return now
            now = again
