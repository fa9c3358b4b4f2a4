"""Where upstreams live: base URLs taken apart, and which resolved addresses may be connected to."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# For use inside a network, or given up, which not every Python knows: of a local NAT64 (RFC 8215), of sites (RFC 3879),
# IPv4 in IPv6 as it was written once (RFC 4291, 2.5.5.1) and as translators write it (RFC 2765).
_INSIDE = tuple(map(ipaddress.ip_network, ("64:ff9b:1::/48", "fec0::/10", "::/96", "::ffff:0:0:0/96")))


class Origin(NamedTuple):
    """What connections are pooled by."""

    scheme: str
    host: str
    port: int
    allow_private: bool


class Target(NamedTuple):
    """An account's endpoint: its origin, the path before the API's own, and the Host header."""

    origin: Origin
    path: bytes
    host_header: bytes


@lru_cache(maxsize=4096)
def parse_target(base_url: str, allow_private: bool) -> Target:
    """Take a base URL apart. Raises ValueError for anything but http(s)://host[:port][/path]."""
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"not an http(s) URL: {base_url!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("a base URL has no user, query or fragment")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
    shown = shown_host(host)
    if parts.port is not None:
        shown = f"{shown}:{parts.port}"
    origin = Origin(parts.scheme, host, port, allow_private)
    return Target(origin, parts.path.rstrip("/").encode("ascii"), shown.encode("ascii"))


def shown_host(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def is_public(address: str) -> bool:
    """Whether an IP address (as text) is one of the public Internet, also looked at through IPv6's disguises."""
    parsed = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is None and parsed.teredo is not None:
            inner = parsed.teredo[1]
        if inner is not None:
            return is_public(str(inner))
        if any(parsed in network for network in _INSIDE):
            return False
    return parsed.is_global and not parsed.is_multicast
