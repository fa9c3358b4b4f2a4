"""TCP connections to one of several addresses: the next one starts when one fails or is slow (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# RFC 8305, section 8: the recommended Connection Attempt Delay.
_HEAD_START_SECONDS = 0.25
# Answers may take minutes without a byte: what lies between must not forget the connection, and a host that vanished
# is noticed after a minute and a half.
_PROBE_AFTER_SECONDS = 30
_PROBE_EVERY_SECONDS = 15
_PROBES = 4


async def race(
    loop: asyncio.AbstractEventLoop, addresses: list[str], port: int, check: Callable[[str], None]
) -> tuple[socket.socket, str]:
    """Return a connected socket and its address; raises the last attempt's OSError. The caller has the deadline.

    `check` is called with every address before it is connected to, and raises to forbid it.
    """
    left = list(addresses)
    running: set[asyncio.Task[tuple[socket.socket, str]]] = set()
    error: OSError = OSError("no address")
    try:
        while left or running:
            if left:
                address = left.pop(0)
                check(address)
                running.add(loop.create_task(_connect(loop, address, port)))
            wait = _HEAD_START_SECONDS if left else None
            done, running = await asyncio.wait(running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            winner: tuple[socket.socket, str] | None = None
            for task in done:
                failure = task.exception()
                if failure is None and winner is None:
                    winner = task.result()
                elif failure is None:
                    task.result()[0].close()
                elif isinstance(failure, OSError):
                    error = failure
                else:
                    raise failure
            if winner is not None:
                return winner
        raise error
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_late)


async def _connect(loop: asyncio.AbstractEventLoop, address: str, port: int) -> tuple[socket.socket, str]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        with suppress(AttributeError, OSError):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER_SECONDS)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY_SECONDS)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
        await loop.sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made, address


def _close_late(task: asyncio.Task[tuple[socket.socket, str]]) -> None:
    """Close a connection that came to be in the moment of its cancellation."""
    if not task.cancelled() and task.exception() is None:
        task.result()[0].close()
