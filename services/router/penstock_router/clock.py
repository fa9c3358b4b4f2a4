"""The router's time: Unix seconds as the store counts them, which never go back within one life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


_SLOW: Final = 0.5


class StoreClock:
    """Monotonic seconds shifted to the store's time, so that replicas mean the same by a deadline."""

    def __init__(self, monotonic: Callable[[], float], unix: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._offset = unix() - monotonic()
        self._last = float("-inf")
        self._read_at = monotonic()

    def now(self) -> float:
        """Return the time; never less than it was."""
        monotonic = self._monotonic()
        passed, self._read_at = monotonic - self._read_at, monotonic
        self._last = max(self._last + passed * _SLOW, monotonic + self._offset)
        return self._last

    def adjust(self, store_now: float) -> None:
        """Follow the store's time as it was just read. Where that would go back, time goes at half its pace a while.

        It never stands still: an account would stay out for as long as the store's clock was put back.
        """
        self._offset = store_now - self._monotonic()
