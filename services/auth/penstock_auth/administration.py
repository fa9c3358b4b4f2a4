"""Administrative acts: each in one transaction with its line in the audit, then told to the edges at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from penstock_auth import audit, change_log, credit, keys, projects
from penstock_auth.changes import Change, ChangeKind
from penstock_auth.errors import Invalid, NotFound
from penstock_auth.spend import read_spend
from penstock_catalog import api_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from penstock_auth.changes import ChangeHub
    from penstock_auth.credit import Entry
    from penstock_auth.database import Database
    from penstock_auth.key_book import KeyBook
    from penstock_auth.keys import Key, KeyOrder
    from penstock_auth.projects import Project

T = TypeVar("T")


class Administration:
    """Acts on projects, keys and credit. `random_bytes` makes secrets; `now_ms` gives Unix ms."""

    def __init__(
        self,
        database: Database,
        key_book: KeyBook,
        changes: ChangeHub,
        *,
        key_prefix: str,
        random_bytes: Callable[[int], bytes],
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._keys = key_book
        self._changes = changes
        self._prefix = key_prefix
        self._random_bytes = random_bytes
        self._now_ms = now_ms

    async def create_project(self, name: str, actor: str) -> Project:
        """Make a project; one that exists is given as it is. Raises Invalid."""

        def act(connection: Connection, now_ms: int) -> Project:
            if projects.ensure(connection, name, now_ms):
                audit.note(connection, actor, "project.create", name, now_ms)
            found = projects.get(connection, name)
            if found is None:
                raise NotFound(f"there is no project {name!r}")
            return found

        return await self._write(act, repeatable=True)

    async def create_key(self, order: KeyOrder, actor: str) -> tuple[Key, str]:
        """Make a key; gives it with its text, which is nowhere else. Raises Invalid, NotFound, TooMany."""
        plan = self._keys.catalog.plans.get(order.plan)
        if plan is None:
            raise NotFound(f"there is no plan {order.plan!r}; list the plans to see their names")
        text = api_key.generate(self._prefix, self._random_bytes)

        def act(connection: Connection, now_ms: int) -> Key:
            key = keys.create(connection, order, text, plan.max_keys_per_project, now_ms)
            audit.note(connection, actor, "key.create", key.id, now_ms)
            return key

        return await self._write(act), text.text

    async def disable_key(self, key_id: str, actor: str) -> Key:
        """Disable a key; edges hear of it at once. Raises NotFound, Conflict."""

        def act(connection: Connection, now_ms: int) -> Key:
            key = keys.disable(connection, key_id)
            audit.note(connection, actor, "key.disable", key.id, now_ms)
            self._log(connection, _of_key(key), now_ms)
            return key

        key = await self._write(act, repeatable=True)
        self._tell(key)
        return key

    async def rotate_key(self, key_id: str, overlap_seconds: int, actor: str) -> tuple[Key, int, str]:
        """Replace a key; gives the new one, what counts as spent of it, and its text, which is nowhere else.

        Raises NotFound, Invalid, Conflict, TooMany.
        """
        text = api_key.generate(self._prefix, self._random_bytes)

        def act(connection: Connection, now_ms: int) -> tuple[Key, Key, int]:
            new, old = keys.rotate(connection, key_id, text, overlap_seconds, self._most_keys, now_ms)
            audit.note(connection, actor, "key.rotate", f"{old.id} -> {new.id}", now_ms)
            self._log(connection, _of_key(old), now_ms)
            # Asked here, as the text would be lost with an answer that came to nothing afterwards.
            return new, old, read_spend(connection, [new.id], now_ms)[new.id].micro_usd

        new, old, spent = await self._write(act)
        self._tell(old)
        return new, spent, text.text

    async def add_credit(
        self, project: str, *, kind: str, amount_micro: int, note: str, idempotency_key: str, actor: str
    ) -> Entry:
        """Append a credit entry; repeating it with its idempotency key gives the first. Raises Invalid, NotFound."""
        change = Change(ChangeKind.PROJECT, project)

        def act(connection: Connection, now_ms: int) -> Entry:
            entry, fresh = credit.add_entry(
                connection,
                project=project,
                kind=kind or credit.EntryKind.TOPUP,
                amount_micro=amount_micro,
                note=note,
                idempotency_key=idempotency_key,
                now_ms=now_ms,
            )
            if fresh:
                audit.note(connection, actor, f"credit.{entry.kind}", f"{project} {amount_micro}", now_ms)
                self._log(connection, change, now_ms)
            return entry

        entry = await self._write(act, repeatable=bool(idempotency_key))
        self._changes.publish(change)
        return entry

    async def get_key(self, key_id: str) -> tuple[Key, int]:
        """Return a key and what it has spent in its current period. Raises NotFound."""
        now_ms = self._now_ms()

        def look(connection: Connection) -> tuple[Key, int]:
            key = keys.get(connection, _plain(key_id))
            return key, read_spend(connection, [key.id], now_ms)[key.id].micro_usd

        return await self._database.read(look)

    async def list_keys(self, project: str) -> list[tuple[Key, int]]:
        """Return a project's keys, or all for `""`, with what each has spent in its period. Raises NotFound."""
        now_ms = self._now_ms()

        def look(connection: Connection) -> list[tuple[Key, int]]:
            projects.expect(connection, _plain(project))
            found = keys.list_keys(connection, project)
            spent = read_spend(connection, [key.id for key in found], now_ms) if found else {}
            return [(key, spent[key.id].micro_usd) for key in found]

        return await self._database.read(look)

    async def _write(self, act: Callable[[Connection, int], T], *, repeatable: bool = False) -> T:
        now_ms = self._now_ms()
        return await self._database.write(lambda connection: act(connection, now_ms), repeatable=repeatable)

    def _most_keys(self, plan: str) -> int:
        found = self._keys.catalog.plans.get(plan)
        return found.max_keys_per_project if found is not None else 0

    def _log(self, connection: Connection, change: Change, now_ms: int) -> None:
        """Tell the other replicas, where there may be any."""
        if self._database.shared:
            change_log.write(connection, change, now_ms)

    def _tell(self, key: Key) -> None:
        self._keys.doubt(key.digest)
        self._changes.publish(_of_key(key))


def _of_key(key: Key) -> Change:
    return Change(ChangeKind.KEY, key.digest.hex())


def _plain(text: str) -> str:
    if "\0" in text:
        raise Invalid("a name holds no NUL character")
    return text
