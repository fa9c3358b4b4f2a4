"""Running Lua in Redis under a deadline: the only door of `counters_redis` to the network.

A script is one EVALSHA; its argument and answer are msgpack. Whatever goes wrong is `StoreDown` (the call may or may
not have had its effect; all of our scripts may be repeated) or `StoreRefused`.
"""

from __future__ import annotations

import asyncio
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import msgspec
from redis import exceptions as errors

from penstock_auth.counters import StoreDown, StoreRefused
from penstock_chassis.cluster_redis import WrongKindOfStore, open_link

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

DEADLINE_SECONDS: Final = 0.25
_REFUSALS: Final = (errors.NoPermissionError, errors.AuthenticationError)


class Script:
    """One Lua text and its digest; `name` is a file in `lua/`, standing on the prelude unless it is alone."""

    __slots__ = ("digest", "name", "text")

    def __init__(self, name: str, *, alone: bool = False) -> None:
        folder = resources.files("penstock_auth") / "lua"
        parts = [name] if alone else ["prelude", name]
        self.name = name
        self.text = "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts)
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Runner:
    """One Redis or a Redis Cluster, used for scripts only."""

    def __init__(self, url: str, deadline_seconds: float = DEADLINE_SECONDS, *, cluster: bool = False) -> None:
        self._deadline_seconds = deadline_seconds
        self._link = open_link(url, cluster=cluster, deadline_seconds=deadline_seconds)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder()

    async def load(self, scripts: Sequence[Script]) -> None:
        """Load scripts, and see that they are taken. Raises StoreRefused, StoreDown."""
        try:
            async with asyncio.timeout(self._deadline_seconds * 4):
                for script in scripts:
                    digests = await self._link.everywhere("SCRIPT LOAD", script.text)
                    if {_text(digest) for digest in digests} != {script.digest}:
                        raise StoreRefused(f"the store took the script {script.name} for another")
        except WrongKindOfStore as error:
            raise StoreRefused(str(error)) from error
        except errors.AuthenticationError as error:
            raise StoreRefused("the store refuses the credentials") from error
        except errors.ResponseError as error:
            if _passes(error):
                raise StoreDown(f"the store is not ready: {type(error).__name__}") from error
            raise StoreRefused(f"the store refuses scripts: {error}") from error
        except (errors.RedisError, TimeoutError, OSError) as error:
            raise StoreDown(f"the store does not answer: {type(error).__name__}") from error

    async def run(self, script: Script, keys: Sequence[str], call: dict[str, Any]) -> Any:
        """Run a script on keys of one slot and return its decoded answer. Raises StoreDown, StoreRefused."""
        argument = self._encoder.encode(call)
        answer = await self._in_time(self._evaluate(script, keys, argument), f"run {script.name}")
        return self._decoder.decode(answer)

    async def command(self, key: str, *words: str) -> Any:
        """Send one plain command about `key`. Raises StoreDown, StoreRefused."""
        return await self._in_time(self._link.run(key, *words), words[0])

    def one_of_each(self, keys: Iterable[str]) -> list[str]:
        """Return one of these keys of each node of a cluster; of one server nothing."""
        return self._link.one_of_each(keys)

    async def _evaluate(self, script: Script, keys: Sequence[str], argument: bytes) -> Any:
        try:
            return await self._link.run(keys[0], "EVALSHA", script.digest, len(keys), *keys, argument)
        except errors.NoScriptError:
            return await self._link.run(keys[0], "EVAL", script.text, len(keys), *keys, argument)

    async def _in_time(self, call: Coroutine[Any, Any, Any], what: str) -> Any:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await call
        except WrongKindOfStore as error:
            raise StoreRefused(str(error)) from error
        except _REFUSALS as error:
            raise StoreRefused(f"the store refuses to {what}: {type(error).__name__}") from error
        except (errors.RedisError, TimeoutError, OSError) as error:
            raise StoreDown(f"the store did not {what}: {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()


def _passes(error: errors.ResponseError) -> bool:
    """Say whether the refusal is one of the moment (loading its data, a replica for now, a cluster in disorder)."""
    return isinstance(error, (errors.BusyLoadingError, errors.ReadOnlyError, errors.ClusterDownError, errors.AskError))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
