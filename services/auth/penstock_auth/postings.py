"""The ledger's statements: a batch of settlements becomes rows, charges and running sums in one transaction.

Idempotent by request id: what is committed is answered as it stands. Poison goes to quarantine row by row. Locks are
taken in one order everywhere (settlements by id, projects by name, spend by key), so that batches never deadlock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_auth import statements
from penstock_auth.bulk import Cells, Lookup, inserts
from penstock_auth.counters import Versioned
from penstock_auth.credit import append_charges
from penstock_auth.keys import counter_of
from penstock_auth.pricing import Usage
from penstock_auth.settlement import ATTEMPTS, SETTLEMENTS, USAGES, Bill, Poison, Settlement, bill, check, sound
from penstock_auth.spend import add_spend, spent_by
from penstock_auth.stretches import in_stretches, stretches
from penstock_auth.tables import api_keys, attempts, projects, quarantine, settlements

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

    from penstock_auth.price_book import Prices
    from penstock_catalog.prices import PriceRow

USAGE_COLUMNS: Final = (
    settlements.c.input_tokens,
    settlements.c.output_tokens,
    settlements.c.cache_read_input_tokens,
    settlements.c.cache_write_5m_input_tokens,
    settlements.c.cache_write_1h_input_tokens,
)
_COMMITTED: Final = Lookup(
    [
        settlements.c.request_id,
        settlements.c.project,
        settlements.c.key_id,
        settlements.c.edge_session,
        settlements.c.admitted_at_ms,
        settlements.c.cost_micro,
        *USAGE_COLUMNS,
    ],
    settlements.c.request_id,
)
_PROJECTS: Final = Lookup([projects.c.name, projects.c.balance_micro, projects.c.version], projects.c.name)
_KEYS: Final = Lookup(
    [api_keys.c.id, api_keys.c.plan, api_keys.c.counted_as, api_keys.c.spend_limit_period], api_keys.c.id
)
_USAGE: Final = [column.name for column in USAGE_COLUMNS]
# What a row takes from the settlement, or the attempt, as it stands there: columns and fields bear one name.
_FACTS: Final = (
    "request_id",
    "project",
    "key_id",
    "model",
    "dialect",
    "price_digest",
    "price_multiplier_ppm",
    "edge_session",
    "delivered",
    "client_status",
    "admitted_at_ms",
    "started_at_ms",
    "ended_at_ms",
)
_TRIED: Final = (
    "index",
    "account",
    "status",
    "upstream_request_id",
    "upstream_model",
    "started_at_ms",
    "first_byte_ms",
    "duration_ms",
)
# A row that another auth inserted meanwhile is left to it. A file has one writer: nothing comes between.
_SETTLEMENTS: Final = inserts(
    settlements,
    [*_FACTS, "state", "estimated", "streamed", *_USAGE, "cost_micro", "recorded_at_ms"],
    postgres="ON CONFLICT DO NOTHING RETURNING request_id",
)
_ATTEMPTS: Final = inserts(attempts, ["request_id", *_TRIED, "class", "reported", "estimated", *_USAGE, "cost_micro"])


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A settlement with its encoding, which is what quarantine keeps. `settlement` is None when it cannot be read."""

    request_id: str
    edge_session: str
    raw: Callable[[], bytes]
    settlement: Settlement | None
    problem: Poison | None = None


