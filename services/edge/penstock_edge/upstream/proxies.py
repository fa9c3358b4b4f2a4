"""How a proxy is spoken to: a tunnel for what is encrypted, whole URLs for what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.upstream.addresses import shown_host
from penstock_edge.upstream.errors import ConnectError, ProxyError

if TYPE_CHECKING:
    import asyncio
    import socket

    from penstock_chassis.proxies import Proxy

_MOST_HEAD_BYTES = 16 * 1024
# What a proxy says when it is the upstream that cannot be reached.
_UPSTREAM_FAILED = frozenset({502, 503, 504})
PROXY_AUTHENTICATION_REQUIRED: Final = 407


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
