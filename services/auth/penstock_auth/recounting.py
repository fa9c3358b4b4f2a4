"""Windows that a key has no counter for yet, because its plan has changed: they start from the ledger. Pure.

A key's *shape* names the counters that its use goes to: `requests:60000 *TotalTokens:86400000`, the project's with an
asterisk. A store keeps the shape that each key is counted by. While it names all that the key's limits name, nothing is
to be done. Else the project is counted anew out of the ledger, as after a loss, beside what is in force: the windows of
tokens and money, and those of requests that a key has joined. What is lent is known by its leases and goes with them.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from penstock_auth import allowances
from penstock_auth.allowances import PROJECT
from penstock_auth.counters import Kind, Scope, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from penstock_auth.counters import LedgerRow, Limit

GAPS: Final = "?"  # before a shape whose counters may lack what was settled under another


@lru_cache(maxsize=10_000)
def shape_of(limits: tuple[Limit, ...]) -> str:
    """Return the shape of a key with these limits; their names and amounts do not matter."""
    return " ".join(
        sorted(
            {
                f"{PROJECT if limit.scope is Scope.PROJECT else ''}{meter_of(limit.unit)}:{limit.window_ms}"
                for limit in limits
                if limit.unit is not Unit.CONCURRENT
            }
        )
    )


def meter_of(unit: Unit) -> str:
    """Name what the counter of a limit counts."""
    return Kind.REQUESTS.value if unit is Unit.REQUESTS else unit.value


@lru_cache(maxsize=10_000)
def has_all(known: str, wanted: str) -> bool:
    """Say whether the counters of one shape are counted by all of another's, without gaps."""
    return not known.startswith(GAPS) and set(wanted.split()) <= set(known.split())


def after_settling(known: str | None, told: str) -> str:
    """Return what a key's shape is once something has been settled under the limits of `told`."""
    if known is None:
        return told
    return known if has_all(told, known.removeprefix(GAPS)) else GAPS + known.removeprefix(GAPS)


def joined(known: Mapping[str, str], limits: Mapping[str, tuple[Limit, ...]]) -> set[str]:
    """Name the counters of requests that keys have joined; one that nothing is known of has used nothing."""
    found = set()
    for key, its in limits.items():
        before = known.get(key)
        if before is not None:
            names = set(shape_of(its).split()) - set(before.removeprefix(GAPS).split())
            found |= {counter_of(name, key) for name in names if _meter(name) == Kind.REQUESTS}
    return found


def counter_of(name: str, key: str) -> str:
    """Return the counter that a part of a key's shape names."""
    owner = PROJECT if name.startswith(PROJECT) else allowances.budget_of(key)
    return f"{owner}:{name.removeprefix(PROJECT)}"


def _meter(name: str) -> str:
    return name.removeprefix(PROJECT).partition(":")[0]


class Lent:
    """When each session had a lease of a key that has not come back: its requests then are counted with it."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: defaultdict[tuple[str, str], list[tuple[str, int, int]]] = defaultdict(list)

    def add(self, key: str, lease_id: str, granted_at: int, expiry: int) -> None:
        """Note a lease of requests."""
        self._spans[key, lease_id.rpartition("/")[0]].append((lease_id, granted_at, expiry))

    def lease_of(self, key: str, session: str, at: int) -> str | None:
        """Return a lease that a request admitted then may have been admitted by; None when there is none."""
        spans = self._spans.get((key, session), ())
        return next((lease_id for lease_id, granted_at, expiry in spans if granted_at <= at <= expiry), None)

    def rows(self, rows: Iterable[LedgerRow]) -> list[tuple[str, LedgerRow]]:
        """Return the rows that are counted with a lease, each with it."""
        found = []
        for row in rows if self._spans else ():
            lease_id = self.lease_of(row.key, row.session, row.admitted_at_ms) if row.request_id else None
            if lease_id is not None:
                found.append((lease_id, row))
        return found


def request_counters(limits: Sequence[Limit], key: str) -> list[tuple[str, int]]:
    """Return the counters, with their windows, of a key's requests that have rows in the ledger."""
    return allowances.lease_counters(limits, key, Kind.REQUESTS.value)
