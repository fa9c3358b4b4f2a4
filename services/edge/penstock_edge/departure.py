"""How a request hears that its client has left: from the connection itself, or from a watcher of ASGI's receive()."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    Receive = Callable[[], Awaitable[dict[str, Any]]]

SCOPE_KEY = "penstock.departure"


class Departure:
    """A connection's promise to call back when its client leaves; spares a task for each request."""

    __slots__ = ("_callback", "gone")

    def __init__(self) -> None:
        self.gone = False
        self._callback: Callable[[], None] | None = None

    def listen(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client leaves; at once if it has left."""
        if self.gone:
            callback()
        else:
            self._callback = callback

    def forget(self) -> None:
        """Nobody listens any more."""
        self._callback = None

    def happen(self) -> None:
        """Tell who listens that the client has left."""
        self.gone = True
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Watcher:
    """The same for servers that only know ASGI: a task that reads the rest of the request."""

    __slots__ = ("_task",)

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Receive, callback: Callable[[], None]) -> None:
        self._task = loop.create_task(_watch(receive, callback))

    def forget(self) -> None:
        """Nobody listens any more."""
        self._task.cancel()


async def _watch(receive: Receive, callback: Callable[[], None]) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            callback()
            return
