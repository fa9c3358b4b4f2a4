"""Price rows kept for ever: auth records what the catalog brings, and the ledger finds any digest that ever held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from penstock_auth import statements
from penstock_auth.tables import prices
from penstock_catalog.prices import PriceRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import Connection


def record_prices(connection: Connection, rows: Iterable[PriceRow], now_ms: int) -> None:
    """Keep rows under their digests; those kept before stay as they are."""
    fresh = {row.digest: row for row in rows}
    if fresh:
        connection.execute(
            statements.insert_new(connection, prices),
            [
                {"digest": digest, "canonical": row.canonical, "recorded_at_ms": now_ms}
                for digest, row in sorted(fresh.items())
            ],
        )


def read_prices(connection: Connection, digests: Collection[str]) -> dict[str, PriceRow]:
    """Find rows by digest; unknown ones are absent."""
    if not digests:
        return {}
    found = connection.execute(select(prices.c.digest, prices.c.canonical).where(prices.c.digest.in_(sorted(digests))))
    return {digest: PriceRow.model_validate_json(canonical) for digest, canonical in found}
