"""Price rows kept for ever: auth records what the catalog brings, and the ledger finds any digest that ever held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_auth import statements
from penstock_auth.bulk import Lookup
from penstock_auth.tables import prices
from penstock_catalog.prices import PriceRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import Connection

_REMEMBERED: Final = 10_000
_ROWS: Final = Lookup([prices.c.digest, prices.c.canonical], prices.c.digest)


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
    return {digest: PriceRow.model_validate_json(canonical) for digest, canonical in _ROWS.find(connection, digests)}


class Prices:
    """Price rows that were read once: what a digest names never changes."""

    def __init__(self) -> None:
        self._rows: dict[str, PriceRow] = {}

    def find(self, connection: Connection, digests: Collection[str]) -> dict[str, PriceRow]:
        """Find rows by digest; unknown ones are absent, and looked for again next time."""
        rows = self._rows
        found = {digest: rows[digest] for digest in digests if digest in rows}
        if len(found) < len(digests):
            fresh = read_prices(connection, [digest for digest in digests if digest not in rows])
            if len(rows) + len(fresh) > _REMEMBERED:
                rows.clear()
            rows.update(fresh)
            found |= fresh
        return found
