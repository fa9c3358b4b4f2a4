"""Loopback ports for servers that tests start, and addresses at which nobody is to answer.

A port that the kernel picks for `bind(0)` may belong to somebody's outgoing connection, or to another test, by the time
its server starts. So ours lie below those that the kernel picks from, each is given out once, and each process of
tests has blocks of its own: it holds the first port of a block as long as it lives.
"""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCKS = range(20_000, 30_000, 50)


def _bound(port: int) -> socket.socket | None:
    """Bind a port of every address, so that it must be free at each; None when it is not."""
    probe = socket.socket()
    try:
        probe.bind(("", port))
    except OSError:
        probe.close()
        return None
    return probe


def _given() -> Iterator[int]:
    # Begin anywhere: what was given to tests that ran a moment ago may still have connections that linger.
    for first in random.SystemRandom().sample(_BLOCKS, len(_BLOCKS)):
        claim = _bound(first)
        if claim is not None:
            claim.detach()  # Open until this process ends.
            yield from range(first + 1, first + _BLOCKS.step)


_ports = _given()


def free_port() -> int:
    """Return a port that nobody uses and that nobody else is given."""
    for port in _ports:
        probe = _bound(port)
        if probe is not None:
            probe.close()
            return port
    raise RuntimeError("every port for tests is in use")
