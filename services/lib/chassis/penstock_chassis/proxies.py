"""Proxies on the way to upstreams, by the environment's conventions: HTTPS_PROXY, HTTP_PROXY, NO_PROXY.

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

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULT_PORT = 80


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. Its credential is in no text about it."""

    host: str
    port: int
    authorization: bytes = field(default=b"", repr=False)
    """Value of Proxy-Authorization; empty without a user in the URL."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy a host is reached through."""

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

    def choose(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy that a host is reached through; None for none."""
        proxy = self.by_scheme.get(scheme)
        if proxy is None or _is_this_machine(host):
            return None
        if any(_excepts(entry, host.lower(), port) for entry in self.exceptions):
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
        return name, int(rest[1:]) if rest[:1] == ":" and rest[1:].isdecimal() else None
    name, colon, port = entry.rpartition(":")
    # More than one colon is an IPv6 address without brackets.
    return (name, int(port)) if colon and ":" not in name and port.isdecimal() else (entry, None)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address is not None else host == "localhost" or host.endswith(".localhost")
