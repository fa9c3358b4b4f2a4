"""Which requests the counters in memory have counted already: eight bytes for each, for as long as it may be repeated.

An edge repeats a settlement until it hears of it, and a repetition may not count twice. Of each id the hash is kept,
in the order of hashes, with those of the same sixteen milliseconds of admission: the ledger has one admission for an
id, whoever settles it. Two requests of the same sixteen milliseconds with one hash of 64 bits would count as one in
the windows of limits, never in the ledger; at thousands of requests a second that is less than once in a
hundred thousand years, and nobody can bring it about, as each process salts its hashes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import takewhile
from typing import Final

_SLICE_BITS: Final = 4  # 16 ms: a hundred ids at thousands a second, which are searched in a microsecond


class SettledIds:
    """The ids of settled requests, by admission. Times are ms of the store's clock."""

    __slots__ = ("_settled_at", "_slices")

    def __init__(self) -> None:
        self._slices: dict[int, array[int]] = {}
        self._settled_at: dict[int, int] = {}  # when an id last came to the slice

    def add(self, request_id: str, admitted_at_ms: int, now: int) -> bool:
        """Note an id; False when it was noted before."""
        name, digest = admitted_at_ms >> _SLICE_BITS, hash(request_id)
        known = self._slices.get(name)
        if known is None:
            self._slices[name] = array("q", (digest,))
            self._settled_at[name] = now
            return True
        place = bisect_left(known, digest)
        if place < len(known) and known[place] == digest:
            return False
        known.insert(place, digest)
        self._settled_at[name] = now
        return True

    def forget(self, until: int) -> None:
        """Forget ids that were settled by then. One that was admitted early and settled late may keep others a while.

        Slices stand in the order in which they began, and there may be many: only what goes is looked at.
        """
        settled_at = self._settled_at
        for name in list(takewhile(lambda name: settled_at[name] <= until, settled_at)):
            del settled_at[name], self._slices[name]

    def __len__(self) -> int:
        return sum(map(len, self._slices.values()))
