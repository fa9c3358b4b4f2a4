"""Names of upstreams and their addresses: looked up off the loop, kept briefly, one question at a time for a name."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from penstock_edge.upstream.errors import ConnectError

if TYPE_CHECKING:
    from collections.abc import Iterable

# How long an answer is used without asking again, and for how long it still serves when asking fails or takes long.
_FRESH_SECONDS = 10.0
_STALE_SECONDS = 300.0
_PATIENCE_SECONDS = 1.0
_MOST_ADDRESSES = 8


class Resolver:
    """Answers with the addresses of a name in the order in which to try them (RFC 8305)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._asking: dict[str, asyncio.Task[list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """Return at least one address. Raises ConnectError. The caller has the deadline."""
        literal = literal_address(host)
        if literal is not None:
            return [literal]
        now = self._loop.time()
        when, addresses = self._known.get(host, (float("-inf"), []))
        if now - when < _FRESH_SECONDS:
            return addresses
        asking = self._asking.get(host)
        if asking is None:
            asking = self._asking[host] = self._loop.create_task(self._look_up(host))
            asking.add_done_callback(lambda _: self._asking.pop(host, None))
        if now - when >= _STALE_SECONDS:
            # The question outlives who asked: others may wait for it too.
            return await asyncio.shield(asking)
        # A name server that is down must not cut us off from upstreams that are up.
        done, _ = await asyncio.wait({asking}, timeout=_PATIENCE_SECONDS)
        return asking.result() if done and asking.exception() is None else addresses

    def prefer(self, host: str, address: str) -> None:
        """Try this address first until the name is looked up again: another one did not answer at once."""
        _, addresses = self._known.get(host, (0.0, []))
        if address in addresses:
            addresses.remove(address)
            addresses.insert(0, address)

    def forget_old(self) -> None:
        """Drop answers that are of no use any more."""
        oldest = self._loop.time() - _STALE_SECONDS
        for host in [host for host, (when, _) in self._known.items() if when < oldest]:
            del self._known[host]

    def close(self) -> None:
        """Ask no more."""
        for asking in self._asking.values():
            asking.cancel()

    async def _look_up(self, host: str) -> list[str]:
        try:
            found = await self._loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ConnectError("cannot connect: the upstream's name cannot be resolved") from error
        addresses = interleaved(str(info[4][0]) for info in found)[:_MOST_ADDRESSES]
        if not addresses:
            raise ConnectError("cannot connect: the upstream's name has no address")
        self._known[host] = (self._loop.time(), addresses)
        return addresses


def literal_address(host: str) -> str | None:
    """Return the IP address that a host is when it is no name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def interleaved(addresses: Iterable[str]) -> list[str]:
    """Order addresses by families in turn, the system's first choice first, each once (RFC 8305, section 4)."""
    unique = list(dict.fromkeys(addresses))
    if not unique:
        return []
    first_is_v6 = ":" in unique[0]
    ours = [address for address in unique if (":" in address) is first_is_v6]
    others = [address for address in unique if (":" in address) is not first_is_v6]
    return [address for address in chain.from_iterable(zip_longest(ours, others)) if address is not None]
