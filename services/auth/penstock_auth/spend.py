"""What each key has been charged: running sums per key, in all and by UTC month, beside the rows they come from.

A version is (month << 32) + the key's count of charges: it grows with every charge and with every month, so the newest
of two figures is known also across the turn of a month.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from penstock_auth.bulk import Lookup, inserts
from penstock_auth.counters import Versioned
from penstock_auth.tables import api_keys, key_spend

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy import Connection

TOTAL: Final = "Total"
MONTH: Final = "Month"
_HOUR_MS: Final = 3_600_000
_KEYS: Final = Lookup([api_keys.c.id, api_keys.c.counted_as, api_keys.c.spend_limit_period], api_keys.c.id)
_SUMS: Final = Lookup(
    [key_spend.c.key_id, key_spend.c.period, key_spend.c.spent_micro, key_spend.c.version],
    key_spend.c.key_id,
    sqlite="AND period IN (?, ?)",
    postgres="AND period IN (%s, %s)",
)
_ADDED: Final = (
    "ON CONFLICT (key_id, period) DO UPDATE"
    " SET spent_micro = key_spend.spent_micro + excluded.spent_micro, version = key_spend.version + 1"
)
_CHARGES: Final = inserts(
    key_spend,
    ["key_id", "period", "spent_micro", "carried_micro", "version"],
    sqlite=_ADDED,
    postgres=_ADDED,
)


def month_of(at_ms: int) -> str:
    """Name the UTC month of a time: `2026-03`."""
    return _month_of_hour(at_ms // _HOUR_MS)


@lru_cache(maxsize=1024)
def _month_of_hour(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3600, UTC).strftime("%Y-%m")


def add_spend(connection: Connection, charges: Iterable[tuple[str, int, int]], counted_as: Mapping[str, str]) -> None:
    """Add charges (key, admitted_at_ms, micro-USD) to the keys' running sums; each sum's version grows by one.

    A key that is counted as another adds to the other's.
    """
    by_hour: defaultdict[tuple[str, int], int] = defaultdict(int)
    for key_id, admitted_at_ms, micro_usd in charges:
        by_hour[key_id, admitted_at_ms // _HOUR_MS] += micro_usd
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    for (key_id, hour), micro_usd in by_hour.items():
        budget = counted_as.get(key_id) or key_id
        sums[budget, TOTAL] += micro_usd
        sums[budget, _month_of_hour(hour)] += micro_usd
    if sums:
        places = sorted(sums)
        budgets, periods = zip(*places, strict=True)
        amounts = [sums[place] for place in places]
        _CHARGES.write(connection, (budgets, periods, amounts, [0] * len(places), [1] * len(places)))


def read_spend(connection: Connection, key_ids: Collection[str], now_ms: int) -> dict[str, Versioned]:
    """Return what keys have spent in the current period of their own limit (in all, for keys without one)."""
    rows = _KEYS.find(connection, key_ids)
    return spent_by(connection, {key_id: (counted_as or key_id, period) for key_id, counted_as, period in rows}, now_ms)


def spent_by(connection: Connection, keys: Mapping[str, tuple[str, str]], now_ms: int) -> dict[str, Versioned]:
    """Return the same for keys of which it is known whose spend they share and the period of their limit."""
    month = month_of(now_ms)
    budgets = {budget for budget, _ in keys.values()}
    found = {
        (budget, period): (spent, version)
        for budget, period, spent, version in _SUMS.find(connection, budgets, TOTAL, month)
    }
    nothing = 0, 0
    return {
        key_id: Versioned(
            found.get((budget, month if period == MONTH else TOTAL), nothing)[0],
            version_of(now_ms, found.get((budget, TOTAL), nothing)[1]),
        )
        for key_id, (budget, period) in keys.items()
    }


def version_of(now_ms: int, charges: int) -> int:
    """Order figures of a key's spend: later months first, then the count of charges."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    return ((now.year * 12 + now.month) << 32) + charges
