"""API keys in SQL: made, found by digest, disabled, rotated. The text of a key is given once and never stored.

A key is looked up by the SHA-256 of its text, so the time of a look-up says nothing about the text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, insert, select, update

from penstock_auth import projects as project_rows
from penstock_auth.errors import Conflict, Invalid, NotFound, TooMany
from penstock_auth.spend import MONTH, TOTAL
from penstock_auth.tables import api_keys, projects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from penstock_catalog.api_key import ApiKey

_MOST_MS: Final = 253_402_300_800_000
_MOST_MICRO_USD: Final = 10**15
_CHUNK: Final = 1000


class KeyState(StrEnum):
    """What was done to a key; `Expired` is read off the clock. A withdrawn key has left the catalog.

    A replaced one goes on as what a key was before its rotation, and is as good as disabled when its time is over: who
    sends it is to look for the new one.
    """

    ACTIVE = "Active"
    DISABLED = "Disabled"
    EXPIRED = "Expired"
    WITHDRAWN = "Withdrawn"
    REPLACED = "Replaced"


class Source(StrEnum):
    """Where a key comes from."""

    SELF_SERVICE = "SelfService"
    DECLARED = "Declared"


@dataclass(frozen=True, slots=True)
class Key:
    """A key's facts. `prefix` may be shown; times in Unix ms and money in micro-USD, 0: none."""

    id: str
    digest: bytes
    prefix: str
    project: str
    plan: str
    name: str
    state: str
    source: str
    expires_at_ms: int
    spend_limit_micro: int
    spend_limit_period: str
    created_at_ms: int
    counted_as: str = ""

    @property
    def counter(self) -> str:
        """Its name in the counters: with the key before it whose limits and spend it shares, if it does."""
        return counter_of(self.id, self.counted_as)

    def state_at(self, now_ms: int) -> KeyState:
        """Return what the key is now."""
        if self.state not in {KeyState.ACTIVE, KeyState.REPLACED}:
            return KeyState(self.state)
        if not 0 < self.expires_at_ms <= now_ms:
            return KeyState.ACTIVE
        return KeyState.EXPIRED if self.state == KeyState.ACTIVE else KeyState.DISABLED


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """What a new key shall be."""

    project: str
    plan: str
    name: str = ""
    expires_at_ms: int = 0
    spend_limit_micro: int = 0
    spend_limit_period: str = TOTAL

    def check(self, now_ms: int) -> None:
        """Raise Invalid for what makes no sense."""
        project_rows.check_name(self.project)
        if len(self.name) > 253 or "\0" in self.name:
            raise Invalid("a key's name has at most 253 characters, none of them NUL")
        if self.expires_at_ms and not now_ms < self.expires_at_ms < _MOST_MS:
            raise Invalid("the key would expire in the past; give a later time, or none")
        if not 0 <= self.spend_limit_micro <= _MOST_MICRO_USD:
            raise Invalid("the spend limit is negative, or beyond a billion dollars")
        if self.spend_limit_period not in {TOTAL, MONTH}:
            raise Invalid("the period of a spend limit is Total or Month")


def counter_of(key_id: str, counted_as: str) -> str:
    """Name a key in the counters."""
    return f"{counted_as}/{key_id}" if counted_as not in {"", key_id} else key_id


_KEY: Final = select(
    api_keys.c.id,
    api_keys.c.digest,
    api_keys.c.prefix,
    api_keys.c.project,
    api_keys.c.plan,
    api_keys.c.name,
    api_keys.c.state,
    api_keys.c.source,
    api_keys.c.expires_at_ms,
    api_keys.c.spend_limit_micro,
    api_keys.c.spend_limit_period,
    api_keys.c.created_at_ms,
    api_keys.c.counted_as,
)


def find_by_digest(connection: Connection, digest: bytes) -> Key | None:
    """Find the key with this digest, whatever its state."""
    return _one(connection.execute(_KEY.where(api_keys.c.digest == digest)).first())


def find_by_digests(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, Key]:
    """Find many at once, by digest; unknown ones are absent."""
    found = {}
    for start in range(0, len(digests), _CHUNK):
        some = api_keys.c.digest.in_(digests[start : start + _CHUNK])
        found.update({key.digest: key for key in map(_key, connection.execute(_KEY.where(some)))})
    return found


def _unknown() -> NotFound:
    """Say that no key has an id, without the id: it may be the key itself, given for it by mistake."""
    return NotFound("there is no key with this id; list the keys to see their ids")


def get(connection: Connection, key_id: str) -> Key:
    """Return a key by its public id. Raises NotFound."""
    found = _one(connection.execute(_KEY.where(api_keys.c.id == key_id)).first())
    if found is None:
        raise _unknown()
    return found


