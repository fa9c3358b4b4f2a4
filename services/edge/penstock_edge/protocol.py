"""HTTP/1.1 as clients speak it to the edge.

What asks a model goes from the parser straight to who serves it (`DirectTurn`), everything else by uvicorn to the ASGI
app (`AsgiRequests`). Both kinds stand in one line on a connection. Bounds that uvicorn lacks: the size of a head and of
trailers, the time a head may take, how many requests may wait, and how long a client may read nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from penstock_chassis import logs
from penstock_edge import request_id
from penstock_edge.answer_head import DefaultLines
from penstock_edge.asgi_requests import AsgiRequests, leave
from penstock_edge.bodies import DRAIN_BYTES
from penstock_edge.client_timers import SOON_SECONDS, ClientTimers
from penstock_edge.corking import Cork, CorkedTransport
from penstock_edge.direct_turn import DirectTurn
from penstock_edge.flow import STALL_SECONDS, Flow
from penstock_edge.request_reader import RequestReader
from penstock_edge.unserved import CRASHED, MALFORMED, TOO_LARGE, whole_answer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from uvicorn import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.turn import Found
    from penstock_edge.unserved import Reason

log = logs.get(__name__)

MOST_HEAD_BYTES: Final = 128 * 1024
MOST_WAITING: Final = 100
"""Requests that may wait for another one on a connection."""
_DEFAULTS: Final = DefaultLines()


def _note_crash(error: Exception) -> None:
    # No message and no locals: they might quote a prompt or a key.
    log.error("request_crashed", error=type(error).__name__, where=logs.where(error))


def _nothing(url: bytes) -> Found:
    del url
    return None


class EdgeProtocol(RequestReader):
    """One client connection."""

    __slots__ = (
        "__weakref__",
        "_app_state",
        "_asgi",
        "_config",
        "_cork",
        "_cycle",
        "_due",
        "_find",
        "_keep_alive_seconds",
        "_line",
        "_passed_over_bytes",
        "_serving",
        "_soon_seconds",
        "_stall_seconds",
        "_state",
        "_turn",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        stall_seconds: float = STALL_SECONDS,
        soon_seconds: float = SOON_SECONDS,
        cork: Cork | None = None,
    ) -> None:
        super().__init__()
        self.loop = _loop or asyncio.get_running_loop()
        self._config = config
        self._state = server_state
        self._app_state = app_state
        # Whole seconds by its type, which nobody checks.
        unchecked: Any = config
        self._keep_alive_seconds = float(unchecked.timeout_keep_alive)
        # Apps that are not the edge's, roots and limits are uvicorn's to deal with.
        plain = not config.root_path and config.limit_concurrency is None
        self._find: Any = getattr(config.loaded_app, "find", _nothing) if plain else _nothing
        self._asgi: AsgiRequests | None = None
        self._stall_seconds = stall_seconds
        self._soon_seconds = soon_seconds
        self._cork = cork or Cork(self.loop)
        self._turn: DirectTurn | None = None
        """The last request that has begun, if it goes straight to who serves it."""
        self._due: DirectTurn | None = None
        """The one that begins when all that came with its head has been read, and its body if that comes soon."""
        self._cycle: RequestResponseCycle | None = None
        """The last request that has begun, if it is uvicorn's."""
        self._serving: DirectTurn | RequestResponseCycle | None = None
        self._line: list[tuple[DirectTurn | RequestResponseCycle, Any]] = []
        """Requests that wait for those before them; uvicorn's with their app."""
        self._passed_over_bytes = 0
        """How much has come after the last request."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the clock of the first head."""
        self.transport = corked = CorkedTransport(transport, self._cork)
        self.flow = Flow(corked, self.loop, self._stall_seconds)
        self._state.connections.add(cast("Any", self))
        self._timers = ClientTimers(self.loop, corked, self._keep_alive_seconds, self._soon_seconds)
        self._timers.await_head(self._head_late)

    def eof_received(self) -> None:
        """Let the transport close: who half-closes wants no answer but those given before."""
        self.transport.flush()

    def pause_writing(self) -> None:
        """Hear that the client reads too slowly."""
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        """Hear that the client has read enough."""
        self.flow.resume_writing()

    def shutdown(self) -> None:
        """Close, after the request that is being served."""
        last = self._last()
        if last is None or last.response_complete:
            self.transport.close()
        else:
            last.keep_alive = False

    def _last(self) -> DirectTurn | RequestResponseCycle | None:
        """Return the last request that has begun."""
        return self._turn if self._turn is not None else self._cycle

    def data_received(self, data: bytes) -> None:
        """Read, and serve what has come whole."""
        if self._parser is None:
            self._pass_over(data)
            return
        try:
            self.read(data)
        except httptools.HttpParserError:
            self._due = None
            self._refuse(MALFORMED)
            return
        due = self._due
        if due is not None and (due.body_whole or not self._wait_for_body(due)):
            self._begin(due)
        if not self._between and self._parser is not None and not self.transport.is_closing():
            self._unfinished()

    def _unfinished(self) -> None:
        """Bound what a request that is not whole has besides its body: a head, extensions of chunks, trailers."""
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(TOO_LARGE)
        elif self._in_head:
            self._timers.await_head(self._head_late)

    def _refuse(self, why: Reason) -> None:
        """Answer what is no HTTP, in the same envelope as everything else, but not in the middle of another answer."""
        if self._answering() or self.flow.write_paused:
            self._hang_up()
            return
        self.transport.write(whole_answer(why, request_id.new()))
        self._linger()

    def _answering(self) -> bool:
        serving = self._serving
        if isinstance(serving, DirectTurn):
            return serving.answered
        return serving is not None and serving.response_started

    def _linger(self) -> None:
        """End our side, and read what the client still sends: to close before it is read resets the connection.

        A reset takes away an answer that the client has not read yet.
        """
        self._let_go()
        self._passed_over_bytes = 0
        self.flow.resume_reading()
        self._timers.await_end()
        self.transport.write_eof()

    def _pass_over(self, data: bytes) -> None:
        self._passed_over_bytes += len(data)
        if self._passed_over_bytes > DRAIN_BYTES:
            self.transport.abort()

    def _hang_up(self) -> None:
        if self.flow.write_paused:
            # A client that does not read would keep what it has not read in memory.
            self.transport.abort()
        else:
            self.transport.close()

    def _head_late(self) -> None:
        self._timers.head_over()
        if self._serving is not None:
            # A request is not ended because of the next one, of which perhaps nothing may be read now.
            self._timers.await_head(self._head_late)
        elif not self.transport.is_closing():
            self.transport.close()

    # What is read

    def head_read(self, parser: httptools.HttpRequestParser, url: bytes, headers: Headers, version: str) -> None:
        """Find who serves the request."""
        found: Found = self._find(url) if version else None
        if found is None:
            self._leave_to_uvicorn(parser, url, headers)
            return
        serve, query = found
        chunks = version == "1.1"
        keep_alive = chunks and parser.should_keep_alive()
        turn = DirectTurn(self, serve, url, headers, query, chunks=chunks, keep_alive=keep_alive)
        previous = self._last()
        self._turn, self._cycle = turn, None
        if previous is None or previous.response_complete:
            self._serving = self._due = turn
        else:
            self._queue(turn, None)

    def _leave_to_uvicorn(self, parser: httptools.HttpRequestParser, url: bytes, headers: Headers) -> None:
        asgi = self._asgi
        if asgi is None:
            state, app_state, done = self._state, self._app_state, self.on_response_complete
            asgi = self._asgi = AsgiRequests(self._config, state, app_state, self.transport, self.flow, done)
        cycle, app = asgi.begin(parser, url, headers, expects=self._expects)
        previous = self._last()
        self._turn, self._cycle = None, cycle
        if previous is None or previous.response_complete:
            self._serving = cycle
            asgi.start(self.loop, cycle, app)
        else:
            self._queue(cycle, app)

    def _queue(self, request: DirectTurn | RequestResponseCycle, app: Any) -> None:
        if len(self._line) >= MOST_WAITING:
            # Of what is read at once, ten thousand could wait, each with a hundred times the memory that it came in.
            raise ValueError("too many requests wait on one connection")
        self.flow.pause_reading()
        self._line.append((request, app))

    def body_read(self, piece: bytes) -> None:
        """Hand on a piece of the body."""
        if self._turn is not None:
            self._turn.feed(piece)
        elif self._asgi is not None and self._cycle is not None:
            self._asgi.feed(self._cycle, piece)

    def request_read(self) -> None:
        """Hand on the body's end."""
        if self._turn is not None:
            self._turn.finish()
        elif self._asgi is not None and self._cycle is not None:
            self._asgi.finish(self._cycle)

    def nothing_follows(self) -> None:
        """End the connection with the last request."""
        last = self._last()
        if last is not None:
            last.keep_alive = False

    # One request after another

    def _wait_for_body(self, turn: DirectTurn) -> bool:
        """Whether the body will be here in a moment: most clients send it right after the head, in a piece of its own.

        A task to wait in would cost a fifth of all that the request does.
        """
        if not self._timers.awaits_body:
            if not turn.comes_soon():
                return False
            self._timers.await_body(self._body_late)
        return True

    def _body_late(self) -> None:
        if self._due is not None:
            self._begin(self._due)

    def _begin(self, turn: DirectTurn) -> None:
        self._due = None
        self._timers.body_over()
        self._take(turn)

    def _take(self, turn: DirectTurn) -> None:
        """Serve a turn as far as goes at once; what is left of it gets a task."""
        try:
            rest = turn.serve(turn)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the client gets an answer
            _note_crash(error)
            self._cut(turn)
            return
        if rest is not None:
            self.carry_on(turn, rest)

    def carry_on(self, turn: DirectTurn, rest: Coroutine[Any, Any, None]) -> None:
        """Serve the rest of a turn in a task."""
        turn.task = task = self.loop.create_task(self._run(turn, rest))
        self._state.tasks.add(task)

    async def _run(self, turn: DirectTurn, rest: Coroutine[Any, Any, None]) -> None:
        """Take a turn to its end; one that ends without an answer ends the connection."""
        try:
            await rest
        except Exception as error:  # noqa: BLE001 -- as above
            _note_crash(error)
        finally:
            task, turn.task = turn.task, None
            self._state.tasks.discard(cast("asyncio.Task[None]", task))
            self._cut(turn)

    def _cut(self, turn: DirectTurn) -> None:
        """End the connection of a turn that nobody takes further, unless it is complete."""
        if turn.response_complete or turn.gone or turn.in_flight:
            return
        if turn.answered:
            self._hang_up()
        else:
            self._refuse(CRASHED)

    def turn_over(self) -> None:
        """Go on to the next request, or wait for one."""
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request, or wait for one."""
        self._state.total_requests += 1
        self._serving = None
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if not self._line:
            self._turn = self._cycle = None
            self._idle()
            return
        following, app = self._line.pop(0)
        if isinstance(following, DirectTurn):
            self._serving = following
            # Not within the end of the one before it, which still holds its place in the limits.
            self.loop.call_soon(self._take, following)
        elif self._asgi is not None:
            self._serving = following
            self._asgi.start(self.loop, following, app)

    def default_lines(self) -> bytes:
        """Return what stands in the head of every answer: the date, which the server makes anew each second."""
        return _DEFAULTS.of(self._state.default_headers)

    def _idle(self) -> None:
        # Half of the next head may be there, which has a clock of its own.
        if not self._in_head:
            self._timers.await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell open requests that their client has left, and let go of everything."""
        del exc
        self._state.connections.discard(cast("Any", self))
        self.flow.resume_writing()
        self._let_go()

    def _let_go(self) -> None:
        self._timers.stop()
        serving, self._serving = self._serving, None
        self._line.clear()
        # Parser, requests and connection name each other; without this, memory waits for the cycle collector.
        self._parser = None
        self._turn = self._cycle = self._asgi = self._due = None
        self._find = _nothing
        if isinstance(serving, DirectTurn):
            serving.leave()
        elif serving is not None:
            leave(serving)
