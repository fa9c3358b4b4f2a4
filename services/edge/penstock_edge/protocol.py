"""HTTP/1.1 as clients speak it to the edge.

What asks a model goes from the parser straight to who serves it (`DirectTurn`), everything else by uvicorn to the ASGI
app. Both kinds stand in one line on a connection. Bounds that uvicorn lacks: a head's size, and the time it may take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from penstock_chassis import logs
from penstock_edge import request_id
from penstock_edge.dialects.anthropic import DIALECT
from penstock_edge.direct_turn import DirectTurn
from penstock_edge.errors import INTERNAL, Problem, invalid

if TYPE_CHECKING:
    import asyncio

    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.turn import Found

log = logs.get(__name__)

MOST_HEAD_BYTES = 128 * 1024
HEAD_SECONDS = 30.0
_UPGRADING = frozenset({b"upgrade", b"http2-settings"})
# Timers of libuv have milliseconds.
_TICK_SECONDS = 0.002

_TOO_LARGE = ("431 Request Header Fields Too Large", invalid("the headers of this request are too long"))
_MALFORMED = ("400 Bad Request", invalid("this is not a valid HTTP request"))
_CRASHED = ("500 Internal Server Error", INTERNAL)


def _refusal(status: str, problem: Problem) -> bytes:
    """Return a whole answer to a request that never became one, or that nobody has answered."""
    name = request_id.new()
    body = DIALECT.error_body(problem, name)
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-should-retry: false\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\nrequest-id: {name}\r\n\r\n"
    )
    return head.encode() + body


def _nothing(url: bytes) -> Found:
    del url
    return None


class EdgeProtocol(HttpToolsProtocol):
    """One client connection."""

    # Beside uvicorn's: above thirty attributes objects no longer share their names, and each costs a kilobyte more.
    __slots__ = ("_find", "_head_bytes", "_head_timer", "_idle_since", "_in_head", "_serving", "_upgrading")

    cycle: Any
    """The last request that has begun: uvicorn's or a direct turn."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = 0
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._upgrading = False
        # Apps that are not the edge's, roots and limits are uvicorn's to deal with.
        plain = not self.root_path and self.limit_concurrency is None
        self._find = getattr(self.app, "find", _nothing) if plain else _nothing
        self._serving: DirectTurn | RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start the clock of the first head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def data_received(self, data: bytes) -> None:
        """Parse, and count what comes before a head is whole."""
        self._idle_since = 0.0
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(*_MALFORMED)
            return
        except httptools.HttpParserUpgrade as upgrade:
            if self._upgrading:
                self._stay(data[upgrade.args[0] :])
            return
        if self._in_head and not self.transport.is_closing():
            self._half_a_head()

    def _stay(self, rest: bytes) -> None:
        """Parse a request anew without its wish for another protocol: a server may pass over that, its parser does not.

        Java's own client wishes for HTTP/2 with every first request, those with a body too.
        """
        self._upgrading = False
        head = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                words = [word for word in map(bytes.strip, value.split(b",")) if word.lower() not in _UPGRADING]
                head += [b"connection: " + b", ".join(words)] if words else []
            elif name not in _UPGRADING:
                head.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join(head) + b"\r\n\r\n" + rest)

    def _half_a_head(self) -> None:
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(*_TOO_LARGE)
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def _refuse(self, status: str, problem: Problem) -> None:
        """Answer what is no HTTP, in the same envelope as everything else."""
        self.transport.write(_refusal(status, problem))
        self.transport.close()

    def _head_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    # The parser's callbacks

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        self._head_bytes = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """End a head, and find who serves the request."""
        self._in_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._upgrading = True
            return
        found = self._found()
        if found is None:
            self._leave_to_uvicorn()
            return
        serve, query = found
        turn = DirectTurn(self, serve, self.url, self.headers, query, keep_alive=self.parser.should_keep_alive())
        previous, self.cycle = self.cycle, turn
        if previous is None or previous.response_complete:
            self._take(turn)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _found(self) -> Found:
        """Return who serves this request without ASGI, and its query; None for what is not that plain."""
        parser = self.parser
        if self.expect_100_continue or parser.get_method() != b"POST":
            return None
        if parser.get_http_version() != "1.1":
            return None
        return cast("Found", self._find(self.url))

    def _leave_to_uvicorn(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url = url
        self.headers += headers
        self.expect_100_continue = expects
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of the body."""
        if type(self.cycle) is DirectTurn:
            self.cycle.feed(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Hand on the body's end."""
        if self._upgrading:
            return
        if type(self.cycle) is DirectTurn:
            self.cycle.finish()
        else:
            super().on_message_complete()

    # One request after another

    def _take(self, turn: DirectTurn) -> None:
        self._serving = turn
        turn.task = task = self.loop.create_task(self._run(turn))
        self.tasks.add(task)

    async def _run(self, turn: DirectTurn) -> None:
        """Take a turn to its end; one that ends without an answer ends the connection."""
        try:
            await turn.serve(turn)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the client gets an answer
            log.error("request_crashed", error=type(error).__name__, where=logs.where(error))  # noqa: TRY400 -- no message and no locals: they might quote a prompt or a key
        finally:
            task, turn.task = turn.task, None
            self.tasks.discard(cast("asyncio.Task[None]", task))
            if not turn.response_complete and not turn.gone:
                self._cut(turn)

    def _cut(self, turn: DirectTurn) -> None:
        if not turn.answered:
            self._refuse(*_CRASHED)
        elif self.flow.write_paused:
            # A client that does not read would keep what it has not read in memory.
            self.transport.abort()
        else:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._serving = cycle
        super()._start_asgi_task(cycle, app)

    def turn_over(self) -> None:
        """Go on to the next request, or wait for one."""
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request, or wait for one."""
        self.server_state.total_requests += 1
        self._serving = None
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if not self.pipeline:
            self._idle()
            return
        following: Any
        following, app = self.pipeline.pop()
        if type(following) is DirectTurn:
            self._take(following)
        else:
            self._start_asgi_task(following, app)

    def default_headers(self) -> Headers:
        """Return what stands in the head of every answer: the date, which the server makes anew each second."""
        return self.server_state.default_headers

    # A kept connection's timer is not made anew for each request: when its time is over, it looks how long that was.

    def _idle(self) -> None:
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._look_at_idle)

    def _look_at_idle(self) -> None:
        self.timeout_keep_alive_task = None
        since = self._idle_since
        if not since or self.transport.is_closing():
            return
        due = since + self.timeout_keep_alive
        if self.loop.time() + _TICK_SECONDS < due:
            self.timeout_keep_alive_task = self.loop.call_at(due, self._look_at_idle)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell open requests that their client has left, and let go of everything."""
        del exc
        self.connections.discard(self)
        for timer in (self._head_timer, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        self._head_timer = self.timeout_keep_alive_task = None
        serving, self._serving = self._serving, None
        self.pipeline.clear()
        # Parser, requests and connection name each other; without this, memory waits for the cycle collector.
        self.parser = None  # type: ignore[assignment]  # as uvicorn's own
        self.cycle = None
        self.flow.resume_writing()
        if isinstance(serving, DirectTurn):
            serving.leave()
        elif serving is not None:
            serving.disconnected = True
            serving.message_event.set()
