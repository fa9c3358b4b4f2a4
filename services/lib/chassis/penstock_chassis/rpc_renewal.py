"""A channel whose certificate changes under it: calls begin on a fresh connection, open ones end where they began."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakKeyDictionary

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from penstock_chassis.certificates import Certificates, Material

# Longer than any server lets a connection live (its maximal age and grace), so nothing that still runs is cut.
_LAST_CALLS_SECONDS: Final = 900.0


class RenewingChannel(grpc.aio.Channel):
    """Opens a channel with `connect`, and another when the certificate in force is no longer the one it has."""

    def __init__(self, certificates: Certificates, connect: Callable[[Material], grpc.aio.Channel]) -> None:
        self._certificates = certificates
        self._connect = connect
        self._closed = False
        self._retiring: dict[_Generation, asyncio.Task[None]] = {}
        self._current = _Generation(certificates.material, connect(certificates.material))

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return the method; it looks for the channel anew at each call."""
        return _Method(self, lambda channel: channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return the method; it looks for the channel anew at each call."""
        return _Method(self, lambda channel: channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return the method; it looks for the channel anew at each call."""
        return _Method(self, lambda channel: channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return the method; it looks for the channel anew at each call."""
        return _Method(self, lambda channel: channel.stream_stream(*args, **kwargs))

    def current(self) -> _Generation:
        """Return the channel for a call that begins now. Raises UsageError once closed."""
        if self._closed:
            # gRPC 1.85 crashes when it is asked for a method of a channel that is closed.
            raise grpc.aio.UsageError("Channel is closed.")
        material = self._certificates.material
        if material is not self._current.material:
            old, self._current = self._current, _Generation(material, self._connect(material))
            self._retiring[old] = asyncio.create_task(self._retire(old), name="retiring channel")
        return self._current

    async def _retire(self, old: _Generation) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_CALLS_SECONDS):
                await old.idle.wait()
        await old.channel.close()
        del self._retiring[old]

    async def close(self, grace: float | None = None) -> None:
        """Close every connection; calls that are open after `grace` seconds are cut."""
        self._closed = True
        old = dict(self._retiring)
        for task in old.values():
            task.cancel()
        await asyncio.gather(*old.values(), return_exceptions=True)
        self._retiring.clear()
        await asyncio.gather(*(one.channel.close(grace) for one in (self._current, *old)))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the connection that a call would take."""
        return self.current().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is another."""
        await self.current().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until it is connected."""
        await self.current().channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Generation:
    """One real channel, the calls on it, and its methods."""

    def __init__(self, material: Material, channel: grpc.aio.Channel) -> None:
        self.material = material
        self.channel = channel
        self.idle = asyncio.Event()
        self.idle.set()
        self._calls = 0
        # Who makes a stub for every call leaves nothing behind.
        self._methods: WeakKeyDictionary[_Method, Callable[..., Any]] = WeakKeyDictionary()

    def begin(self, method: _Method, make: Callable[[grpc.aio.Channel], Any], args: Any, kwargs: Any) -> Any:
        """Begin a call here, and count it until it ends."""
        real = self._methods.get(method)
        if real is None:
            real = self._methods[method] = make(self.channel)
        call = real(*args, **kwargs)
        self._calls += 1
        self.idle.clear()
        call.add_done_callback(self._ended)
        return call

    def _ended(self, call: object) -> None:
        del call
        self._calls -= 1
        if self._calls == 0:
            self.idle.set()


class _Method:
    """A method of a service as stubs hold it."""

    def __init__(self, channel: RenewingChannel, make: Callable[[grpc.aio.Channel], Any]) -> None:
        self._channel = channel
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._channel.current().begin(self, self._make, args, kwargs)