class Row(msgspec.Struct, frozen=True, gc=False):
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
        if len(batches) == 1:
            return [self]
        fresh, rows, quarantined = set(self.fresh), self.rows, self.quarantined
        parts = []
        for ids in batches:
            parts.append(
                Batch(
                    rows={request_id: rows[request_id] for request_id in ids if request_id in rows},
                    fresh=fresh.intersection(ids),
                    quarantined={
                        request_id: quarantined[request_id] for request_id in ids if request_id in quarantined
                    },
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
    store_ms: int,
    *,
    prices: Prices,
    price_may_come: Callable[[str], bool],
) -> Batch:
    """Write a batch. `price_may_come(digest)`: whether an unknown price is worth waiting for, instead of quarantine.

    `store_ms` is the time by which requests were admitted, and the month in which they were.
    """
    batch = Batch()
    batch.rows = _committed(connection, [each.request_id for each in incoming])
    fresh: dict[str, Incoming] = {}
    for each in in_stretches(incoming):
        if each.request_id not in batch.rows:
            fresh.setdefault(each.request_id, each)
    passed, poisoned = _checked(fresh)
    known = _References(connection, passed, list(batch.rows.values()), prices)
    billed = _billed(passed, known, price_may_come, poisoned)
    if poisoned:
        _quarantine(connection, [(fresh[request_id], poison) for request_id, poison in poisoned.items()], now_ms)
        batch.quarantined = {request_id: (poison.kind, str(poison)) for request_id, poison in poisoned.items()}
    if billed:
        _insert(connection, billed, known, batch, now_ms)
    _figures(connection, batch, known, store_ms)
    return batch


def lock_away(connection: Connection, each: Incoming, poison: Poison, now_ms: int) -> Batch:
    """Put one settlement into quarantine."""
    _quarantine(connection, [(each, poison)], now_ms)
    return Batch(quarantined={each.request_id: (poison.kind, str(poison))})


def _committed(connection: Connection, request_ids: Sequence[str]) -> dict[str, Row]:
    ids = {request_id for request_id in request_ids if "\0" not in request_id}
    return {
        row[0]: Row(row[0], row[1], row[2], row[3], row[4], row[5], Usage(*row[6:]))
        for row in _COMMITTED.find(connection, ids)
    }


def _checked(fresh: dict[str, Incoming]) -> tuple[list[Settlement], dict[str, Poison]]:
    """Return what any ledger could hold, in order of id, and what none could."""
    readable = [each.settlement for _, each in sorted(fresh.items()) if each.settlement is not None]
    poisoned = {
        request_id: each.problem or Poison("malformed", "it cannot be read")
        for request_id, each in fresh.items()
        if each.settlement is None
    }
    if all(map(sound, stretches(readable))):
        return readable, poisoned
    passed: list[Settlement] = []
    for settlement in readable:
        try:
            check(settlement)
        except Poison as poison:
            poisoned[settlement.request_id] = poison
        else:
            passed.append(settlement)
    return passed, poisoned


class _References:
    """What is known of the projects, keys and prices of some settlements, and of the rows of others."""

    def __init__(
        self, connection: Connection, passed: Sequence[Settlement], rows: Sequence[Row], prices: Prices
    ) -> None:
        self._project_names: set[str] = set()
        self._key_ids: set[str] = set()
        self._prices = prices.find(connection, {each.price_digest for each in passed if each.price_digest})
        self.read(connection, (*passed, *rows))

    def read(self, connection: Connection, those: Collection[Settlement | Row]) -> None:
        """Read projects (balance, version) and keys (plan, counted as, period) as they are now, `those` too."""
        self._project_names.update([each.project for each in those])
        self._key_ids.update([each.key_id for each in those])
        self.projects = {
            name: (balance, version) for name, balance, version in _PROJECTS.find(connection, self._project_names)
        }
        self.keys = {
            key_id: (plan, counted_as, period)
            for key_id, plan, counted_as, period in _KEYS.find(connection, self._key_ids)
        }

    def price(self, settlement: Settlement) -> PriceRow | None:
        return self._prices.get(settlement.price_digest)

    def require(self, settlement: Settlement) -> None:
        """Raise Poison for a project or key that is not known."""
        if settlement.project not in self.projects:
            raise Poison("unknown_project", f"no project is named {settlement.project[:63]!r}")
        if settlement.key_id not in self.keys:
            raise Poison("unknown_key", "no key has its key id")


def _billed(
    passed: Sequence[Settlement],
    known: _References,
    price_may_come: Callable[[str], bool],
    poisoned: dict[str, Poison],
) -> list[tuple[Settlement, Bill]]:
    """Bill what can be committed; the rest is added to what is poisoned, or waits for its price.

    Where no digest is named, the model had no price then.
    """
    billed = []
    for settlement in in_stretches(passed):
        try:
            price = known.price(settlement)
            if price is None and settlement.price_digest and settlement.needs_price:
                if price_may_come(settlement.price_digest):
                    continue
                known.require(settlement)
                raise Poison("unknown_price", f"no price row has the digest {settlement.price_digest!r}")  # noqa: TRY301 -- as any other
            known.require(settlement)
            billed.append((settlement, bill(settlement, price)))
        except Poison as poison:
            poisoned[settlement.request_id] = poison
    return billed


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
    connection: Connection,
    billed: Sequence[tuple[Settlement, Bill]],
    known: _References,
    batch: Batch,
    now_ms: int,
) -> None:
    """Insert rows, in order of id, with their attempts and charges."""
    returned = _SETTLEMENTS.write(connection, _settlement_columns(billed, now_ms))
    batch.fresh = {s.request_id for s, _ in billed} if returned is None else {row[0] for row in returned}
    if len(batch.fresh) < len(billed):
        found = _committed(connection, [s.request_id for s, _ in billed if s.request_id not in batch.fresh])
        batch.rows |= found
        known.read(connection, found.values())
        billed = [(s, b) for s, b in billed if s.request_id in batch.fresh]
    _ATTEMPTS.write(connection, _attempt_columns(billed))
    for s, b in in_stretches(billed):
        batch.rows[s.request_id] = Row(
            s.request_id, s.project, s.key_id, s.edge_session, s.admitted_at_ms, b.cost_micro, b.usage
        )
    charged = [(s, b.cost_micro) for s, b in billed if b.cost_micro]
    known.projects |= append_charges(connection, [(s.project, s.request_id, cost) for s, cost in charged], now_ms)
    counted_as = {key_id: counted_as for key_id, (_, counted_as, _) in known.keys.items()}
    add_spend(connection, [(s.key_id, s.admitted_at_ms, cost) for s, cost in charged], counted_as)


