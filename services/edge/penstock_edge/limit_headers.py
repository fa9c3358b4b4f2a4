"""Remaining limits as headers, made anew at most every few milliseconds for each key: answers in a burst share them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.dialects.dialect import Dialect
    from penstock_edge.records import Admitted

_SECONDS = 0.005
_KEYS = 1024


class LimitHeaders:
    """A small cache by dialect and key digest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, bytes], tuple[float, list[tuple[bytes, bytes]]]] = {}

    def get(self, dialect: Dialect, digest: bytes, admitted: Admitted) -> list[tuple[bytes, bytes]]:
        """Return the headers of a key; not to be changed by the caller."""
        now = self._clock()
        key = (dialect.name, digest)
        known = self._known.get(key)
        if known is not None and now < known[0]:
            return known[1]
        headers = dialect.limit_headers(admitted.limits(), time.time())
        if len(self._known) >= _KEYS:
            self._known.clear()
        self._known[key] = (now + _SECONDS, headers)
        return headers
