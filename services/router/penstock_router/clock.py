"""The router's time: Unix seconds as the store counts them, which never go back within one life."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class StoreClock:
    """Monotonic seconds shifted to the store's time, so that replicas mean the same by a deadline."""

    def __init__(self, monotonic: Callable[[], float], unix: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._offset = unix() - monotonic()
        self._last = float("-inf")

    def now(self) -> float:
        """Return the time; never less than it was."""
        self._last = max(self._last, self._monotonic() + self._offset)
        return self._last

    def adjust(self, store_now: float) -> None:
        """Follow the store's time as it was just read. Where that would go back, time stands still a while."""
        self._offset = store_now - self._monotonic()
