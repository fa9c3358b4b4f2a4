"""The newest changes where replicas read them that are cut off from SQL alone: beside the counters.

Whoever reads the log of changes posts what is new in it, under its number there, so posting twice is harmless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from penstock_auth.changes import Change, ChangeKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from penstock_auth.scripts import Runner

KEY: Final = "penstock:{counters}:changes"
MOST: Final = 500
"""As many as the log's readers look back over. The lowest numbers go first."""
LIFE_MS: Final = 1_000_000
"""After somebody posted: longer than any replica goes on with a key that it cannot read."""


class Posted(NamedTuple):
    """A change with its number in the log."""

    number: int
    change: Change


class Bulletin(Protocol):
    """At most `MOST` changes. Both methods raise StoreDown, StoreRefused."""

    async def post(self, changes: Sequence[Posted], oldest: int) -> None:
        """Add changes, in the order of their numbers; what is older than `oldest` goes. Repeating it is harmless."""
        ...

    async def read(self) -> list[Posted]:
        """Return what is there, by number."""
        ...


class MemoryBulletin:
    """A `Bulletin` for one process."""

    def __init__(self) -> None:
        self._posted: dict[int, Posted] = {}

    async def post(self, changes: Sequence[Posted], oldest: int) -> None:
        """See `Bulletin.post`."""
        self._posted |= {each.number: each for each in changes}
        self._posted = {number: self._posted[number] for number in sorted(self._posted)[-MOST:] if number >= oldest}

    async def read(self) -> list[Posted]:
        """See `Bulletin.read`."""
        return list(self._posted.values())


class RedisBulletin:
    """A `Bulletin` in Redis: one sorted set, in the slot of the epoch."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def post(self, changes: Sequence[Posted], oldest: int) -> None:
        """See `Bulletin.post`."""
        words = [word for each in changes[-MOST:] for word in (str(each.number), _written(each))]
        if words:
            await self._runner.command(KEY, "ZADD", KEY, *words)
        await self._runner.command(KEY, "ZREMRANGEBYSCORE", KEY, "-inf", f"({oldest}")
        await self._runner.command(KEY, "ZREMRANGEBYRANK", KEY, "0", str(-MOST - 1))
        await self._runner.command(KEY, "PEXPIRE", KEY, str(LIFE_MS))

    async def read(self) -> list[Posted]:
        """See `Bulletin.read`."""
        return [_read(each) for each in await self._runner.command(KEY, "ZRANGE", KEY, "0", "-1")]


def unheard(posted: Sequence[Posted], known: Collection[int], last: int) -> list[Posted]:
    """Return what is news to a reader who knew all up to about `last`, and of the last `MOST` of that those `known`.

    Where others may have been pushed out that it never saw, that is one change of everything, under the last number.
    """
    fresh = [each for each in posted if each.number > last - MOST and each.number not in known]
    if len(posted) >= MOST and len(fresh) == len(posted) and fresh[0].number > last:
        return [Posted(fresh[-1].number, Change(ChangeKind.EVERYTHING))]
    return fresh


def _written(posted: Posted) -> str:
    return f"{posted.number} {posted.change.kind} {posted.change.subject}"


def _read(member: bytes | str) -> Posted:
    number, kind, subject = (member.decode() if isinstance(member, bytes) else member).split(" ", 2)
    return Posted(int(number), Change(ChangeKind(kind), subject))
