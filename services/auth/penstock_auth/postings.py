"""The ledger's statements: a batch of settlements becomes rows, charges and running sums in one transaction.

Idempotent by request id: what is committed is answered as it stands. Poison goes to quarantine row by row. Locks are
taken in one order everywhere (settlements by id, projects by name, spend by key), so that batches never deadlock.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select

from penstock_auth import statements
from penstock_auth.counters import Versioned
from penstock_auth.credit import append_charges
from penstock_auth.keys import counter_of
from penstock_auth.price_book import read_prices
from penstock_auth.pricing import Usage
from penstock_auth.settlement import Poison, bill, check
from penstock_auth.spend import add_spend, read_spend
from penstock_auth.tables import api_keys, attempts, projects, quarantine, settlements

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sqlalchemy import Connection

    from penstock_auth.settlement import Bill, Settlement
    from penstock_catalog.prices import PriceRow

USAGE_COLUMNS: Final = (
    settlements.c.input_tokens,
    settlements.c.output_tokens,
    settlements.c.cache_read_input_tokens,
    settlements.c.cache_write_5m_input_tokens,
    settlements.c.cache_write_1h_input_tokens,
)
_COMMITTED: Final = select(
    settlements.c.request_id,
    settlements.c.project,
    settlements.c.key_id,
    settlements.c.edge_session,
    settlements.c.admitted_at_ms,
    settlements.c.cost_micro,
    *USAGE_COLUMNS,
)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A settlement with its encoding, which is what quarantine keeps. `settlement` is None when it cannot be read."""

    request_id: str
    edge_session: str
    raw: Callable[[], bytes]
    settlement: Settlement | None
    problem: Poison | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What the ledger holds of one request, and what the counters must be told."""

    request_id: str
    project: str
    key_id: str
    edge_session: str
    admitted_at_ms: int
    cost_micro: int
    usage: Usage


@dataclass(slots=True)
class Batch:
    """What became of a batch, by request id. Ids in none of these may be sent again (their price is not known yet).

    `fresh` are those that this batch inserted. `quarantined` maps to (kind, message). `balances` is by project; by key
    are `spent`, `plans` and `counters` (the keys' names there). All are after this batch.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    quarantined: dict[str, tuple[str, str]] = field(default_factory=dict)
    balances: dict[str, Versioned] = field(default_factory=dict)
    spent: dict[str, Versioned] = field(default_factory=dict)
    plans: dict[str, str] = field(default_factory=dict)
    counters: dict[str, str] = field(default_factory=dict)

    def parts(self, batches: Sequence[Collection[str]]) -> list[Batch]:
        """Return what became of each of some sets of requests; what is in two of them was fresh in the first.

        Figures by project and key are of all.
        """
        fresh = set(self.fresh)
        parts = []
        for ids in batches:
            parts.append(
                Batch(
                    rows={request_id: row for request_id, row in self.rows.items() if request_id in ids},
                    fresh=fresh.intersection(ids),
                    quarantined={request_id: why for request_id, why in self.quarantined.items() if request_id in ids},
                    balances=self.balances,
                    spent=self.spent,
                    plans=self.plans,
                    counters=self.counters,
                )
            )
            fresh.difference_update(ids)
        return parts


def settle(
    connection: Connection,
    incoming: Sequence[Incoming],
    now_ms: int,
    *,
    price_may_come: Callable[[str], bool],
) -> Batch:
    """Write a batch. `price_may_come(digest)`: whether an unknown price is worth waiting for, instead of quarantine."""
    batch = Batch()
    batch.rows = _committed(connection, [each.request_id for each in incoming])
    fresh: dict[str, Incoming] = {}
    for each in incoming:
        if each.request_id not in batch.rows:
            fresh.setdefault(each.request_id, each)
    bills = _bills(connection, list(fresh.values()), batch, now_ms, price_may_come)
    _insert(connection, {request_id: fresh[request_id] for request_id in bills}, bills, batch, now_ms)
    _figures(connection, batch, now_ms)
    return batch


def lock_away(connection: Connection, each: Incoming, poison: Poison, now_ms: int) -> Batch:
    """Put one settlement into quarantine."""
    _quarantine(connection, [(each, poison)], now_ms)
    return Batch(quarantined={each.request_id: (poison.kind, str(poison))})


def _committed(connection: Connection, request_ids: Sequence[str]) -> dict[str, Row]:
    ids = sorted({request_id for request_id in request_ids if "\0" not in request_id})
    if not ids:
        return {}
    found = connection.execute(_COMMITTED.where(settlements.c.request_id.in_(ids)))
    return {row[0]: Row(*row[:6], Usage(*row[6:])) for row in found}


def _bills(
    connection: Connection,
    fresh: Sequence[Incoming],
    batch: Batch,
    now_ms: int,
    price_may_come: Callable[[str], bool],
) -> dict[str, Bill]:
    """Bill what can be committed, by request id; the rest goes to quarantine, or waits for its price."""
    poisoned: list[tuple[Incoming, Poison]] = []
    sound: list[tuple[Incoming, Settlement]] = []
    for each in fresh:
        try:
            sound.append((each, _checked(each)))
        except Poison as poison:
            poisoned.append((each, poison))
    known = _References(connection, [settlement for _, settlement in sound])
    bills: dict[str, Bill] = {}
    for each, settlement in sound:
        try:
            price = known.price(settlement)
            if known.lacks(settlement) and price_may_come(settlement.price_digest):
                continue
            bills[each.request_id] = bill(settlement, known.must_have(settlement, price))
        except Poison as poison:
            poisoned.append((each, poison))
    if poisoned:
        _quarantine(connection, poisoned, now_ms)
        batch.quarantined = {each.request_id: (poison.kind, str(poison)) for each, poison in poisoned}
    return bills


def _checked(each: Incoming) -> Settlement:
    if each.settlement is None:
        raise each.problem or Poison("malformed", "it cannot be read")
    check(each.settlement)
    return each.settlement


class _References:
    """Which projects, keys and prices of some settlements are known: three queries for a batch."""

    def __init__(self, connection: Connection, batch: Sequence[Settlement]) -> None:
        names = sorted({each.project for each in batch})
        ids = sorted({each.key_id for each in batch})
        self._projects = (
            set(connection.scalars(select(projects.c.name).where(projects.c.name.in_(names)))) if names else set()
        )
        self._keys = set(connection.scalars(select(api_keys.c.id).where(api_keys.c.id.in_(ids)))) if ids else set()
        self._prices = read_prices(connection, {each.price_digest for each in batch if each.price_digest})

    def price(self, settlement: Settlement) -> PriceRow | None:
        return self._prices.get(settlement.price_digest)

    def lacks(self, settlement: Settlement) -> bool:
        """Whether it names a price that it needs and that nobody knows."""
        return bool(settlement.price_digest) and settlement.needs_price and settlement.price_digest not in self._prices

    def must_have(self, settlement: Settlement, price: PriceRow | None) -> PriceRow | None:
        """Return the price; Poison for what is not known. No digest at all: the model had no price then."""
        if settlement.project not in self._projects:
            raise Poison("unknown_project", f"no project is named {settlement.project[:63]!r}")
        if settlement.key_id not in self._keys:
            raise Poison("unknown_key", "no key has its key id")
        if self.lacks(settlement):
            raise Poison("unknown_price", f"no price row has the digest {settlement.price_digest!r}")
        return price


def _quarantine(connection: Connection, poisoned: Sequence[tuple[Incoming, Poison]], now_ms: int) -> None:
    """Put settlements into quarantine, each encoding once."""
    rows = [
        {
            "raw_sha256": hashlib.sha256(raw).digest(),
            "raw": raw,
            "request_id": _shown(each.request_id, 64),
            "edge_session": _shown(each.edge_session, 128),
            "reason": _shown(f"{poison.kind}: {poison}", 200),
            "recorded_at_ms": now_ms,
        }
        for each, poison in poisoned
        for raw in (each.raw(),)
    ]
    connection.execute(statements.insert_new(connection, quarantine), rows)


def _shown(text: str, length: int) -> str:
    return text.replace("\0", "?")[:length]


def _insert(
    connection: Connection, fresh: dict[str, Incoming], bills: dict[str, Bill], batch: Batch, now_ms: int
) -> None:
    """Insert rows with their attempts and charges. A row that another auth inserted meanwhile is left to it."""
    pairs = [
        (each.settlement, bills[request_id])
        for request_id, each in sorted(fresh.items())
        if each.settlement is not None
    ]
    if not pairs:
        return
    statement = statements.insert_new(connection, settlements).returning(settlements.c.request_id)
    batch.fresh = set(connection.scalars(statement, [_settlement_row(s, b, now_ms) for s, b in pairs]))
    others = [s.request_id for s, _ in pairs if s.request_id not in batch.fresh]
    batch.rows |= _committed(connection, others)
    mine = [(s, b) for s, b in pairs if s.request_id in batch.fresh]
    tries = [row for s, b in mine for row in _attempt_rows(s, b)]
    if tries:
        connection.execute(insert(attempts), tries)
    for s, b in mine:
        batch.rows[s.request_id] = Row(
            s.request_id, s.project, s.key_id, s.edge_session, s.admitted_at_ms, b.cost_micro, b.usage
        )
    charged = [(s.project, s.request_id, b.cost_micro) for s, b in mine if b.cost_micro]
    append_charges(connection, charged, now_ms)
    spends: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for s, b in mine:
        if b.cost_micro:
            spends[s.key_id].append((s.admitted_at_ms, b.cost_micro))
    add_spend(connection, spends)


def _figures(connection: Connection, batch: Batch, now_ms: int) -> None:
    """Read balances and spend as this transaction leaves them, for the counters."""
    names = sorted({row.project for row in batch.rows.values()})
    if not names:
        return
    found = connection.execute(
        select(projects.c.name, projects.c.balance_micro, projects.c.version).where(projects.c.name.in_(names))
    )
    batch.balances = {name: Versioned(balance, version) for name, balance, version in found}
    key_ids = sorted({row.key_id for row in batch.rows.values()})
    batch.spent = read_spend(connection, key_ids, now_ms)
    query = select(api_keys.c.id, api_keys.c.plan, api_keys.c.counted_as).where(api_keys.c.id.in_(key_ids))
    for key_id, plan, counted_as in connection.execute(query):
        batch.plans[key_id] = plan
        batch.counters[key_id] = counter_of(key_id, counted_as)


def _settlement_row(settlement: Settlement, bill_: Bill, now_ms: int) -> dict[str, Any]:
    return {
        "request_id": settlement.request_id,
        "project": settlement.project,
        "key_id": settlement.key_id,
        "model": settlement.model,
        "state": settlement.state.value,
        "estimated": settlement.estimated,
        "streamed": settlement.streamed,
        "dialect": settlement.dialect,
        **_usage_row(bill_.usage),
        "cost_micro": bill_.cost_micro,
        "price_digest": settlement.price_digest,
        "price_multiplier_ppm": settlement.price_multiplier_ppm,
        "edge_session": settlement.edge_session,
        "delivered": settlement.delivered,
        "client_status": settlement.client_status,
        "admitted_at_ms": settlement.admitted_at_ms,
        "started_at_ms": settlement.started_at_ms,
        "ended_at_ms": settlement.ended_at_ms,
        "recorded_at_ms": now_ms,
    }


def _attempt_rows(settlement: Settlement, bill_: Bill) -> list[dict[str, Any]]:
    return [
        {
            "request_id": settlement.request_id,
            "index": attempt.index,
            "account": attempt.account,
            "class": attempt.cls,
            "status": attempt.status,
            **_usage_row(attempt.usage),
            "reported": attempt.reported,
            "estimated": attempt.estimated,
            "cost_micro": cost,
            "upstream_request_id": attempt.upstream_request_id,
            "upstream_model": attempt.upstream_model,
            "started_at_ms": attempt.started_at_ms,
            "first_byte_ms": attempt.first_byte_ms,
            "duration_ms": attempt.duration_ms,
        }
        for attempt, cost in zip(settlement.attempts, bill_.attempt_costs, strict=True)
    ]


def _usage_row(usage: Usage) -> dict[str, int]:
    return {name: getattr(usage, name) for name in Usage.__slots__}
