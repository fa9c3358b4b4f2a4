"""Units of requests that were lent: a unit is spent once, before its lease expires. Pure.

A life counts from when the question was sent. All times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from penstock_edge.times import LONG_AGO

if TYPE_CHECKING:
    from penstock_edge.denials import Denied

Ended = list[tuple[str, int]]
"""Leases that are over and not yet told to auth, each with how much of it was spent."""

_PAUSE_SECONDS: Final = 10.0


@dataclass(slots=True)
class Lease:
    """Window units lent under one id."""

    lease_id: str
    units: int
    spent: int
    expires_at: float
    life: float


class Lane:
    """One kind of requests: its leases, the one that expires first in front, how fast they are used, the last denial.

    Leases that are over go to `ended`, which is the same list for all kinds.
    """

    __slots__ = ("_ended", "count", "denied", "leases", "life", "rate", "refill_after", "tick", "units")

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        self.leases: deque[Lease] = deque()
        self.units = 0
        """All that may still be spent."""
        self.denied: Denied | None = None
        self.rate = 0.0
        """Units a second, of late."""
        self.count = 0
        """Units since `tick`."""
        self.tick = LONG_AGO
        self.life = 0.0
        """Of the newest lease, seconds."""
        self.refill_after = LONG_AGO
        """A question before that would only hear the same."""

    def usable(self, now: float) -> Lease | None:
        """Return the lease to spend from: the one that expires first. Ended ones are set aside on the way."""
        while self.leases:
            lease = self.leases[0]
            if lease.spent < lease.units and now < lease.expires_at:
                return lease
            self.leases.popleft()
            self._end(lease)
        return None

    def spend(self, lease: Lease, now: float) -> None:
        """Spend one unit of what `usable` returned."""
        lease.spent += 1
        self.units -= 1
        self.count += 1
        since = now - self.tick
        if since >= 1.0:
            self.rate = self.count / since if since < _PAUSE_SECONDS else 0.0
            self.tick, self.count = now, 0
        if lease.spent == lease.units:
            self.leases.popleft()
            self._end(lease)

    def add(self, lease: Lease) -> None:
        """Take in a lease."""
        self.life = lease.life
        at = len(self.leases)
        while at and self.leases[at - 1].expires_at > lease.expires_at:
            at -= 1
        self.leases.insert(at, lease)
        self.units += lease.units

    def give_up(self, now: float, *, stale: bool) -> None:
        """Set aside what has expired, or all that is `stale`."""
        self.usable(now)
        for lease in [x for x in self.leases if stale or now >= x.expires_at]:
            self.leases.remove(lease)
            self._end(lease)

    def low(self, now: float) -> bool:
        """Say whether less is left than half of what a second uses, or it ends soon."""
        return self.units * 2 < self.pace or (bool(self.leases) and self.leases[-1].expires_at - now < self.life / 5)

    @property
    def pace(self) -> float:
        """Units a second, now or of late."""
        return max(self.rate, float(self.count))

    def declare(self) -> None:
        """Count from now on: what was spent is declared as admissions, the lease is what is left of it."""
        for lease in self.leases:
            lease.units -= lease.spent
            lease.spent = 0

    def _end(self, lease: Lease) -> None:
        self.units -= lease.units - lease.spent
        self._ended.append((lease.lease_id, lease.spent))
