"""Windows in Redis out of the ledger: all of a project's after a loss, or some beside those in force (`recounting`).

A recount holds a lock in the project's facts. Meanwhile its settlements wait, so that what the ledger had when it was
read is just what the counters have been told. One that its auth did not end is over after `LOCKED_MS`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from penstock_auth import allowances, recounting
from penstock_auth.allowances import PROJECT
from penstock_auth.counters import Kind, Scope, StoreDown
from penstock_auth.script_messages import Keys, row_adds
from penstock_auth.scripts import Script
from penstock_auth.stretches import stretches
from penstock_auth.windows import bucket_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from penstock_auth.counters import LedgerRow, Limit, ProjectHistory, Truth

ROWS_AT_ONCE: Final = 500
KEYS_AT_ONCE: Final = 200
LOCKED_MS: Final = 30_000  # longer than the ledger may be read
BUSY_SECONDS: Final = 0.05


Covered = tuple[str, "LedgerRow"]  # a lease, and a request that is counted with it


class Part(NamedTuple):
    """What is put in force in one step: the counters of tokens and money of `limits`, and of requests of `leased`.

    Both are by key; of requests, those in `joined`. `shapes` are in force then.
    """

    limits: Mapping[str, tuple[Limit, ...]]
    leased: Mapping[str, tuple[Limit, ...]]
    joined: set[str]
    shapes: list[tuple[str, str]]


class LedgerWindows:
    """`run` runs a script on keys. Its methods raise what that does, and StoreDown."""

    def __init__(self, run: Callable[..., Awaitable[Any]], truth: Truth) -> None:
        self._run = run
        self._truth = truth
        self._rebuild = Script("rebuild")
        self._recount = Script("recount")
        self.scripts: Final = (self._rebuild, self._recount)

    async def rebuild(self, epoch: str, project: str, history: ProjectHistory) -> None:
        """Count all of a project's rows after a loss; other auths may do it beside us."""
        # Also of one that was admitted long ago: it may have been settled in this epoch, or be settled again.
        named = [row for row in history.rows if row.request_id]
        for start in range(0, len(named), ROWS_AT_ONCE):
            await self._write_rows(epoch, project, history, named[start : start + ROWS_AT_ONCE])
        sums = await _sums(history, [row for row in history.rows if not row.request_id])
        keys = Keys(project, epoch)
        keys.key("facts")
        await self._run(self._rebuild, keys, rows=_told(keys, sums), last=True, token="", shapes=_shapes(history))

    async def _write_rows(self, epoch: str, project: str, history: ProjectHistory, rows: Iterable[LedgerRow]) -> None:
        keys = Keys(project, epoch)
        keys.key("facts")
        told = [
            {
                "at": row.admitted_at_ms,
                "mark": keys.key(f"settled:{row.request_id}"),
                "adds": row_adds(keys, history, row),
            }
            for row in rows
        ]
        await self._run(self._rebuild, keys, rows=told, last=False, token="", shapes=[])

    async def recount(self, epoch: str, project: str) -> None:
        """Count a project anew because a plan has changed; or wait a moment if another auth does."""
        token = uuid.uuid4().hex
        begun = await self._step(epoch, project, "begin", token, lock=LOCKED_MS)
        if begun[0] == "busy":
            await asyncio.sleep(BUSY_SECONDS)  # Then it is asked again whether there is anything to do.
            return
        try:
            await self._count(epoch, project, token, dict(begun[2]))
        finally:
            await self._step(epoch, project, "end", token)

    async def _count(self, epoch: str, project: str, token: str, shapes: Mapping[str, str]) -> None:
        history = await self._truth.history(project)
        joined = recounting.joined(shapes, history.limits)
        covered = (await self._lent(epoch, project, history)).rows(history.rows)
        await self._write_sums(epoch, project, token, _beside_leases(history, covered), joined)
        # Before the windows are in force: what is missed if that fails is in the ledger when it is tried again.
        await self._mark(epoch, project, token, [row.request_id for row in history.rows if row.request_id])
        lent = []
        for part in _parts(history, joined):
            lent += await self._replace(epoch, project, token, part, covered)
        gone = sorted(shapes.keys() - history.limits.keys())
        await self._step(epoch, project, "done", token, lent=lent, gone=gone)

    async def _mark(self, epoch: str, project: str, token: str, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), ROWS_AT_ONCE):
            keys = Keys(project, epoch)
            keys.key("facts")
            for request_id in ids[start : start + ROWS_AT_ONCE]:
                keys.key(f"settled:{request_id}")
            await self._run(self._recount, keys, op="mark", token=token)

    async def _step(self, epoch: str, project: str, op: str, token: str, **call: Any) -> Any:
        keys = Keys(project, epoch)
        keys.key("facts")
        return await self._run(self._recount, keys, op=op, token=token, **call)

    async def _lent(self, epoch: str, project: str, history: ProjectHistory) -> recounting.Lent:
        lent = recounting.Lent()
        names = list(history.limits)
        for start in range(0, len(names), ROWS_AT_ONCE):
            keys = Keys(project, epoch)
            keys.key("facts")
            some = names[start : start + ROWS_AT_ONCE]
            for key in some:
                keys.key(f"leases:{key}")
            for place, *lease in (await self._run(self._recount, keys, op="leases", token=""))[2]:
                lent.add(some[place - 1], *lease)
        return lent

    async def _write_sums(
        self, epoch: str, project: str, token: str, history: ProjectHistory, joined: set[str]
    ) -> None:
        """Write the new windows beside the old ones, which stay in force."""
        summed = await _sums(history, history.rows)
        sums = [each for each in summed.items() if each[0][0] in joined or not _of_leases(each[0][0])]
        for start in range(0, len(sums), ROWS_AT_ONCE):
            keys = Keys(project, epoch, windows=f"counted:{token}")
            keys.key("facts")
            rows = _told(keys, dict(sums[start : start + ROWS_AT_ONCE]))
            await self._run(self._rebuild, keys, rows=rows, last=False, token=token, shapes=[])

    async def _replace(self, epoch: str, project: str, token: str, part: Part, covered: Sequence[Covered]) -> list[Any]:
        """Put the new windows of some counters in force, with what is lent in them, in one step; return the leases."""
        keys = Keys(project, epoch)
        keys.key("facts")
        leases = [
            {
                "key": key,
                "place": keys.key(f"leases:{key}"),
                "booked": {
                    kind.value: [keys.window(*counter) for counter in allowances.lease_counters(its, key, kind.value)]
                    for kind in Kind
                },
            }
            for key, its in part.leased.items()
        ]
        for key, its in part.limits.items():
            for name, window_ms, _ in allowances.usage_counters(its, key):
                keys.window(name, window_ms)
        taken = [
            (name, keys.key(f"counted:{token}:{name}"))
            for name in list(keys.windows)
            if name in part.joined or not _of_leases(name)
        ]
        omitted = [
            (lease_id, row.admitted_at_ms, name)
            for lease_id, row in covered
            for name, _ in recounting.request_counters(part.leased.get(row.key, ()), row.key)
            if name in part.joined
        ]
        answer = await self._run(
            self._recount,
            keys,
            op="replace",
            token=token,
            taken=taken,
            joined=sorted(name for name in part.joined if name in keys.windows),
            leases=leases,
            omitted=omitted,
            shapes=part.shapes,
        )
        if answer[0] != "done":
            raise StoreDown("counting the project anew took too long")
        return list(answer[2])


