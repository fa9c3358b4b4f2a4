"""Admissions of a key that the ledger does not tell of: after a loss of its counters auth hears of them from us. Pure.

Times are unix ms by the store's clock.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock_edge.records import Kind

RECENT_MS: Final = 5 * 60 * 1000
"""Admissions that will never have a row are declared for so long."""

_STEP_MS: Final = 10_000


class Unrecorded:
    """Those whose settlement is not final yet, and those that will never have a row."""

    __slots__ = ("_count_tokens", "_requests", "_unsettled")

    def __init__(self) -> None:
        self._unsettled: dict[int, int] = {}
        """How many requests that hold something were admitted when: numbers, because there may be thousands."""
        self._requests = _recent()
        self._count_tokens = _recent()

    @property
    def empty(self) -> bool:
        """True when there is nothing to declare."""
        return not self._unsettled and not self._requests and not self._count_tokens

    def opens(self, admitted_at_ms: int) -> None:
        """Note that a request that holds something was admitted then."""
        self._unsettled[admitted_at_ms] = self._unsettled.get(admitted_at_ms, 0) + 1

    def settles(self, admitted_at_ms: int) -> None:
        """Note that a request that was admitted then holds nothing any more."""
        left = self._unsettled[admitted_at_ms] - 1
        if left:
            self._unsettled[admitted_at_ms] = left
        else:
            del self._unsettled[admitted_at_ms]

    def remember(self, admitted_at_ms: int, kind: Kind) -> None:
        """Keep, for five minutes, an admission that will never have a ledger row; dated to the end of its second."""
        recent = self._requests if kind == "requests" else self._count_tokens
        second, count = admitted_at_ms // 1000 * 1000 + 999, 1
        while recent and recent[-1][0] > second + _STEP_MS:
            # The store's clock was put back. What it cannot have seen yet was admitted before now.
            count += recent.pop()[1]
        if recent and recent[-1][0] >= second:
            recent[-1] = (recent[-1][0], recent[-1][1] + count)
        else:
            recent.append((second, count))

    def forget_before(self, oldest_ms: int) -> None:
        """Drop remembered admissions that are older."""
        for recent in (self._requests, self._count_tokens):
            while recent and recent[0][0] < oldest_ms:
                recent.popleft()

    def rows(self, oldest_ms: int) -> list[tuple[int, Kind, int]]:
        """Return all since then: when, which kind, how many."""
        counts: Counter[tuple[int, Kind]] = Counter(
            {(at, "requests"): count for at, count in self._unsettled.items() if at >= oldest_ms}
        )
        for at, count in self._requests:
            counts[at, "requests"] += count
        for at, count in self._count_tokens:
            counts[at, "count_tokens"] += count
        return [(at, kind, count) for (at, kind), count in sorted(counts.items())]


def _recent() -> deque[tuple[int, int]]:
    return deque(maxlen=RECENT_MS // 1000 + 2)
