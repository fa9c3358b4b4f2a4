"""What the spool remembers of a request that is not settled: its records as they lie on disk, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True)
class Segment:
    """One file. It may go when no `live` request was opened in it and no older one is left."""

    path: Path
    size: int = 0
    live: int = 0
    live_bytes: int = 0


class Spooled(msgspec.Struct, gc=False):
    """One request's frames and the segment that they are in. Thousands may be waiting, so bytes are all that is kept.

    A segment knows nothing of its requests, so there is no cycle that the collector would have to find.
    """

    segment: Segment
    open_frame: bytes
    close_frame: bytes = b""
