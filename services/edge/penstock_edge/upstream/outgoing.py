"""A request on its way out: how much of it is still here, and whether it still moves."""

from __future__ import annotations

import fcntl
import termios
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from penstock_edge.corking import CorkedTransport

# Bodies up to here are joined with their heads: cheaper than two writes.
_SMALL_REQUEST_BYTES: Final = 64 * 1024
# How often a request that does not go out is looked at, in parts of its patience.
_LOOKS: Final = 4


class Outgoing:
    """Sends requests over one transport, one at a time.

    `waits` tells whether the answer is still waited for; `on_stalled` is called when it is and nothing of the request
    has gone out for as long as it may.
    """

    __slots__ = (
        "_loop",
        "_moved_at",
        "_on_stalled",
        "_patience",
        "_secure",
        "_size",
        "_timer",
        "_transport",
        "_unsent",
        "_waits",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: CorkedTransport,
        waits: Callable[[], bool],
        on_stalled: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._waits = waits
        self._on_stalled = on_stalled
        self._secure = transport.get_extra_info("ssl_object") is not None
        self._size = 0
        self._patience = 0.0
        self._unsent = 0
        self._moved_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def send(self, request: list[bytes], patience: float, now: float) -> None:
        """Write a request, its body last; a large one may stand still for `patience` seconds. `now`: the loop's."""
        if len(request[-1]) <= _SMALL_REQUEST_BYTES:
            whole = b"".join(request)
            self._size = len(whole)
            self._transport.write(whole)
            return
        self._size = sum(map(len, request))
        self._transport.writelines(request)
        unsent = self.unsent()
        if unsent:
            self._patience, self._unsent, self._moved_at = patience, unsent, now
            if self._timer is None:
                self._look_again()

    def unsent(self) -> int:
        """Return a number that is 0 when the whole request has gone out, and changes while it goes.

        Under TLS the transport knows only what is not encrypted yet; what the upstream has not confirmed tells.
        """
        unsent = self._transport.get_write_buffer_size()
        if unsent or not self._secure or self._size <= _SMALL_REQUEST_BYTES:
            return unsent
        return _unconfirmed(self._transport)

    def nothing_arrived(self) -> bool:
        """Whether the upstream's kernel has confirmed no byte of the request.

        Asked when its FIN is there: a FIN confirms all that came before it. So the upstream had closed the connection
        before the request reached it, and cannot have begun with it.
        """
        # TLS only adds to it: 22 bytes and more to each record of 16 KiB.
        return _unconfirmed(self._transport) + self._transport.get_write_buffer_size() >= self._size

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self._timer = self._loop.call_later(self._patience / _LOOKS, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._transport.is_closing() or not self._waits():
            return
        unsent = self.unsent()
        if not unsent:
            return
        now = self._loop.time()
        if unsent != self._unsent:
            self._unsent, self._moved_at = unsent, now
        elif now - self._moved_at + 0.002 >= self._patience:
            self._on_stalled()
            return
        self._look_again()


def _unconfirmed(transport: CorkedTransport) -> int:
    """Return how many bytes the other side's kernel has not confirmed; 0 where that cannot be known."""
    descriptor = transport.get_extra_info("socket")
    try:
        raw = fcntl.ioctl(descriptor.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (AttributeError, OSError, ValueError):
        return 0
    return int.from_bytes(raw, "little")