def _figures(connection: Connection, batch: Batch, known: _References, store_ms: int) -> None:
    """Give balances and spend as this transaction leaves them, for the counters."""
    rows = batch.rows.values()
    batch.balances = {
        name: Versioned(*known.projects[name]) for name in {row.project for row in rows} & known.projects.keys()
    }
    budgets = {}
    for key_id in {row.key_id for row in rows} & known.keys.keys():
        plan, counted_as, period = known.keys[key_id]
        batch.plans[key_id] = plan
        batch.counters[key_id] = counter_of(key_id, counted_as)
        budgets[key_id] = counted_as or key_id, period
    batch.spent = spent_by(connection, budgets, store_ms)


def _settlement_columns(billed: Sequence[tuple[Settlement, Bill]], now_ms: int) -> Cells:
    facts = SETTLEMENTS.columns([settlement for settlement, _ in billed])
    usage = USAGES.columns([each.usage for _, each in billed])
    return (
        *(facts[name] for name in _FACTS),
        [state.value for state in facts["state"]],
        list(map(int, facts["estimated"])),
        list(map(int, facts["streamed"])),
        *usage.values(),
        [each.cost_micro for _, each in billed],
        [now_ms] * len(billed),
    )


def _attempt_columns(billed: Sequence[tuple[Settlement, Bill]]) -> Cells:
    facts = ATTEMPTS.columns([attempt for settlement, _ in billed for attempt in settlement.attempts])
    return (
        [settlement.request_id for settlement, _ in billed for _ in settlement.attempts],
        *(facts[name] for name in _TRIED),
        facts["cls"],
        list(map(int, facts["reported"])),
        list(map(int, facts["estimated"])),
        *USAGES.columns(facts["usage"]).values(),
        [cost for _, each in billed for cost in each.attempt_costs],
    )
