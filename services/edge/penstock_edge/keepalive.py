"""Keeps a streamed exchange alive through silence, and notices clients that no longer read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from penstock_edge.reply import Reply


class KeepAlive:
    """Pings when nothing was sent for `seconds`; calls `on_stalled` when the client has not read for `stall_seconds`.

    One timer, armed lazily: a stream that flows costs nothing here.
    """

    __slots__ = ("_headers", "_loop", "_on_stalled", "_ping", "_reply", "_seconds", "_stall_seconds", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reply: Reply,
        ping: bytes,
        headers: Callable[[], list[tuple[bytes, bytes]]],
        on_stalled: Callable[[], None],
        *,
        seconds: float,
        stall_seconds: float,
    ) -> None:
        self._loop = loop
        self._reply = reply
        self._ping = ping
        self._headers = headers
        self._on_stalled = on_stalled
        self._seconds = seconds
        self._stall_seconds = stall_seconds
        self._timer: asyncio.TimerHandle | None = loop.call_later(seconds, self._tick)

    def stop(self) -> None:
        """Forget everything; breaks the cycle with the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        now = self._loop.time()
        reply = self._reply
        if reply.ended:
            self._timer = None
            return
        since = reply.sending_since
        if since is not None and now - since >= self._stall_seconds:
            self._timer = None
            self._on_stalled()
            return
        due = reply.last_sent_at + self._seconds
        if now + 0.002 < due:
            self._timer = self._loop.call_at(due, self._tick)
            return
        reply.ping(self._ping, self._headers())
        self._timer = self._loop.call_later(self._seconds, self._tick)
