"""The seam between the router and where its state is kept: small documents, each replaced only as it was last read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class StoreDown(Exception):  # noqa: N818 - the word that everybody uses for it
    """The store did not answer in time, or not sensibly. What was asked may or may not have happened."""


@dataclass(frozen=True, slots=True)
class Row:
    """One document. `version` differs after every change, also after it was gone for a while; 0 stands for absent."""

    version: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """What to put in place of the row whose version is `expected`; a body of None removes it."""

    name: str
    expected: int
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Reading:
    """All rows of one kind, and the store's time in seconds since 1970."""

    now: float
    rows: Mapping[str, Row]


class StateStore(Protocol):
    """Conditions and shares by name. Every method raises StoreDown, within its deadline."""

    name: str
    """For metrics and logs."""
    shared: bool
    """Other routers may change it."""

    async def read(self, kind: str) -> Reading:
        """Return all rows of `kind`."""
        ...

    async def write(self, kind: str, changes: Sequence[Change]) -> Mapping[str, int]:
        """Apply each change whose row is still as expected; returns the new versions (0: removed) of those applied."""
        ...

    async def close(self) -> None:
        """Give up connections, and keep what there is to keep."""
        ...
