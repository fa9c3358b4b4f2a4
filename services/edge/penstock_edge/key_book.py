"""One key that this edge knows of: its allowance, and those who wait for auth's answer about it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from penstock_chassis.tracing import CURRENT
from penstock_edge.allowance import COUNT_TOKENS, REQUESTS, Allowance
from penstock_edge.times import LONG_AGO

if TYPE_CHECKING:
    from penstock_chassis.tracing import TraceContext
    from penstock_edge.key_facts import KeyFacts
    from penstock_edge.records import Admitted, Kind, Need, Refused


class Waiter:
    """Somebody who waits for auth's answer; without a `need` only for the key's facts."""

    __slots__ = ("asked", "future", "need", "trace")

    def __init__(self, need: Need | None) -> None:
        self.need = need
        self.future: asyncio.Future[Admitted | Refused | KeyFacts] = asyncio.get_running_loop().create_future()
        self.asked = 0
        self.trace = CURRENT.get()

    @property
    def answered(self) -> bool:
        """True once there is an answer for somebody who may still be there."""
        return self.future.done() and not self.future.cancelled()


class KeyBook:
    """One key: its allowance, who waits, and whether somebody is asking auth about it."""

    __slots__ = (
        "_counting",
        "_requesting",
        "allowance",
        "last_kind",
        "probe_after",
        "refill",
        "returning",
        "task",
        "trace",
    )

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self._requesting: deque[Waiter] = deque()
        self._counting: deque[Waiter] = deque()
        self.refill: Kind | None = None
        """What is to be asked for ahead."""
        self.returning = False
        """Something is to go back."""
        self.task: asyncio.Task[None] | None = None
        self.trace: TraceContext | None = None
        """The traced request that waits for the question that is being asked."""
        self.last_kind: Kind = COUNT_TOKENS
        self.probe_after = LONG_AGO
        """During an outage, no request asks what became of this key before then."""

    def row(self, kind: Kind) -> deque[Waiter]:
        """Return who waits with requests of one kind."""
        return self._requesting if kind == "requests" else self._counting

    @property
    def idle(self) -> bool:
        """True when forgetting this key would lose nothing."""
        return self.task is None and self.allowance.idle and not self._requesting and not self._counting

    def first(self, kind: Kind) -> Waiter | None:
        """Return who has waited longest and is still there."""
        row = self.row(kind)
        while row and row[0].future.done():
            row.popleft()
        return row[0] if row else None

    @property
    def awaited(self) -> bool:
        """True while somebody waits."""
        return self.first(REQUESTS) is not None or self.first(COUNT_TOKENS) is not None

    @property
    def wants_more(self) -> bool:
        """True while there is something to ask."""
        return self.refill is not None or self.returning or self.awaited

    def has_place(self, kind: Kind, places: int) -> bool:
        """Say whether one more may wait, of at most `places`."""
        row = self.row(kind)
        if len(row) >= places:
            left = [w for w in row if not w.future.done()]
            row.clear()
            row.extend(left)
        return len(row) < places

    def next_kind(self) -> Kind:
        """Return whose turn it is: kinds that somebody waits for in turn, else what is asked for ahead."""
        kind: Kind = REQUESTS if self.last_kind == COUNT_TOKENS else COUNT_TOKENS
        if self.first(kind) is None:
            kind = REQUESTS if kind == COUNT_TOKENS else COUNT_TOKENS
        if self.first(kind) is None:
            kind = self.refill or REQUESTS
        self.last_kind = kind
        return kind

    def recovering(self, now: float) -> float:
        """Return for how many seconds auth wants not to be asked about this key, because it recovers from a loss."""
        lanes = (self.allowance.requests, self.allowance.count_tokens)
        denials = [lane.denied for lane in lanes if lane.denied is not None]
        return max((d.valid_until for d in denials if d.refused.reason == "RECOVERING"), default=now) - now
