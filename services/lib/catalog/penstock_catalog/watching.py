"""Notice that files changed, by looking: whatever editors, links and file systems do."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

POLL_SECONDS = 0.2

Fingerprint = tuple[tuple[str, int, int, int], ...]


def fingerprint(files: Iterable[Path]) -> Fingerprint:
    """Tell states of files apart without reading them. A file that is not there is left out."""
    marks = []
    for file in files:
        try:
            found = file.stat()
        except OSError:
            continue
        marks.append((str(file), found.st_mtime_ns, found.st_size, found.st_ino))
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
