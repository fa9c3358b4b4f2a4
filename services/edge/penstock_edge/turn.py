"""One request on a client's connection and the answer to it, whatever server carries them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from penstock_edge.dialects.dialect import Headers


class Turn(Protocol):
    """What serving a request needs of its connection.

    To a client that has left nothing is written, silently.
    """

    headers: Headers
    """Of the request; names are in lower case."""
    query: bytes

    @property
    def path(self) -> str:
        """The path that was asked for, decoded."""
        ...

    # The request

    def try_body(self, limit: int) -> bytes | None:
        """Return the whole body if it is there; None when it has to be waited for. Raises as `body` does."""
        ...

    async def body(self, limit: int, seconds: float = 300.0) -> bytes:
        """Return the whole body, at most `limit` bytes, within `seconds`.

        Raises ProblemError (413, 408, 415) and ClientLeftError. A body that is announced too large is not read.
        """
        ...

    async def drain(self) -> None:
        """Read and forget what the client still sends, within bounds, so that it sees the answer and not a reset."""
        ...

    def listen(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client leaves; at once if it has left. Only once the body has been read."""
        ...

    def forget(self) -> None:
        """Nobody listens any more."""
        ...

    # The answer: `whole`, or `early` and `end`, or `begin`, pieces and `end`. Each waits for a client that is slow.

    def try_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a complete answer now; False, and nothing is sent, when that takes waiting."""
        ...

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer; its length is among the headers."""
        ...

    async def early(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer while the request is still coming; the connection ends with `end`."""
        ...

    def try_begin(self, status: int, headers: Headers) -> bool:
        """Begin a streamed answer now; False, and nothing is done, when that takes waiting."""
        ...

    async def begin(self, status: int, headers: Headers) -> None:
        """Begin a streamed answer; may wait for the first piece before it sends anything."""
        ...

    def try_piece(self, data: bytes) -> bool:
        """Send a part of the body now; False, and nothing is sent, when that takes waiting."""
        ...

    async def piece(self, data: bytes) -> None:
        """Send a part of the body."""
        ...

    def try_end(self, data: bytes) -> bool:
        """Send the last part of the body now; False, and nothing is sent, when that takes waiting."""
        ...

    async def end(self, data: bytes = b"") -> None:
        """Send the last part of the body."""
        ...


Serve = Callable[[Turn], Coroutine[Any, Any, None] | None]
"""What is behind a path: it takes a turn as far as that goes at once, and returns what is to be awaited for the rest.

None when that is nothing: the turn has ended, or whoever waits for an upstream calls when something comes.
"""

Found = tuple[Serve, bytes] | None
"""Who serves a request, and the query that it came with."""
