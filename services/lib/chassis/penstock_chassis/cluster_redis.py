"""One Redis, or a Redis Cluster, as the stores of auth and router use it: single commands whose keys share one slot.

Who uses this module depends on `redis` itself. A cluster's client of our own, because a store that is frozen counts as
down within a deadline: a node that does not answer costs nobody but those whose keys it has, and where slots are is
learned beside the calls, never inside one. Every command must bear to be sent twice.

Errors are redis-py's (`RedisError`, `OSError`, `TimeoutError`), and `WrongKindOfStore`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit, urlunsplit

from redis import exceptions as errors
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

if TYPE_CHECKING:
    from collections.abc import Iterable

SLOTS: Final = 16384
_MOST_CONNECTIONS: Final = 64
_REDIRECTS: Final = 8
_LOOK_SECONDS: Final = 0.5
_BETWEEN_LOOKS_SECONDS: Final = 0.1
_TRY_AGAIN_SECONDS: Final = 0.02
_NO_URL: Final = "redis_url is not understood: redis[s]://[USER:PASSWORD@]HOST:PORT, with %-codes for what is special"
_ONE_OF_MANY: Final = "redis_url names a node of a Redis Cluster: set redis_cluster=true"
_SCHEMES: Final = {"redis+cluster": "redis", "rediss+cluster": "rediss"}

Address = tuple[str, int]


class WrongKindOfStore(errors.RedisError):
    """The URL names a node of a cluster but was said to be one server, or the other way round."""


class RedisLink(Protocol):
    """Commands to wherever their keys are."""

    async def run(self, key: str, *words: bytes | str | int) -> Any:
        """Send one command whose keys are all in the slot of `key`, and return its raw reply."""
        ...

    async def everywhere(self, *words: bytes | str | int) -> list[Any]:
        """Send one command to every server that takes writes, and return their replies."""
        ...

    def one_of_each(self, keys: Iterable[str]) -> list[str]:
        """Return the first of these keys that each node of a cluster has; nothing of one that has none of them."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


def open_link(url: str, *, cluster: bool = False, deadline_seconds: float = 0.25) -> RedisLink:
    """Return the link to `redis://`, `rediss://` or `unix://`; to a cluster with `cluster` or `redis[s]+cluster://`.

    It connects when it is first used. A cluster's URL may name several nodes, with commas. Raises ValueError, whose
    message tells nothing of the URL: what was taken for a port may be a part of the password.
    """
    try:
        if cluster or urlsplit(url).scheme in _SCHEMES:
            return ClusterRedis(url, deadline_seconds)
        return SingleRedis(url, deadline_seconds)
    except ValueError:
        raise ValueError(_NO_URL) from None


class SingleRedis:
    """One server."""

    def __init__(self, url: str, deadline_seconds: float) -> None:
        self._redis = _client(url, deadline_seconds)

    async def run(self, key: str, *words: bytes | str | int) -> Any:
        """See `RedisLink.run`."""
        del key
        try:
            return await self._redis.execute_command(*words)
        except errors.AskError as error:  # MovedError is one too.
            raise WrongKindOfStore(_ONE_OF_MANY) from error

    async def everywhere(self, *words: bytes | str | int) -> list[Any]:
        """See `RedisLink.everywhere`. Raises WrongKindOfStore when this is but one node of a cluster."""
        with contextlib.suppress(errors.ResponseError):  # Who may not ask finds out at the first key that is elsewhere.
            if (await self._redis.info("cluster")).get("cluster_enabled"):
                raise WrongKindOfStore(_ONE_OF_MANY)
        return [await self._redis.execute_command(*words)]

    def one_of_each(self, keys: Iterable[str]) -> list[str]:
        """See `RedisLink.one_of_each`: there are no nodes."""
        del keys
        return []

    async def close(self) -> None:
        """See `RedisLink.close`."""
        await _close([self._redis])


