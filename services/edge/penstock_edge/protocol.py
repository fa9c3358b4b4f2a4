"""uvicorn's HTTP/1.1 with bounds that it lacks: the size of a request's head, and the time that it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock_edge import cork, departure
from penstock_edge.cork import Cork
from penstock_edge.departure import Departure

if TYPE_CHECKING:
    import asyncio

MOST_HEAD_BYTES = 128 * 1024
HEAD_SECONDS = 30.0

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: 110\r\n\r\n"
    b'{"type":"error","error":{"type":"invalid_request_error","message":"the headers of this request are too long"}}'
)


class EdgeProtocol(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = 0
        self._in_head = True
        self._departures: list[Departure] = []
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start the clock of the first head."""
        super().connection_made(cast("asyncio.Transport", Cork(transport)))
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def data_received(self, data: bytes) -> None:
        """Count what comes before a head is whole."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._half_a_head()

    def _half_a_head(self) -> None:
        if self._head_bytes > MOST_HEAD_BYTES:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()
        leaving = Departure()
        if self.cycle is None or self.cycle.response_complete:
            self._departures = [leaving]
        else:
            # Pipelined behind a request that is still being served.
            self._departures.append(leaving)
        scope = cast("dict[str, Any]", self.scope)
        scope[departure.SCOPE_KEY] = leaving
        scope[cork.SCOPE_KEY] = self.transport

    def on_headers_complete(self) -> None:
        """End a head."""
        self._in_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock, and tell open requests that their client has left."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().connection_lost(exc)
        departures, self._departures = self._departures, []
        for leaving in departures:
            leaving.happen()

    def _head_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
