"""uvicorn run inside a loop that is not its own, so that signals and the drain stay with `process.run`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Any

from penstock_chassis.absent import blank

# Its command line, which it imports with everything: with click, multiprocessing and what watches files.
with blank("uvicorn.main"):
    from uvicorn.config import Config
    from uvicorn.server import Server

    from penstock_chassis.http_protocol import BoundedProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_SECONDS = 10.0


class AddressTakenError(OSError):
    """The address cannot be bound: another process has it, or it is not an address of this machine."""


def listen(host: str, port: int, *, reuse_port: bool = False, backlog: int = 2048) -> socket.socket:
    """Bind and listen; with `reuse_port` several processes share one port and the kernel spreads connections.

    Raises AddressTakenError.
    """
    if not host:
        # The system would take it for all addresses there are, which an empty variable should not open.
        raise AddressTakenError(errno.EINVAL, "cannot listen on an empty address; 0.0.0.0 or :: stands for all")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise AddressTakenError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    listener.setblocking(False)
    # Accepted sockets inherit this; a stream without it waits 40 ms for delayed acknowledgements.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class HttpServer(Server):
    """An ASGI app on sockets that are already listening."""

    def __init__(self, app: Callable[..., Any], listeners: list[socket.socket], **options: Any) -> None:
        settings: dict[str, Any] = {
            "log_config": None,
            "access_log": False,
            "proxy_headers": False,
            "server_header": False,
            "date_header": True,
            "lifespan": "off",
            "http": BoundedProtocol,
            "ws": "none",
            "timeout_keep_alive": 75,
        }
        super().__init__(Config(app, **(settings | options)))
        self._listeners = listeners
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """Port of the first listener."""
        return int(self._listeners[0].getsockname()[1])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def begin(self) -> None:
        """Serve in the background; returns when connections are accepted."""
        self._serving = asyncio.create_task(self.serve(sockets=self._listeners), name="http-server")
        async with asyncio.timeout(START_SECONDS):
            while not self.started:
                if self._serving.done():
                    self._serving.result()
                await asyncio.sleep(0.005)

    async def end(self, seconds: float) -> None:
        """Stop accepting, wait up to `seconds` for open requests, then cut what is left."""
        if self._serving is None:
            return
        self.should_exit = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._serving)
        if not self._serving.done():
            self.force_exit = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await asyncio.shield(self._serving)
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
