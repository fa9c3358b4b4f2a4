"""Remaining limits as headers, made anew at most every few milliseconds for each key: answers in a burst share them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from penstock_edge.dialects.anthropic import limit_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.records import Admitted

_SECONDS = 0.005
_KEYS = 1024


class LimitHeaders:
    """A small cache by key digest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[bytes, tuple[float, list[tuple[bytes, bytes]]]] = {}

    def get(self, digest: bytes, admitted: Admitted) -> list[tuple[bytes, bytes]]:
        """Return the headers of a key; not to be changed by the caller."""
        now = self._clock()
        known = self._known.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        headers = limit_headers(admitted.limits(), time.time())
        if len(self._known) >= _KEYS:
            self._known.clear()
        self._known[digest] = (now + _SECONDS, headers)
        return headers
