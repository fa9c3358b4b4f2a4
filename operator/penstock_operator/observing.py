"""Watches every replica of routers and auths: which there are, and what each of them says.

A host's every address is one replica, so that a headless Service stands for all pods. Who falls silent is believed for
a while longer: a replica that is being replaced is no news.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
import grpc.aio

from penstock.auth.v1 import auth_pb2, auth_pb2_grpc
from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_chassis import logs, rpc
from penstock_chassis.identity import Component
from penstock_operator import sights
from penstock_operator.sights import Fleet, Word

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

log = logs.get(__name__)

_RESOLVE_SECONDS: Final = 2.0
_RESOLVE_DEADLINE: Final = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 3.0


class Channels(Protocol):
    """Opens channels: `penstock_chassis.rpc_transport.Transport`."""

    def channel(self, address: str, to: Component) -> grpc.aio.Channel:
        """Open a channel to a component."""


@dataclass(slots=True)
class _Replica:
    channel: grpc.aio.Channel
    stub: Any
    """Its service. Made with the channel: gRPC 1.85 crashes when a stub is made of a channel that is closed."""
    task: asyncio.Task[None]
    since: float
    """When it was first met, or last fell silent."""
    word: Word | None = None
    speaking: bool = False


class Observer:
    """All replicas of `component`. `wake` is called when what they say has changed."""

    def __init__(
        self,
        component: Component,
        addresses: Iterable[str],
        channels: Channels,
        *,
        wake: Callable[[], None],
        outage_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._component = component
        self._addresses = tuple(addresses)
        self._channels = channels
        self._wake = wake
        self._outage_seconds = outage_seconds
        self._monotonic = monotonic
        self._replicas: dict[str, _Replica] = {}
        self._lookups: dict[str, asyncio.Task[set[str]]] = {}

    def fleet(self) -> Fleet:
        """Return what they say now."""
        now = self._monotonic()
        words, silent = {}, []
        for address, replica in sorted(self._replicas.items()):
            if not replica.speaking and now - replica.since >= self._outage_seconds:
                silent.append(address)
            elif replica.word is not None:
                words[address] = replica.word
        return Fleet(words, tuple(silent))

    def speaking(self) -> list[Any]:
        """Return the stubs of all replicas that can be asked."""
        return [replica.stub for _, replica in sorted(self._replicas.items()) if replica.speaking]

    async def run(self) -> None:
        """Watch them until cancelled."""
        try:
            while True:
                await self._look_up()
                await asyncio.sleep(_RESOLVE_SECONDS)
        finally:
            for lookup in self._lookups.values():
                lookup.cancel()
            for address in list(self._replicas):
                await self._forget(address)

    async def _look_up(self) -> None:
        found: set[str] = set()
        for address in self._addresses:
            try:
                found |= await self._resolved(address)
            except OSError:
                # A name server that is down says nothing about who is there.
                found |= {known for known in self._replicas if known.rpartition(":")[2] == address.rpartition(":")[2]}
        for address in found - self._replicas.keys():
            channel = self._channels.channel(address, self._component)
            task = asyncio.create_task(self._follow(address), name=f"watch {self._component} {address}")
            self._replicas[address] = _Replica(channel, self._stub(channel), task, self._monotonic())
            self._wake_when_silent()
        for address in self._replicas.keys() - found:
            await self._forget(address)
            self._wake()

    async def _resolved(self, address: str) -> set[str]:
        """Return every address that this one stands for. Raises OSError.

        A look-up holds a thread for as long as the name server says nothing, and all else that is done in threads would
        wait for it. So there is one at a time, which is waited for again.
        """
        if address not in self._lookups:
            self._lookups[address] = asyncio.create_task(_resolved(address))
        done, _ = await asyncio.wait({self._lookups[address]}, timeout=_RESOLVE_DEADLINE)
        if not done:
            raise OSError("the name server did not answer in time")
        return self._lookups.pop(address).result()

    def _stub(self, channel: grpc.aio.Channel) -> Any:
        if self._component is Component.ROUTER:
            return router_pb2_grpc.RouterServiceStub(channel)
        return auth_pb2_grpc.AuthServiceStub(channel)

    async def _forget(self, address: str) -> None:
        replica = self._replicas.pop(address)
        replica.task.cancel()
        await asyncio.gather(replica.task, return_exceptions=True)
        await replica.channel.close()

    async def _follow(self, address: str) -> None:
        replica = self._replicas[address]
        pause = _FIRST_PAUSE
        while True:
            try:
                async for word in self._words(replica):
                    pause = _FIRST_PAUSE
                    self._hear(replica, word)
            except grpc.aio.AioRpcError as error:
                if replica.speaking:
                    log.warning("replica_silent", component=self._component, address=address, code=error.code().name)
            except Exception as error:  # noqa: BLE001 -- a replica that nobody listens to any more would look alive
                self._tell_of(error, address)
            if replica.speaking:
                replica.speaking, replica.since = False, self._monotonic()
                self._wake_when_silent()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _tell_of(self, error: Exception, address: str) -> None:
        kind, where = type(error).__name__, logs.where(error)
        log.error("replica_not_understood", component=self._component, address=address, kind=kind, where=where)

    def _hear(self, replica: _Replica, word: Word) -> None:
        news = not replica.speaking or replica.word != word
        replica.word, replica.speaking = word, True
        if news:
            self._wake()

    async def _words(self, replica: _Replica) -> AsyncIterator[Word]:
        if self._component is Component.ROUTER:
            async for observed in replica.stub.WatchObserved(router_pb2.WatchObservedRequest()):
                yield sights.of_router(observed, replica.word, time.time())
        else:
            async for loaded in replica.stub.WatchObserved(auth_pb2.WatchObservedRequest()):
                yield sights.of_auth(loaded)

    def _wake_when_silent(self) -> None:
        asyncio.get_running_loop().call_later(self._outage_seconds + 0.05, self._wake)


async def _resolved(address: str) -> set[str]:
    if rpc.is_unix(address):
        return {address}
    host, _, port = address.rpartition(":")
    rows = await asyncio.get_running_loop().getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, family=socket.AF_UNSPEC
    )
    return {_joined(str(row[4][0]), port) for row in rows}


def _joined(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
