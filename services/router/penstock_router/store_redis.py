"""The router's state in Redis, shared by its replicas: one hash per kind, one cluster slot, one script per step."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from penstock_chassis.cluster_redis import WrongKindOfStore, open_link
from penstock_router.stores import Reading, Row, StoreDown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from penstock_router.stores import Change

# A row is its version in decimal, a colon, and the body. Versions come from one counter and never return while the
# store keeps its mark, which the first write makes and a loss takes away. Whoever knows mark and counter is told the
# names and versions of all rows, and of those only that changed since, the rows: a replica that takes over may lack the
# last writes, so that a row is an older one than was read.
_READ: Final = """
local mark, counter = redis.call('GET', KEYS[3]) or '', redis.call('GET', KEYS[2]) or '0'
local known = ARGV[1] ~= '' and ARGV[1] == mark
if known and counter == ARGV[2] and redis.call('HLEN', KEYS[1]) == tonumber(ARGV[3]) then
  return {redis.call('TIME'), mark, counter, 0}
end
local rows = redis.call('HGETALL', KEYS[1])
if known then
  local newest = tonumber(ARGV[2])
  for i = 2, #rows, 2 do
    local version = string.match(rows[i], '^(%d+):')
    if version and tonumber(version) <= newest then rows[i] = version .. ':' end
  end
end
return {redis.call('TIME'), mark, counter, rows}
"""
_WRITE: Final = """
local applied = {}
for i = 2, #ARGV, 4 do
  local name, expected, keep, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local row = redis.call('HGET', KEYS[1], name)
  local version = '0'
  if row then version = string.match(row, '^(%d+):') end
  if version == expected then
    local new = redis.call('INCR', KEYS[2])
    if keep == '1' then
      redis.call('HSET', KEYS[1], name, string.format('%d', new) .. ':' .. body)
    else
      redis.call('HDEL', KEYS[1], name)
      new = 0
    end
    applied[#applied + 1] = name
    applied[#applied + 1] = string.format('%d', new)
  end
end
redis.call('SETNX', KEYS[3], ARGV[1])
return applied
"""


class _OtherRows(StoreDown):
    """The store has other rows than those that were read before, though nobody has written since."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was last read of a kind, so that only what changed since comes over the wire."""

    mark: bytes = b""
    counter: bytes = b"0"
    rows: Mapping[str, Row] = field(default_factory=dict)


class RedisStore:
    """For several routers. `deadline_seconds` bounds every call, so a store that is frozen counts as down."""

    name = "redis"
    shared = True

    def __init__(
        self, url: str, *, cluster: bool = False, deadline_seconds: float = 0.25, prefix: str = "{penstock:router}"
    ) -> None:
        self._link = open_link(url, cluster=cluster, deadline_seconds=deadline_seconds)
        self._deadline = deadline_seconds
        self._prefix = prefix
        self._known: dict[str, _Known] = {}

    async def read(self, kind: str) -> Reading:
        """Return all rows of `kind`."""
        known = self._known.get(kind, _Known())
        try:
            return await self._read(kind, known)
        except _OtherRows:
            return await self._read(kind, _Known())

    async def _read(self, kind: str, known: _Known) -> Reading:
        told = (known.mark, known.counter, str(len(known.rows)))
        keys = self._keys(kind)
        answer = await self._call(lambda: self._link.run(keys[0], "EVAL", _READ, len(keys), *keys, *told))
        try:
            (seconds, micros), mark, counter, flat = answer
            if flat != 0:
                pairs = zip(flat[0::2], flat[1::2], strict=True)
                rows = {name: _row(raw, known.rows.get(name)) for name, raw in ((n.decode(), r) for n, r in pairs)}
                known = self._known[kind] = _Known(mark, counter, rows)
            return Reading(int(seconds) + int(micros) / 1e6, known.rows)
        except (ValueError, TypeError, AttributeError) as error:
            self._known.pop(kind, None)
            raise StoreDown("the store's answer makes no sense") from error

    async def write(self, kind: str, changes: Sequence[Change]) -> Mapping[str, int]:
        """Apply each change whose row is still as expected, all in one step."""
        if not changes:
            return {}
        arguments: list[str | bytes] = [uuid.uuid4().hex]
        for change in changes:
            arguments += [change.name, str(change.expected), "0" if change.body is None else "1", change.body or b""]
        keys = self._keys(kind)
        flat = await self._call(lambda: self._link.run(keys[0], "EVAL", _WRITE, len(keys), *keys, *arguments))
        return {name.decode(): int(version) for name, version in zip(flat[0::2], flat[1::2], strict=True)}

    async def close(self) -> None:
        """Close the connections."""
        try:
            async with asyncio.timeout(self._deadline):
                await self._link.close()
        except (RedisError, OSError, TimeoutError):
            return

    def _keys(self, kind: str) -> tuple[str, str, str]:
        return f"{self._prefix}:{kind}", f"{self._prefix}:versions", f"{self._prefix}:mark"

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        task = asyncio.current_task()
        cancels = task.cancelling() if task is not None else 0
        try:
            async with asyncio.timeout(self._deadline):
                return await call()
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreDown(_said(error)) from error
        finally:
            # The client's own time limits can swallow a cancellation that comes with the answer.
            if task is not None and task.cancelling() > cancels:
                raise asyncio.CancelledError


def _said(error: Exception) -> str:
    """Name the failure; what redis-py says of others may hold addresses and commands."""
    return str(error) if isinstance(error, WrongKindOfStore) else type(error).__name__


def _row(raw: bytes, known: Row | None) -> Row:
    """Read a row; one without a body is the one that is known. Raises _OtherRows where that is of another version."""
    text, _, body = raw.partition(b":")
    version = int(text)
    if body:
        return Row(version, body)
    if known is None or known.version != version:
        raise _OtherRows("the store has lost writes")
    return known
