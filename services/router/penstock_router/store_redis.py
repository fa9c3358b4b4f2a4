"""The router's state in Redis, shared by its replicas: one hash per kind, one cluster slot, one script per step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from penstock_chassis.cluster_redis import WrongKindOfStore, open_link
from penstock_router.stores import Reading, Row, StoreDown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from penstock_router.stores import Change

_READ: Final = "return {redis.call('TIME'), redis.call('HGETALL', KEYS[1])}"
# A row is its version in decimal, a colon, and the body. Versions come from one counter and never return.
_WRITE: Final = """
local applied = {}
for i = 1, #ARGV, 4 do
  local name, expected, keep, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local row = redis.call('HGET', KEYS[1], name)
  local version = '0'
  if row then version = string.match(row, '^(%d+):') end
  if version == expected then
    local new = 0
    if keep == '1' then
      new = redis.call('INCR', KEYS[2])
      redis.call('HSET', KEYS[1], name, string.format('%d', new) .. ':' .. body)
    else
      redis.call('HDEL', KEYS[1], name)
    end
    applied[#applied + 1] = name
    applied[#applied + 1] = string.format('%d', new)
  end
end
return applied
"""


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

    async def read(self, kind: str) -> Reading:
        """Return all rows of `kind`."""
        answer = await self._call(lambda: self._link.run(self._key(kind), "EVAL", _READ, 1, self._key(kind)))
        try:
            (seconds, micros), flat = answer
            names, rows = flat[0::2], flat[1::2]
            return Reading(
                int(seconds) + int(micros) / 1e6,
                {name.decode(): _row(row) for name, row in zip(names, rows, strict=True)},
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreDown("the store's answer makes no sense") from error

    async def write(self, kind: str, changes: Sequence[Change]) -> Mapping[str, int]:
        """Apply each change whose row is still as expected, all in one step."""
        if not changes:
            return {}
        arguments: list[str | bytes] = []
        for change in changes:
            arguments += [change.name, str(change.expected), "0" if change.body is None else "1", change.body or b""]
        keys = (self._key(kind), self._key("versions"))
        flat = await self._call(lambda: self._link.run(keys[0], "EVAL", _WRITE, len(keys), *keys, *arguments))
        return {name.decode(): int(version) for name, version in zip(flat[0::2], flat[1::2], strict=True)}

    async def close(self) -> None:
        """Close the connections."""
        try:
            async with asyncio.timeout(self._deadline):
                await self._link.close()
        except (RedisError, OSError, TimeoutError):
            return

    def _key(self, kind: str) -> str:
        return f"{self._prefix}:{kind}"

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


def _row(raw: bytes) -> Row:
    version, _, body = raw.partition(b":")
    return Row(int(version), body)
