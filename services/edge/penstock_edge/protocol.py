"""uvicorn's HTTP/1.1 with bounds that it lacks: the size of a request's head, and the time that it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock_edge import cork, departure, request_id
from penstock_edge.cork import Cork
from penstock_edge.departure import Departure
from penstock_edge.dialects.anthropic import DIALECT
from penstock_edge.errors import invalid

if TYPE_CHECKING:
    import asyncio

MOST_HEAD_BYTES = 128 * 1024
HEAD_SECONDS = 30.0

_TOO_LARGE = ("431 Request Header Fields Too Large", "the headers of this request are too long")
_MALFORMED = ("400 Bad Request", "this is not a valid HTTP request")


def _refusal(status: str, message: str) -> bytes:
    """Return a whole answer to a request that never became one."""
    name = request_id.new()
    body = DIALECT.error_body(invalid(message), name)
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-should-retry: false\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\nrequest-id: {name}\r\n\r\n"
    )
    return head.encode() + body


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
            self.transport.write(_refusal(*_TOO_LARGE))
            self.transport.close()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the same envelope as everything else."""
        del msg
        self.transport.write(_refusal(*_MALFORMED))
        self.transport.close()

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
