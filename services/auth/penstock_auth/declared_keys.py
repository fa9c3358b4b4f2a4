"""Declared keys: read off the catalog, and kept in SQL beside the others, for the ledger's sake.

A key that was rotated is two for a while: the one in force and the one before. They are one key in all that counts:
project, plan, limits, spend and name; the ledger's rows name the one that was used. All keys that one `APIKey` resource
ever had share the limits and the spend of its first (`counted_as`), so that a rotation opens no new budget.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, update

from penstock_auth import projects as project_rows
from penstock_auth import statements
from penstock_auth.errors import Invalid
from penstock_auth.keys import Key, KeyState, Source
from penstock_auth.tables import api_keys, projects

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Column, Connection

    from penstock_catalog.documents import DeclaredKey

_FACTS: Final = tuple(each.name for each in fields(Key))
_CHUNK: Final = 1000


@dataclass(frozen=True, slots=True)
class Recorded:
    """`refused` are ids that cannot be in force; `counted_as` is by id, for keys that share another's limits."""

    refused: tuple[str, ...] = ()
    counted_as: Mapping[str, str] = field(default_factory=dict)


AS_DECLARED: Final = Recorded()
"""Nothing was refused, and every key counts for itself."""


def keys_of(declared: DeclaredKey) -> list[Key]:
    """Read a key off the catalog: the one before it first, if that may still be used."""
    key = Key(
        id=declared.id,
        digest=bytes.fromhex(declared.digest),
        prefix=declared.prefix,
        project=declared.project,
        plan=declared.plan,
        name=declared.name,
        state=(KeyState.ACTIVE if declared.mode == "Active" else KeyState.DISABLED).value,
        source=Source.DECLARED.value,
        expires_at_ms=declared.expires_at_ms,
        spend_limit_micro=declared.spend_limit_micro,
        spend_limit_period=declared.spend_limit_period,
        created_at_ms=0,
    )
    before = declared.previous
    if before is None:
        return [key]
    end_ms = min(key.expires_at_ms or before.expires_at_ms, before.expires_at_ms)
    replaced = key.state == KeyState.ACTIVE and end_ms == before.expires_at_ms
    earlier = replace(
        key,
        id=before.id,
        digest=bytes.fromhex(before.digest),
        prefix=before.prefix,
        state=KeyState.REPLACED.value if replaced else key.state,
        expires_at_ms=end_ms,
    )
    return [earlier, key]


def record_declared(connection: Connection, declared: Iterable[DeclaredKey], now_ms: int) -> Recorded:
    """Write down what differs from what SQL knows of the catalog's keys.

    Keys that left the catalog become Withdrawn. Refused is whose id or digest another key has, or whose project no
    project can be named.
    """
    wanted = {key.id: key for each in declared for key in keys_of(each)}
    known = _Known(connection, wanted.values())
    refused = [key.id for key in wanted.values() if not known.record(key, now_ms)]
    known.insert()
    known.withdraw(wanted.keys())
    shared = {key_id: known.counted_as[key_id] for key_id in wanted if known.counted_as.get(key_id)}
    return Recorded(tuple(sorted(refused)), shared)


class _Known:
    """The declared keys in SQL, and whatever else the wanted ones may meet there.

    All is read at once, and new keys are written at once: a catalog of thousands changes in one transaction, which has
    no more time than any other.
    """

    def __init__(self, connection: Connection, wanted: Collection[Key]) -> None:
        self._connection = connection
        query = select(*(api_keys.c[name] for name in _FACTS)).where(api_keys.c.source == Source.DECLARED.value)
        found = [Key(*row) for row in connection.execute(query.order_by(api_keys.c.created_at_ms, api_keys.c.id))]
        self._keys = {key.id: key for key in found}
        self._new: dict[str, Key] = {}
        news = [key for key in wanted if (known := self._keys.get(key.id)) is None or known.digest != key.digest]
        # Who has an id that is no declared key's, and who has a digest.
        self._foreign = set(self._there(api_keys.c.id, [key.id for key in news])) - self._keys.keys()
        digests = [key.digest for key in news]
        self._owners = {key.digest: key.id for key in found}
        for start in range(0, len(digests), _CHUNK):
            some = api_keys.c.digest.in_(digests[start : start + _CHUNK])
            owners = connection.execute(select(api_keys.c.digest, api_keys.c.id).where(some))
            self._owners |= {digest: key_id for digest, key_id in owners}  # noqa: C416 -- dict() of rows has no type
        names = sorted({key.project for key in news})
        self._projects = set(self._there(projects.c.name, names))
        self.counted_as = {key.id: key.counted_as for key in found}
        # The newest of each name knows as what its successors are counted.
        self._budgets = {(key.project, key.name): key.counted_as or key.id for key in found}

    def record(self, key: Key, now_ms: int) -> bool:
        """Insert or update one key; False when that cannot be."""
        before = self._keys.get(key.id)
        if before is not None:
            key = replace(key, created_at_ms=before.created_at_ms, counted_as=before.counted_as)
            if key == before:
                return True
        if (before is None or before.digest != key.digest) and self._taken(key):
            return False
        if (before is None or before.project != key.project) and not self._ensure(key.project, now_ms):
            return False
        if before is None:
            key = replace(key, created_at_ms=now_ms, counted_as=self._budgets.get((key.project, key.name), ""))
            self._new[key.id] = key
        else:
            self._connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(**_row(key)))
            self._owners.pop(before.digest, None)
        self._keys[key.id] = key
        self._owners[key.digest] = key.id
        self.counted_as[key.id] = key.counted_as
        self._budgets[key.project, key.name] = key.counted_as or key.id
        return True

    def insert(self) -> None:
        """Write the new keys down."""
        rows = [_row(key) for key in self._new.values()]
        for start in range(0, len(rows), _CHUNK):
            # Another auth may be at the same catalog.
            self._connection.execute(statements.insert_new(self._connection, api_keys), rows[start : start + _CHUNK])

    def withdraw(self, wanted: Iterable[str]) -> None:
        """Note that keys have left the catalog."""
        gone = sorted(self._keys.keys() - set(wanted))
        gone = [key_id for key_id in gone if self._keys[key_id].state != KeyState.WITHDRAWN]
        for start in range(0, len(gone), _CHUNK):
            some = api_keys.c.id.in_(gone[start : start + _CHUNK])
            self._connection.execute(update(api_keys).where(some).values(state=KeyState.WITHDRAWN.value))

    def _taken(self, key: Key) -> bool:
        return key.id in self._foreign or self._owners.get(key.digest, key.id) != key.id

    def _ensure(self, project: str, now_ms: int) -> bool:
        if project in self._projects:
            return True
        try:
            project_rows.ensure(self._connection, project, now_ms)
        except Invalid:
            return False
        self._projects.add(project)
        return True

    def _there(self, column: Column[str], values: Sequence[str]) -> Iterator[str]:
        for start in range(0, len(values), _CHUNK):
            some = values[start : start + _CHUNK]
            yield from self._connection.scalars(select(column).where(column.in_(some)))


def _row(key: Key) -> dict[str, Any]:
    return {name: getattr(key, name) for name in _FACTS}
