"""Remaining limits as lines of a head, made anew at most every few milliseconds for each key: answers share them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from penstock_edge.answer_head import lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.dialects.dialect import Dialect
    from penstock_edge.records import Admitted

_SECONDS: Final = 0.005
_KEYS: Final = 1024


class _Shown:
    """What answers to one key say until `until`."""

    __slots__ = ("lines", "until")

    def __init__(self, until: float, shown: bytes) -> None:
        self.until = until
        self.lines = shown


class LimitHeaders:
    """A small cache by dialect and key digest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Dialect, dict[bytes, _Shown]] = {}

    def get(self, dialect: Dialect, digest: bytes, admitted: Admitted) -> bytes:
        """Return the `lines` of a key's limits."""
        now = self._clock()
        keys = self._known.get(dialect)
        if keys is None:
            keys = self._known[dialect] = {}
        known = keys.get(digest)
        if known is not None and now < known.until:
            return known.lines
        if len(keys) >= _KEYS:
            keys.clear()
        shown = lines(dialect.limit_headers(admitted.limits(), time.time()))
        keys[digest] = _Shown(now + _SECONDS, shown)
        return shown
