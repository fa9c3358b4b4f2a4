"""HTTP/1.1 as uvicorn speaks it with h11, and two bounds that it lacks.

They are the time until a request has come whole, and how long a client may read nothing of its answer.
h11 bounds a head, trailers and what is sent ahead, and takes the body of a request that wishes for another protocol
for a body; uvicorn's other parser does none of this.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

REQUEST_SECONDS = 30.0
STALL_SECONDS = 60.0


class BoundedProtocol(H11Protocol):
    """One connection; it ends when a request, or the first one's beginning, lets itself be waited for."""

    _late: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _unread = 0
    """How much waited for a slow client when it was last looked at."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._wait_no_more()
        super().connection_lost(exc)
        self.resume_writing()

    def pause_writing(self) -> None:
        """Hear that the client reads too slowly."""
        super().pause_writing()
        self._watch_unread()

    def resume_writing(self) -> None:
        """Hear that the client has read enough, or is gone."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def timeout_keep_alive_handler(self) -> None:
        """Hang up after a silence; a transport that is closed would wait for the reader of what is left."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def handle_events(self) -> None:
        """Go on with what has come, and wait for what is missing."""
        super().handle_events()
        if not self._lacks_something():
            self._wait_no_more()
        elif self._late is None and not self.transport.is_closing():
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; where another answer has begun already, only hang up."""
        with contextlib.suppress(h11.LocalProtocolError):
            super().send_400_response(msg)
        self.transport.close()

    def shutdown(self) -> None:
        """Close, after the request that is being served."""
        if self.conn.our_state is h11.ERROR:
            self.transport.close()
        else:
            super().shutdown()

    def _lacks_something(self) -> bool:
        """Whether a request has begun and is not whole; between two of them uvicorn's own clock runs."""
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and self.timeout_keep_alive_task is None)

    def _watch_unread(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(STALL_SECONDS, self._look_at_unread)

    def _look_at_unread(self) -> None:
        if self.transport.get_write_buffer_size() == self._unread:
            self.transport.abort()
        else:
            self._watch_unread()

    def _wait(self) -> None:
        self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
