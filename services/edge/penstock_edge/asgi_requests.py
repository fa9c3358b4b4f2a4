"""One connection's requests that go through ASGI: uvicorn serves them, on a connection that is not its own."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, service_unavailable
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn import Config
    from uvicorn.protocols.http.flow_control import FlowControl
    from uvicorn.server import ServerState

    from penstock_edge.corking import CorkedTransport
    from penstock_edge.dialects.dialect import Headers
    from penstock_edge.flow import Flow

_LOGGER = logging.getLogger("uvicorn.error")
_ACCESS_LOGGER = logging.getLogger("uvicorn.access")


class AsgiRequests:
    """Makes uvicorn's cycles and feeds them; made with the first such request of a connection."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        app_state: dict[str, Any],
        transport: CorkedTransport,
        flow: Flow,
        on_response: Callable[[], None],
    ) -> None:
        self._config = config
        self._state = state
        self._app_state = app_state
        # In all that uvicorn does with it, it is one.
        self._transport = cast("asyncio.Transport", transport)
        self._flow = flow
        self._on_response = on_response

    def begin(
        self, parser: httptools.HttpRequestParser, url: bytes, headers: Headers, *, expects: bool
    ) -> tuple[RequestResponseCycle, Any]:
        """Return a request whose head is complete, and the app that is to serve it."""
        version = parser.get_http_version()
        cycle = RequestResponseCycle(
            scope=self._scope(parser, url, headers, version),
            transport=self._transport,
            flow=cast("FlowControl", self._flow),
            logger=_LOGGER,
            access_logger=_ACCESS_LOGGER,
            access_log=_ACCESS_LOGGER.hasHandlers(),
            default_headers=self._state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=expects,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self._on_response,
        )
        return cycle, service_unavailable if self._crowded() else self._config.loaded_app

    def _scope(self, parser: httptools.HttpRequestParser, url: bytes, headers: Headers, version: str) -> Any:
        root, transport = self._config.root_path, self._transport
        # Its types do not say that there may be no query.
        parsed: Any = httptools.parse_url(url)
        return {
            "type": "http",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": get_local_addr(transport),
            "client": get_remote_addr(transport),
            "scheme": "https" if is_ssl(transport) else "http",
            "root_path": root,
            "headers": headers,
            "state": self._app_state.copy(),
            "method": parser.get_method().decode("ascii"),
            "path": root + unquote(parsed.path.decode("ascii")),
            "raw_path": root.encode("ascii") + parsed.path,
            "query_string": parsed.query or b"",
        }

    def _crowded(self) -> bool:
        most, state = self._config.limit_concurrency, self._state
        return most is not None and (len(state.connections) >= most or len(state.tasks) >= most)

    def feed(self, cycle: RequestResponseCycle, body: bytes) -> None:
        """Hand on a piece of a body."""
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self._flow.pause_reading()
            cycle.message_event.set()

    def finish(self, cycle: RequestResponseCycle) -> None:
        """Hand on a body's end."""
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def start(self, loop: asyncio.AbstractEventLoop, cycle: RequestResponseCycle, app: Any) -> None:
        """Serve a request."""
        tasks = self._state.tasks
        task = loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(tasks.discard)
        tasks.add(task)


def leave(cycle: RequestResponseCycle) -> None:
    """Tell a request that its client has left."""
    cycle.disconnected = True
    cycle.message_event.set()
