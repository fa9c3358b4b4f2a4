"""Credit: an append-only list of entries per project; the balance is their sum, kept beside them.

Every entry and the balance it leaves are written in one transaction, under the project row's lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from penstock_auth.bulk import Lookup, Rows, inserts
from penstock_auth.errors import Conflict, Invalid, NotFound
from penstock_auth.projects import unknown
from penstock_auth.stretches import in_stretches
from penstock_auth.tables import credit_entries, projects

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

MOST_MICRO_USD: Final = 10**15  # a billion dollars
_MOST_BALANCE: Final = 2**53  # beyond which Redis and clients that count in doubles would be inexact

_USED: Final = "this idempotency key was used for another entry; use a new one"


class EntryKind(StrEnum):
    """Why the balance changed."""

    TOPUP = "topup"
    CHARGE = "charge"
    REFUND = "refund"
    ADJUSTMENT = "adjustment"
    EXPIRY = "expiry"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `balance_micro` is the project's balance after it."""

    id: int
    project: str
    kind: str
    amount_micro: int
    request_id: str
    note: str
    created_at_ms: int
    balance_micro: int


_ENTRY: Final = select(
    credit_entries.c.id,
    credit_entries.c.project,
    credit_entries.c.kind,
    credit_entries.c.amount_micro,
    credit_entries.c.request_id,
    credit_entries.c.note,
    credit_entries.c.created_at_ms,
    credit_entries.c.balance_micro,
)

# Locked in order of name, as everywhere.
_LOCKED: Final = Lookup(
    [projects.c.name, projects.c.balance_micro, projects.c.version],
    projects.c.name,
    sqlite="ORDER BY name",
    postgres="ORDER BY name FOR NO KEY UPDATE",
)
_CHARGES: Final = inserts(
    credit_entries,
    [
        "project",
        "kind",
        "amount_micro",
        "request_id",
        "note",
        "idempotency_key",
        "balance_micro",
        "created_at_ms",
    ],
)
_BALANCES: Final = Rows(
    projects,
    ["balance_micro", "version", "name"],
    sqlite="UPDATE projects SET balance_micro = ?, version = ? WHERE name = ?",
    postgres="UPDATE projects SET balance_micro = r.balance_micro, version = r.version FROM {rows}"
    " WHERE projects.name = r.name",
)


def append_charges(
    connection: Connection, charges: Sequence[tuple[str, str, int]], now_ms: int
) -> dict[str, tuple[int, int]]:
    """Append a charge for each (project, request id, micro-USD); return the projects' (balance, version) after them.

    The projects exist; each request is charged once.
    """
    if not charges:
        return {}
    balances = _lock(connection, {project for project, _, _ in charges})
    after = []
    for project, _, micro_usd in in_stretches(charges):
        balance, version = balances[project]
        balance -= micro_usd
        balances[project] = balance, version + 1
        after.append(balance)
    names, request_ids, amounts = zip(*charges, strict=True)
    count = len(charges)
    _CHARGES.write(
        connection,
        (
            names,
            [EntryKind.CHARGE.value] * count,
            [-micro_usd for micro_usd in amounts],
            request_ids,
            [""] * count,
            [f"charge:{request_id}" for request_id in request_ids],
            after,
            [now_ms] * count,
        ),
    )
    _BALANCES.write(connection, (*zip(*balances.values(), strict=True), tuple(balances)))
    return balances


def add_entry(
    connection: Connection,
    *,
    project: str,
    kind: str,
    amount_micro: int,
    note: str,
    idempotency_key: str,
    now_ms: int,
) -> tuple[Entry, bool]:
    """Append an entry by hand; gives it, and False when this idempotency key has one already.

    Top-ups and refunds add, an expiry takes away, an adjustment does either. Raises Invalid, NotFound, and Conflict
    when the idempotency key belongs to another entry.
    """
    _check(kind, amount_micro, note, idempotency_key)
    found = _lock(connection, [project])
    if project not in found:
        raise NotFound(f"there is no project {project!r}; create it, or a key of it, first")
    if idempotency_key:
        before = connection.execute(
            _ENTRY.where(credit_entries.c.idempotency_key == f"entry:{idempotency_key}")
        ).first()
        if before is not None:
            known = Entry(*before)
            if (known.project, known.kind, known.amount_micro) != (project, kind, amount_micro):
                raise Conflict(_USED)
            return known, False
    balance, version = found[project]
    if abs(balance + amount_micro) > _MOST_BALANCE:
        raise Invalid("the balance would be beyond nine billion dollars")
    entry = insert(credit_entries).values(
        project=project,
        kind=kind,
        amount_micro=amount_micro,
        note=note,
        idempotency_key=f"entry:{idempotency_key}" if idempotency_key else None,
        balance_micro=balance + amount_micro,
        created_at_ms=now_ms,
    )
    try:
        entry_id = connection.execute(entry.returning(credit_entries.c.id)).scalar_one()
    except IntegrityError:  # Another auth has just used it for another project.
        raise Conflict(_USED) from None
    _BALANCES.write(connection, ([balance + amount_micro], [version + 1], [project]))
    return Entry(entry_id, project, kind, amount_micro, "", note, now_ms, balance + amount_micro), True


def list_entries(connection: Connection, project: str, limit: int) -> tuple[list[Entry], int]:
    """Return a project's newest entries, newest first, and its balance. Raises NotFound."""
    balance = connection.execute(select(projects.c.balance_micro).where(projects.c.name == project)).scalar()
    if balance is None:
        raise NotFound(unknown(project))
    rows = connection.execute(
        _ENTRY.where(credit_entries.c.project == project).order_by(credit_entries.c.id.desc()).limit(limit)
    )
    return [Entry(*row) for row in rows], balance


def _check(kind: str, amount_micro: int, note: str, idempotency_key: str) -> None:
    if kind not in {EntryKind.TOPUP, EntryKind.REFUND, EntryKind.ADJUSTMENT, EntryKind.EXPIRY}:
        raise Invalid("kind is topup, refund, adjustment or expiry")
    if amount_micro == 0 or abs(amount_micro) > MOST_MICRO_USD:
        raise Invalid("the amount is zero, or beyond a billion dollars")
    if kind in {EntryKind.TOPUP, EntryKind.REFUND} and amount_micro < 0:
        raise Invalid(f"a {kind} adds: give a positive amount, or make an adjustment")
    if kind == EntryKind.EXPIRY and amount_micro > 0:
        raise Invalid("an expiry takes away: give a negative amount")
    if len(note) > 500 or "\0" in note:
        raise Invalid("a note has at most 500 characters, none of them NUL")
    if len(idempotency_key) > 190 or "\0" in idempotency_key:
        raise Invalid("an idempotency key has at most 190 characters, none of them NUL")


def _lock(connection: Connection, names: Collection[str]) -> dict[str, tuple[int, int]]:
    """Lock project rows in order of name; gives their (balance, version)."""
    return {name: (balance, version) for name, balance, version in _LOCKED.find(connection, names)}