class ClusterRedis:
    """A cluster: each command goes to the primary that has its slot, and follows it when the slot has moved."""

    def __init__(self, url: str, deadline_seconds: float) -> None:
        parts = urlsplit(url)
        user, at, hosts = parts.netloc.rpartition("@")
        self._parts = parts._replace(scheme=_SCHEMES.get(parts.scheme, parts.scheme), path="")
        self._user = user + at
        self._seeds = [_address(host) for host in hosts.split(",")]
        self._deadline = deadline_seconds
        self._nodes: dict[Address, Any] = {}
        self._owners: list[Address | None] = []
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        self._node(self._seeds[0])  # Says at once what is wrong with the URL.

    async def run(self, key: str, *words: bytes | str | int) -> Any:
        """See `RedisLink.run`."""
        slot = key_slot(key.encode())
        address, asking = await self._owner(slot), False
        for _ in range(_REDIRECTS):
            try:
                return await self._send(address, words, asking=asking)
            except errors.MovedError as error:
                address, asking = _meant(error, address), False
                if self._owners:
                    self._owners[slot] = address
                self._look_soon()
            except errors.AskError as error:
                address, asking = _meant(error, address), True
            except errors.TryAgainError:
                # The slot is on its way, with some of these keys here and some there.
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
                address, asking = await self._owner(slot), False
        raise errors.ClusterError(f"slot {slot} is being moved")

    async def everywhere(self, *words: bytes | str | int) -> list[Any]:
        """See `RedisLink.everywhere`."""
        await self._owner(0)
        primaries = sorted({owner for owner in self._owners if owner is not None})
        return list(await asyncio.gather(*(self._send(address, words, asking=False) for address in primaries)))

    def one_of_each(self, keys: Iterable[str]) -> list[str]:
        """See `RedisLink.one_of_each`."""
        found: dict[Address, str] = {}
        for key in keys if self._owners else ():
            owner = self._owners[key_slot(key.encode())]
            if owner is not None:
                found.setdefault(owner, key)
        return list(found.values())

    async def close(self) -> None:
        """See `RedisLink.close`."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await _close(self._nodes.values())

    async def _send(self, address: Address, words: tuple[bytes | str | int, ...], *, asking: bool) -> Any:
        node = self._node(address)
        try:
            if not asking:
                return await node.execute_command(*words)
            async with node.pipeline(transaction=False) as pipe:
                pipe.execute_command("ASKING")
                pipe.execute_command(*words)
                replies = await pipe.execute()
            return replies[1]
        except (errors.ConnectionError, errors.TimeoutError, OSError, asyncio.CancelledError):
            # A caller's deadline cancels: the node may be frozen, and another in its place.
            self._look_soon()
            raise
        except (errors.ClusterDownError, errors.ReadOnlyError):
            self._look_soon()
            raise

    async def _owner(self, slot: int) -> Address:
        """Return the primary that has a slot, as far as we know."""
        if not self._owners:
            self._look_soon()
            if self._looking is not None:
                await asyncio.shield(self._looking)
        owner = self._owners[slot] if self._owners else None
        if owner is None:
            self._look_soon()
            raise errors.ClusterDownError(f"no node has slot {slot}")
        return owner

    def _look_soon(self) -> None:
        """See that where slots are is looked up, unless that is under way."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="redis cluster")
            self._looking.add_done_callback(_heard)

    async def _look(self) -> None:
        """Ask one node after another, in any order, until one knows."""
        await asyncio.sleep(max(0.0, self._looked_at + _BETWEEN_LOOKS_SECONDS - time.monotonic()))
        self._looked_at = time.monotonic()
        known = [*{owner for owner in self._owners if owner is not None} - set(self._seeds), *self._seeds]
        failure: Exception = errors.ClusterDownError("no node of the cluster answers")
        for address in random.sample(known, len(known)):
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    owners = await self._slots_by(address)
            except (errors.AuthenticationError, errors.NoPermissionError, WrongKindOfStore) as error:
                failure = error
            except (errors.RedisError, OSError, TimeoutError):
                continue
            else:
                if any(owner is not None for owner in owners):
                    await self._adopt(owners)
                    return
        raise failure

    async def _slots_by(self, address: Address) -> list[Address | None]:
        try:
            ranges = await self._node(address).execute_command("CLUSTER SLOTS")
        except errors.ResponseError as error:
            if "cluster support disabled" in str(error):
                raise WrongKindOfStore("redis_url names no Redis Cluster: redis_cluster must not be set") from error
            raise
        owners: list[Address | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_ in ranges:
            # A node that does not know its own name or address means the one by which it was asked.
            owner = (host.decode() if host and host != b"?" else address[0], int(port))
            owners[first : last + 1] = [owner] * (last + 1 - first)
        return owners

    async def _adopt(self, owners: list[Address | None]) -> None:
        self._owners = owners
        kept = {*self._seeds, *owners}
        gone = [self._nodes.pop(address) for address in list(self._nodes) if address not in kept]
        await _close(gone)

    def _node(self, address: Address) -> Any:
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            netloc = f"{self._user}[{host}]:{port}" if ":" in host else f"{self._user}{host}:{port}"
            node = self._nodes[address] = _client(urlunsplit(self._parts._replace(netloc=netloc)), self._deadline)
        return node


def _client(url: str, deadline_seconds: float) -> Any:
    """Return a client of one node; redis-py does not say what its commands return."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_MOST_CONNECTIONS,
        timeout=deadline_seconds,
        socket_timeout=deadline_seconds,
        socket_connect_timeout=deadline_seconds,
        # A pooled connection may have died with an earlier server.
        retry=Retry(NoBackoff(), 1, supported_errors=(errors.ConnectionError,)),
    )
    return Redis(connection_pool=pool)


async def _close(clients: Iterable[Any]) -> None:
    for client in clients:
        await client.aclose()
        await client.connection_pool.disconnect()


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, "6379"
    host = host.strip("[]")
    if not host or not port.isdecimal():
        raise ValueError("no host:port of a Redis node")
    return host, int(port)


def _meant(error: errors.AskError, asked: Address) -> Address:
    """Return where a redirect points; without a host it means the one that was asked."""
    return error.host or asked[0], error.port


def _heard(task: asyncio.Task[None]) -> None:
    """Take note of a failure, so that nobody has to wait for it."""
    if not task.cancelled():
        task.exception()
