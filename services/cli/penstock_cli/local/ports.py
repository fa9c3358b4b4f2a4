"""The ports of a local gateway: free, or said to be taken before anything starts."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from penstock_cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_SECONDS = 1.0
"""The processes of an `up` that has just been killed may take a moment to let go."""


def take(
    host: str,
    port: int,
    option: str,
    *,
    wait: Callable[[float], None] = time.sleep,
) -> socket.socket:
    """Reserve a port (0: any free one) by binding it without listening. Raises CommandError when it is taken.

    It stays reserved while the socket is open; those of this user who set SO_REUSEPORT can bind and listen beside it.
    """
    waited = 0.0
    while True:
        try:
            return _bind(host, port)
        except UnicodeError as error:
            raise CommandError(f"{host} is not an address of this machine (no name is written so)") from error
        except OSError as error:
            if waited >= RETRY_SECONDS or not port or isinstance(error, socket.gaierror):
                raise CommandError(_said(host, port, option, error)) from error
        wait(0.1)
        waited += 0.1


def number(bound: socket.socket) -> int:
    """Return the port of a bound socket."""
    return int(bound.getsockname()[1])


def reachable(host: str) -> str:
    """Return the host as a URL on this machine names it."""
    if host in {"0.0.0.0", ""}:
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host


def _bind(host: str, port: int) -> socket.socket:
    if port:
        # With SO_REUSEPORT a bind beside another gateway's would succeed; a plain one tells whether the port is free.
        _bound(host, port, socket.SO_REUSEADDR).close()
    return _bound(host, port, socket.SO_REUSEPORT)


def _bound(host: str, port: int, option: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _said(host: str, port: int, option: str, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"{host} is not an address of this machine ({error.strerror})"
    if error.errno == 98:
        return f"port {port} on {host} is taken; end what uses it, or choose another with {option}"
    return f"cannot listen on {host}:{port} ({error.strerror}); choose another port with {option}"
