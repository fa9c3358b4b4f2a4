"""What the edge's books tell to whoever measures: one method per thing that happens. Metrics implement it."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Hears of events; must be cheap and must not raise. Label values are from small fixed sets."""

    def admitted(self, *, degraded: bool) -> None:
        """Note that one request was let in, `degraded` under a plan's outage policy."""
        ...

    def refused(self, reason: str) -> None:
        """Note that one request was turned away; `reason` is a `records.Reason`."""
        ...

    def allow_called(self, result: str, seconds: float) -> None:
        """Note the end of one Allow call: allowance, denial, void, or failed."""
        ...

    def settled(self, *, committed: int, quarantined: int) -> None:
        """Note final results of settlements."""
        ...

    def settle_failed(self) -> None:
        """Note that one Settle call failed and will be repeated."""
        ...

    def spool_full(self) -> None:
        """Note that a request was refused because the spool is full."""
        ...

    def spool_corrupt(self, amount_bytes: int) -> None:
        """Note bytes of a spool segment that could not be read and were set aside."""
        ...

    def replayed(self, *, settled: int, abandoned: int) -> None:
        """Note requests of an earlier life of an edge that were settled from its spool."""
        ...

    def outcomes_dropped(self, amount: int) -> None:
        """Note outcomes that were not reported because the queue was full."""
        ...


class Unobserved:
    """Hears and forgets."""

    def admitted(self, *, degraded: bool) -> None:
        """Forget it."""

    def refused(self, reason: str) -> None:
        """Forget it."""

    def allow_called(self, result: str, seconds: float) -> None:
        """Forget it."""

    def settled(self, *, committed: int, quarantined: int) -> None:
        """Forget it."""

    def settle_failed(self) -> None:
        """Forget it."""

    def spool_full(self) -> None:
        """Forget it."""

    def spool_corrupt(self, amount_bytes: int) -> None:
        """Forget it."""

    def replayed(self, *, settled: int, abandoned: int) -> None:
        """Forget it."""

    def outcomes_dropped(self, amount: int) -> None:
        """Forget it."""
