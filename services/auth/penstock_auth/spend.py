"""What each key has been charged: running sums per key, in all and by UTC month, beside the rows they come from.

A version is (month << 32) + the key's count of charges: it grows with every charge and with every month, so the newest
of two figures is known also across the turn of a month.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select

from penstock_auth import statements
from penstock_auth.counters import Versioned
from penstock_auth.tables import api_keys, key_spend

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

TOTAL: Final = "Total"
MONTH: Final = "Month"
_CHUNK: Final = 1000


def month_of(at_ms: int) -> str:
    """Name the UTC month of a time: `2026-03`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m")


def add_spend(connection: Connection, charges: Mapping[str, Iterable[tuple[int, int]]]) -> None:
    """Add (admitted_at_ms, micro-USD) charges of keys to their running sums; each sum's version grows by one.

    A key that is counted as another adds to the other's.
    """
    if not charges:
        return
    shared = select(api_keys.c.id, api_keys.c.counted_as)
    shared = shared.where(api_keys.c.id.in_(charges), api_keys.c.counted_as != "")
    budgets = {key_id: budget for key_id, budget in connection.execute(shared)}  # noqa: C416 -- dict() of rows has no type
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    for key_id, each in charges.items():
        budget = budgets.get(key_id, key_id)
        for admitted_at_ms, micro_usd in each:
            sums[budget, TOTAL] += micro_usd
            sums[budget, month_of(admitted_at_ms)] += micro_usd
    statement = statements.upsert(connection, key_spend)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[key_spend.c.key_id, key_spend.c.period],
            set_={
                "spent_micro": key_spend.c.spent_micro + statement.excluded.spent_micro,
                "version": key_spend.c.version + 1,
            },
        ),
        [
            {"key_id": key_id, "period": period, "spent_micro": micro_usd, "carried_micro": 0, "version": 1}
            for (key_id, period), micro_usd in sorted(sums.items())
        ],
    )


def read_spend(connection: Connection, key_ids: Sequence[str], now_ms: int) -> dict[str, Versioned]:
    """Return what keys have spent in the current period of their own limit (in all, for keys without one)."""
    if len(key_ids) > _CHUNK:
        halves = key_ids[:_CHUNK], key_ids[_CHUNK:]
        return read_spend(connection, halves[0], now_ms) | read_spend(connection, halves[1], now_ms)
    month = month_of(now_ms)
    query = select(api_keys.c.id, api_keys.c.counted_as, api_keys.c.spend_limit_period)
    rows = connection.execute(query.where(api_keys.c.id.in_(key_ids))).all()
    periods = {row.id: (row.counted_as or row.id, row.spend_limit_period) for row in rows}
    budgets = {budget for budget, _ in periods.values()}
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for budget, period, spent, version in connection.execute(
        select(key_spend.c.key_id, key_spend.c.period, key_spend.c.spent_micro, key_spend.c.version).where(
            key_spend.c.key_id.in_(budgets), key_spend.c.period.in_((TOTAL, month))
        )
    ):
        found[budget, period] = spent, version
    return {
        key_id: Versioned(
            found.get((budget, month if period == MONTH else TOTAL), (0, 0))[0],
            version_of(now_ms, found.get((budget, TOTAL), (0, 0))[1]),
        )
        for key_id, (budget, period) in periods.items()
    }


def carry_spend(connection: Connection, old: str, new: str) -> None:
    """Let a new key begin with what the one that it replaces has spent, so that a rotation opens no new budget."""
    rows = connection.execute(
        select(key_spend.c.period, key_spend.c.spent_micro).where(key_spend.c.key_id == old)
    ).all()
    if rows:
        connection.execute(
            insert(key_spend),
            [
                {"key_id": new, "period": period, "spent_micro": spent, "carried_micro": spent, "version": 1}
                for period, spent in rows
            ],
        )


def version_of(now_ms: int, charges: int) -> int:
    """Order figures of a key's spend: later months first, then the count of charges."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    return ((now.year * 12 + now.month) << 32) + charges
