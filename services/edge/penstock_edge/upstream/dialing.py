"""New connections to one origin: its name resolved and every address checked, TCP, a proxy's tunnel, TLS."""

from __future__ import annotations

import asyncio
import errno
import ssl
from typing import TYPE_CHECKING

from penstock_edge.upstream.addresses import is_public
from penstock_edge.upstream.errors import (
    AddressRefusedError,
    CertificateRefusedError,
    ConnectError,
    DeadlineError,
    ProxyError,
    UpstreamError,
)
from penstock_edge.upstream.proxies import open_tunnel
from penstock_edge.upstream.racing import race
from penstock_edge.upstream.tls import refusal

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from penstock_chassis.proxies import Proxy
    from penstock_edge.upstream.addresses import Origin
    from penstock_edge.upstream.connection import Connection
    from penstock_edge.upstream.resolver import Resolver
    from penstock_edge.upstream.tls import UpstreamContext

# How long the name of an upstream behind a proxy may take here: many clusters with a proxy resolve no outside names.
_GUARD_SECONDS = 1.0
# How long a connection that we close stays open for the upstream's own TLS goodbye.
_GOODBYE_SECONDS = 2.0


class Dialer:
    """Makes connections to one origin."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        resolver: Resolver,
        tls: UpstreamContext | None,
        proxy: Proxy | None,
    ) -> None:
        self._loop = loop
        self._origin = origin
        self._resolver = resolver
        self._tls = tls
        self._proxy = proxy

    async def dial(self, make: Callable[[], Connection], deadline: float) -> Connection:
        """Return a connection, ready for a request, before `deadline`. Raises UpstreamError."""
        attempt = _Attempt(deadline)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._dial(make, attempt)
        except TimeoutError:
            if self._proxy is not None and attempt.phase == "connect":
                raise ProxyError("the proxy let the connect deadline pass") from None
            raise DeadlineError(attempt.phase) from None

    async def _dial(self, make: Callable[[], Connection], attempt: _Attempt) -> Connection:
        origin, proxy = self._origin, self._proxy
        if origin.scheme == "http" and not origin.allow_private:
            raise AddressRefusedError("plain http is allowed only with allowPrivateAddress")
        if proxy is None:
            addresses = await self._resolver.addresses(origin.host)
            if not origin.allow_private:
                for address in addresses:
                    _refuse_private(address)
        else:
            await self._guard_behind_proxy()
            addresses = await self._addresses_of(proxy)
        return await self._first_that_works(addresses, make, attempt)

    async def _guard_behind_proxy(self) -> None:
        """Refuse what is known here to be private. A name that is not known here leads where the proxy resolves it."""
        origin = self._origin
        if origin.allow_private:
            return
        try:
            async with asyncio.timeout(_GUARD_SECONDS):
                addresses = await self._resolver.addresses(origin.host)
        except (ConnectError, TimeoutError):
            return
        for address in addresses:
            _refuse_private(address)

    async def _addresses_of(self, proxy: Proxy) -> list[str]:
        try:
            return await self._resolver.addresses(proxy.host)
        except ConnectError:
            raise ProxyError("the proxy's name cannot be resolved") from None

    async def _first_that_works(
        self, addresses: list[str], make: Callable[[], Connection], attempt: _Attempt
    ) -> Connection:
        """Connect, and go on with the next address when TLS fails at one."""
        left = list(addresses)
        while True:
            made, address = await self._connect(left, attempt)
            if address != addresses[0]:
                self._resolver.prefer(self._origin.host if self._proxy is None else self._proxy.host, address)
            left.remove(address)
            try:
                return await self._above_tcp(made, make, attempt, last=not left)
            except (OSError, ssl.CertificateError) as error:
                if self._tls is not None:
                    self._tls.forget(self._origin.host)
                if not left:
                    if isinstance(error, TimeoutError):
                        raise
                    raise _named(error) from error

    async def _connect(self, addresses: list[str], attempt: _Attempt) -> tuple[socket.socket, str]:
        attempt.phase = "connect"
        proxy, origin = self._proxy, self._origin
        check = _anything if proxy is not None or origin.allow_private else _refuse_private
        try:
            return await race(self._loop, addresses, origin.port if proxy is None else proxy.port, check)
        except OSError as error:
            if proxy is not None:
                raise ProxyError(f"the proxy cannot be reached: {_word(error)}") from error
            raise ConnectError(f"cannot connect: {_word(error)}") from error

    async def _above_tcp(
        self, made: socket.socket, make: Callable[[], Connection], attempt: _Attempt, *, last: bool
    ) -> Connection:
        """Make an HTTP connection of a TCP connection; closes it on any failure."""
        origin, proxy, tls = self._origin, self._proxy, self._tls
        # With more addresses to try, one that is silent after TCP may take half of the time.
        until = attempt.deadline if last else (self._loop.time() + attempt.deadline) / 2
        ours = True
        try:
            async with asyncio.timeout_at(until):
                if proxy is not None and tls is not None:
                    attempt.phase = "proxy"
                    await open_tunnel(self._loop, made, proxy, origin.host, origin.port)
                attempt.phase = "connect" if tls is None else "tls"
                # From here on the loop closes the socket.
                ours = False
                if tls is None:
                    _, protocol = await self._loop.create_connection(make, sock=made)
                else:
                    _, protocol = await self._loop.create_connection(
                        make,
                        sock=made,
                        ssl=tls,
                        server_hostname=origin.host,
                        ssl_shutdown_timeout=_GOODBYE_SECONDS,
                    )
        finally:
            if ours:
                made.close()
        return protocol


class _Attempt:
    """Where one attempt to connect stands, for whoever ends it."""

    __slots__ = ("deadline", "phase")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.phase = "resolve"


def _anything(_address: str) -> None:
    """Forbid nothing."""


def _refuse_private(address: str) -> None:
    if not is_public(address):
        raise AddressRefusedError("the upstream's name resolves to a private address")


def _named(error: OSError | ssl.CertificateError) -> UpstreamError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return CertificateRefusedError(refusal(error))
    return ConnectError(f"cannot connect: {_word(error)}")


def _word(error: Exception) -> str:
    """Return a word for an error that holds no address, no name and no text of others."""
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or type(error).__name__})"
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number or 0, type(error).__name__)
