"""Proxies between the edge and upstreams, by the environment's conventions: HTTPS_PROXY, HTTP_PROXY, NO_PROXY.

As with the standard library's urllib, small names win over capital ones, and NO_PROXY holds host names (which cover
the names below them), perhaps with a port, or `*`. Networks (10.0.0.0/8) count for addresses as in Go and curl. This
machine itself (localhost, 127.0.0.0/8, ::1) is never reached through a proxy.
"""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote_to_bytes, urlsplit

from penstock_edge.upstream.addresses import shown_host
from penstock_edge.upstream.errors import ConnectError, ProxyError

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Mapping

    from penstock_edge.upstream.addresses import Origin

_DEFAULT_PORT = 80
_MOST_HEAD_BYTES = 16 * 1024
# What a proxy says when it is the upstream that cannot be reached.
_UPSTREAM_FAILED = frozenset({502, 503, 504})
PROXY_AUTHENTICATION_REQUIRED = 407


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. Its credential is in no text about it."""

    host: str
    port: int
    authorization: bytes = field(default=b"", repr=False)
    """Value of Proxy-Authorization; empty without a user in the URL."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy an origin is reached through."""

    by_scheme: Mapping[str, Proxy]
    exceptions: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables. Raises ValueError, which names the variable and not its value."""
        by_scheme: dict[str, Proxy] = {}
        for scheme in ("https", "http"):
            for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY"):
                if name not in environ:
                    continue
                if environ[name].strip():
                    by_scheme[scheme] = parse_proxy(environ[name].strip(), name)
                break
        listed = environ.get("no_proxy", environ.get("NO_PROXY", ""))
        return cls(by_scheme, tuple(entry.strip().lower() for entry in listed.split(",") if entry.strip()))

    def choose(self, origin: Origin) -> Proxy | None:
        """Return the proxy that an origin is reached through; None for none."""
        proxy = self.by_scheme.get(origin.scheme)
        if proxy is None or _is_this_machine(origin.host):
            return None
        if any(_excepts(entry, origin.host.lower(), origin.port) for entry in self.exceptions):
            return None
        return proxy


def parse_proxy(url: str, name: str) -> Proxy:
    """Take a proxy's URL apart; `name` is the variable it came from. Raises ValueError without the URL in it."""
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.scheme != "http" or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{name} must be http://[user:password@]host[:port]")
    authorization = b""
    if parts.username is not None:
        user = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
        authorization = b"Basic " + b64encode(user)
    return Proxy(host, port or _DEFAULT_PORT, authorization)


def absolute(head: bytes, target: bytes, proxy: Proxy) -> bytes:
    """Return a request's head as a proxy wants it: a whole URL in the first line, and who we are (RFC 9112, 3.2.2)."""
    method, _, rest = head.partition(b" ")
    line, _, headers = rest.partition(b"\r\n")
    said = b"proxy-authorization: " + proxy.authorization + b"\r\n" if proxy.authorization else b""
    return b"%b http://%b%b\r\n%b%b" % (method, target, line, said, headers)


async def open_tunnel(loop: asyncio.AbstractEventLoop, made: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Ask a proxy for a way to host:port. Raises ProxyError and ConnectError. The caller has the deadline."""
    target = f"{shown_host(host)}:{port}".encode("ascii")
    said = b"proxy-authorization: " + proxy.authorization + b"\r\n" if proxy.authorization else b""
    try:
        await loop.sock_sendall(made, b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (target, target, said))
        status = await _tunnel_status(loop, made)
    except OSError as error:
        raise ProxyError(f"the proxy broke off: {type(error).__name__}") from None
    if 200 <= status < 300:
        return
    if status == PROXY_AUTHENTICATION_REQUIRED:
        raise ProxyError("the proxy wants other credentials (407)")
    if status in _UPSTREAM_FAILED:
        raise ConnectError(f"cannot connect: the proxy cannot reach the upstream ({status})")
    raise ProxyError(f"the proxy refuses ({status})")


async def _tunnel_status(loop: asyncio.AbstractEventLoop, made: socket.socket) -> int:
    """Read the proxy's answer to its end and not one byte further."""
    head = b""
    while True:
        data = await loop.sock_recv(made, _MOST_HEAD_BYTES)
        if not data:
            raise ProxyError("the proxy closed the connection without an answer")
        head += data
        while b"\r\n\r\n" in head:
            first, head = head.split(b"\r\n\r\n", 1)
            status = _status_of(first)
            if status >= 200:
                if 200 <= status < 300 and head:
                    # TLS begins with us: bytes before it are not the upstream's.
                    raise ProxyError("the proxy sent more than its answer")
                return status
        if len(head) > _MOST_HEAD_BYTES:
            raise ProxyError("the head of the proxy's answer is too large")


def _status_of(head: bytes) -> int:
    line = head.split(b"\r\n", 1)[0]
    status = line[9:12]
    if line[:8] not in {b"HTTP/1.1", b"HTTP/1.0"} or line[8:9] != b" " or not status.isdigit() or status < b"100":
        raise ProxyError("the proxy's answer is not HTTP")
    return int(status)


def _excepts(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, listed_port = _split_port(entry)
    if listed_port is not None and listed_port != port:
        return False
    listed = _address(name)
    if listed is not None or address is not None:
        return listed is not None and listed == address
    name = name.removeprefix("*").lstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, int(rest[1:]) if rest[:1] == ":" and rest[1:].isdigit() else None
    name, colon, port = entry.rpartition(":")
    # More than one colon is an IPv6 address without brackets.
    return (name, int(port)) if colon and ":" not in name and port.isdigit() else (entry, None)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address is not None else host == "localhost" or host.endswith(".localhost")
