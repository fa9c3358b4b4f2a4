"""What the spool remembers of a request that is not settled: its records as they lie on disk, and where."""

from __future__ import annotations

import msgspec

from penstock_edge.journal import Journal


class Spooled(msgspec.Struct, gc=False):
    """One request's payloads and the file that they are in. Thousands may wait, so bytes are all that is kept.

    A journal knows nothing of its requests, so there is no cycle that the collector would have to find.
    """

    journal: Journal
    opened: bytes
    closed: bytes = b""