def list_keys(connection: Connection, project: str) -> list[Key]:
    """Return a project's keys (all keys, for `""`), oldest first."""
    query = _KEY.order_by(api_keys.c.created_at_ms, api_keys.c.id)
    if project:
        query = query.where(api_keys.c.project == project)
    return [_key(row) for row in connection.execute(query)]


def create(connection: Connection, order: KeyOrder, text: ApiKey, most: int, now_ms: int) -> Key:
    """Store a new key, and its project if that is new. Raises Invalid, and TooMany beyond `most` keys in use."""
    order.check(now_ms)
    project_rows.ensure(connection, order.project, now_ms)
    if _in_use(connection, order.project, KeyState.ACTIVE, now_ms) >= most:
        raise TooMany(f"project {order.project!r} has {most} keys, the most its plan allows; disable one first")
    key = Key(
        text.id,
        text.digest,
        text.shown,
        order.project,
        order.plan,
        order.name,
        KeyState.ACTIVE.value,
        Source.SELF_SERVICE.value,
        order.expires_at_ms,
        order.spend_limit_micro,
        order.spend_limit_period,
        now_ms,
    )
    connection.execute(insert(api_keys).values(**_row(key)))
    return key


def disable(connection: Connection, key_id: str) -> Key:
    """Disable a key for good; doing it twice is harmless. Raises NotFound, Conflict for a declared key."""
    key = _own(connection, key_id)
    return _set(connection, key, state=KeyState.DISABLED.value)


def rotate(
    connection: Connection, key_id: str, text: ApiKey, overlap_seconds: int, most_of: Callable[[str], int], now_ms: int
) -> tuple[Key, Key]:
    """Make a key with the same facts, and end the old one after the overlap; gives (new, old).

    Both share the limits and the spend of the first of them. `most_of(plan)` keys of a project may be in their overlap.
    Raises NotFound, Invalid, TooMany, and Conflict for a declared key, one that is not active or was rotated already.
    """
    if not 0 <= overlap_seconds <= 30 * 86_400:
        raise Invalid("the overlap is 0 seconds to 30 days")
    old = _own(connection, key_id)
    _expect_rotatable(old, now_ms)
    if overlap_seconds:
        most = most_of(old.plan)
        if _in_use(connection, old.project, KeyState.REPLACED, now_ms) >= most:
            raise TooMany(
                f"project {old.project!r} has as many replaced keys in use as its plan allows keys ({most}); "
                "rotate without an overlap, or disable one of them first"
            )
    first = old.counted_as or old.id
    new = replace(old, id=text.id, digest=text.digest, prefix=text.shown, created_at_ms=now_ms, counted_as=first)
    connection.execute(insert(api_keys).values(**_row(new)))
    if overlap_seconds == 0:
        return new, _set(connection, old, state=KeyState.DISABLED.value)
    end_ms = now_ms + overlap_seconds * 1000
    end_ms = min(old.expires_at_ms or end_ms, end_ms)
    return new, _set(connection, old, state=KeyState.REPLACED.value, expires_at_ms=end_ms)


def _expect_rotatable(key: Key, now_ms: int) -> None:
    if key.state_at(now_ms) is not KeyState.ACTIVE:
        raise Conflict(f"key {key.id!r} is {key.state_at(now_ms).lower()}; create a new key instead")
    if key.state == KeyState.REPLACED:
        raise Conflict(f"key {key.id!r} was rotated already; rotate the key that replaced it")


def _own(connection: Connection, key_id: str) -> Key:
    """Return a key that may be changed here, with its row locked."""
    found = _one(connection.execute(_KEY.where(api_keys.c.id == key_id).with_for_update(key_share=True)).first())
    if found is None:
        raise _unknown()
    if found.source == Source.DECLARED:
        raise Conflict(f"key {key_id!r} is declared by the APIKey resource {found.name!r}; change that resource")
    return found


def _set(connection: Connection, key: Key, **facts: Any) -> Key:
    connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(**facts))
    return replace(key, **facts)


def _in_use(connection: Connection, project: str, state: KeyState, now_ms: int) -> int:
    """Count the project's keys in a state that may be used, and keep others from adding to them meanwhile."""
    # The lock keeps two calls from both taking the last place.
    connection.execute(select(projects.c.name).where(projects.c.name == project).with_for_update(key_share=True))
    counted = select(func.count()).where(
        api_keys.c.project == project,
        api_keys.c.state == state.value,
        (api_keys.c.expires_at_ms == 0) | (api_keys.c.expires_at_ms > now_ms),
    )
    return connection.execute(counted).scalar_one()


def _row(key: Key) -> dict[str, Any]:
    return {name: getattr(key, name) for name in Key.__slots__}


def _one(row: Any) -> Key | None:
    return _key(row) if row is not None else None


def _key(row: Any) -> Key:
    return Key(*row)
