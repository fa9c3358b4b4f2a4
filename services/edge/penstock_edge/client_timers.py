"""How long a client's connection waits for what is to come: a head, a body right after it, the next request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock_edge.bodies import DRAIN_SECONDS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from penstock_edge.corking import CorkedTransport

HEAD_SECONDS: Final = 30.0
SOON_SECONDS: Final = 1.0
"""So long a body may come after its head before its request gets a task to wait in."""
# Timers of libuv have milliseconds.
_TICK_SECONDS: Final = 0.002


class ClientTimers:
    """The timers of one connection.

    Those for bodies and for the next request are not made anew each time: one that rings looks how long the wait has
    been, and goes on if that is not long enough.
    """

    __slots__ = (
        "_body_since",
        "_body_timer",
        "_head_timer",
        "_idle_since",
        "_idle_timer",
        "_keep_alive_seconds",
        "_loop",
        "_soon_seconds",
        "_transport",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: CorkedTransport,
        keep_alive_seconds: float,
        soon_seconds: float = SOON_SECONDS,
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._keep_alive_seconds = keep_alive_seconds
        self._soon_seconds = soon_seconds
        self._head_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._body_since = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0

    def await_head(self, late: Callable[[], None]) -> None:
        """Call `late` when the head is not whole in time; a clock that runs already is not set back."""
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(HEAD_SECONDS, late)

    def head_over(self) -> None:
        """Wait for the head no longer."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def await_body(self, late: Callable[[], None]) -> None:
        """Call `late` when the body does not come as soon as most do."""
        self._body_since = self._loop.time()
        if self._body_timer is None:
            self._body_timer = self._loop.call_later(self._soon_seconds, self._look_at_body, late)

    @property
    def awaits_body(self) -> bool:
        """Whether a body is on its way."""
        return self._body_since > 0.0

    def body_over(self) -> None:
        """Wait for the body no longer."""
        self._body_since = 0.0

    def _look_at_body(self, late: Callable[[], None]) -> None:
        self._body_timer = None
        if not self.awaits_body:
            return
        due = self._body_since + self._soon_seconds
        if self._loop.time() + _TICK_SECONDS < due:
            self._body_timer = self._loop.call_at(due, self._look_at_body, late)
        else:
            late()

    def await_request(self) -> None:
        """Close when no request begins in time."""
        self._idle_since = self._loop.time()
        if self._idle_timer is None:
            self._idle_timer = self._loop.call_later(self._keep_alive_seconds, self._look_at_idle)

    def request_begun(self) -> None:
        """Wait for a request no longer."""
        self._idle_since = 0.0

    def _look_at_idle(self) -> None:
        self._idle_timer = None
        since = self._idle_since
        if not since or self._transport.is_closing():
            return
        due = since + self._keep_alive_seconds
        if self._loop.time() + _TICK_SECONDS < due:
            self._idle_timer = self._loop.call_at(due, self._look_at_idle)
        else:
            self._transport.close()

    def await_end(self) -> None:
        """End the connection when the client does not."""
        self._head_timer = self._loop.call_later(DRAIN_SECONDS, self._transport.abort)

    def stop(self) -> None:
        """Wait for nothing any more."""
        self.head_over()
        for timer in (self._body_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._body_timer = self._idle_timer = None
