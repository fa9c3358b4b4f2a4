"""HTTP/1.1 as uvicorn speaks it with h11, and a bound that it lacks: the time until a request has come whole.

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


class BoundedProtocol(H11Protocol):
    """One connection; it ends when a request, or the first one's beginning, lets itself be waited for."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._wait_no_more()
        super().connection_lost(exc)

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

    def _lacks_something(self) -> bool:
        """Whether a request has begun and is not whole; between two of them uvicorn's own clock runs."""
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and self.timeout_keep_alive_task is None)

    def _wait(self) -> None:
        self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
