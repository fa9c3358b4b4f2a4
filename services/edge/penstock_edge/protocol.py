"""uvicorn's HTTP/1.1 with bounds that it lacks: the size of a request's head, and the time that it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock_edge.departure import SCOPE_KEY, Departure

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
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def data_received(self, data: bytes) -> None:
        """Count what comes before a head is whole."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()
        departure = Departure()
        if self.cycle is None or self.cycle.response_complete:
            self._departures = [departure]
        else:
            # Pipelined behind a request that is still being served.
            self._departures.append(departure)
        self.scope[SCOPE_KEY] = departure  # type: ignore[typeddict-unknown-key]  # ours, beside ASGI's own

    def on_headers_complete(self) -> None:
        """End a head."""
        self._in_head = False
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
        for departure in departures:
            departure.happen()

    def _head_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
