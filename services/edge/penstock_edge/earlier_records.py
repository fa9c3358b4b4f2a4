"""The spool's records as edges wrote them first, by the names of their fields. Only read; what is read is a record."""

from __future__ import annotations

import msgspec

from penstock_edge.records import AttemptRecord, Closed, Opened, Usage


class NamedUsage(Usage, array_like=False):
    """Tokens by kind."""


class NamedAttemptRecord(AttemptRecord, array_like=False):
    """One try at one account."""

    usage: NamedUsage = msgspec.field(default_factory=NamedUsage)


class NamedOpened(Opened, array_like=False):
    """A request that is about to reach an upstream."""


class NamedClosed(Closed, array_like=False):
    """A request that has ended."""

    attempts: list[NamedAttemptRecord] = msgspec.field(default_factory=list)  # type: ignore[assignment] # read only