def _parts(history: ProjectHistory, joined: set[str]) -> Iterator[Part]:
    """Give what is put in force at once: the project's own windows, then those of some keys after the others.

    Each key is counted by its new shape when all of its windows are there.
    """
    ours, own = (
        {key: tuple(limit for limit in its if (limit.scope is scope)) for key, its in history.limits.items()}
        for scope in (Scope.PROJECT, Scope.KEY)
    )
    shared = any(name.startswith(f"{PROJECT}:") for name in joined)
    yield Part(dict.fromkeys(("",), _all_of(ours)), ours if shared else {}, joined, [])
    shapes = _shapes(history)
    for start in range(0, len(shapes), KEYS_AT_ONCE):
        some = shapes[start : start + KEYS_AT_ONCE]
        limits = {key: own[key] for key, _ in some}
        yield Part(limits, limits, joined, some)


def _all_of(limits: Mapping[str, tuple[Limit, ...]]) -> tuple[Limit, ...]:
    return tuple({limit for its in limits.values() for limit in its})


async def _sums(history: ProjectHistory, rows: Sequence[LedgerRow]) -> dict[tuple[str, int, int], int]:
    """Add rows up by counter, window and bucket, in turn with other work."""
    sums: dict[tuple[str, int, int], int] = defaultdict(int)
    scratch = Keys("", "")
    for some in stretches(rows, ROWS_AT_ONCE):
        for row in some:
            for name, units in row_adds(scratch, history, row):
                window_ms = scratch.windows[name][2]
                size = bucket_ms(window_ms)
                sums[name, window_ms, row.admitted_at_ms // size * size] += units
        await asyncio.sleep(0)
    return sums


def _told(keys: Keys, sums: Mapping[tuple[str, int, int], int]) -> list[dict[str, Any]]:
    return [
        {"at": at, "mark": 0, "adds": [(keys.window(name, window_ms), units)]}
        for (name, window_ms, at), units in sums.items()
    ]


def _shapes(history: ProjectHistory) -> list[tuple[str, str]]:
    return [(key, recounting.shape_of(its)) for key, its in history.limits.items()]


def _beside_leases(history: ProjectHistory, covered: Sequence[Covered]) -> ProjectHistory:
    """Leave out the requests that are counted with a lease."""
    ids = {row.request_id for _, row in covered}
    rows = [replace(row, requests=0) if row.request_id in ids else row for row in history.rows]
    return replace(history, rows=rows)


def _of_leases(name: str) -> bool:
    return name.split(":")[-2] in set(Kind)
