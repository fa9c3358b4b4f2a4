"""Request bodies, read whole within bounds of size and time, and what happens to those that are too large."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final, cast

from penstock_edge.errors import BODY_TOO_LARGE, ProblemError, invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    Receive = Callable[[], Awaitable[dict[str, Any]]]

LIMIT_BYTES: Final = 32 * 1024 * 1024
# A client that has not read its 413 yet is still sending; so much and so long is read and thrown away.
DRAIN_BYTES: Final = 64 * 1024 * 1024
DRAIN_SECONDS: Final = 10.0
_MOST_DIGITS: Final = 20


class ClientLeftError(Exception):
    """The client went away before its request was whole."""


def announced(length: bytes) -> int:
    """Return the number of a Content-Length, which the parser has found to be one, and less than 2**64."""
    # Before it may stand thousands of zeros, and of so many digits Python makes no number.
    return int(length[-_MOST_DIGITS:])


def accept(headers: list[tuple[bytes, bytes]], limit: int) -> None:
    """Judge a body by what is said of it. Raises ProblemError (413, 415, 501)."""
    for name, value in headers:
        if name == b"content-length" and announced(value) > limit:
            raise ProblemError(BODY_TOO_LARGE)
        if name == b"content-encoding" and value.lower() not in {b"", b"identity"}:
            raise ProblemError(invalid("the request body must not be compressed", 415))
        if name == b"transfer-encoding" and value.strip(b" \t,").lower() != b"chunked":
            # The parser takes off the chunks and would leave the rest, as if the body had come so.
            raise ProblemError(invalid("the request body must come with no transfer coding but chunked", 501))


async def read_body(
    receive: Receive, headers: list[tuple[bytes, bytes]], *, limit: int = LIMIT_BYTES, seconds: float = 300.0
) -> bytes:
    """Return the whole body, at most `limit` bytes, within `seconds`.

    Raises ProblemError (413, 408, 415) and ClientLeftError. A body that is announced too large is not read.
    """
    accept(headers, limit)
    message = await _next(receive, seconds)
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit:
        return body
    pieces = [body]
    size = len(body)
    deadline = asyncio.get_running_loop().time() + seconds
    while size <= limit and message.get("more_body", False):
        message = await _next(receive, deadline - asyncio.get_running_loop().time())
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
    if size > limit:
        raise ProblemError(BODY_TOO_LARGE)
    return b"".join(pieces)


async def _next(receive: Receive, seconds: float) -> dict[str, Any]:
    """Return the next message; a timer is made only if it is not there yet."""
    steps = receive().__await__()
    try:
        first = next(steps)
    except StopIteration as done:
        message: dict[str, Any] = done.value
    else:
        try:
            async with asyncio.timeout(seconds):
                message = await _Begun(steps, first)
        except TimeoutError:
            raise ProblemError(invalid("the request body did not come in time", 408)) from None
    if message["type"] == "http.disconnect":
        raise ClientLeftError
    return message


class _Begun:
    """An awaitable whose first step has been taken and gave `first`."""

    def __init__(self, steps: Generator[Any, Any, dict[str, Any]], first: object) -> None:
        self._steps = steps
        self._first = first

    def __await__(self) -> Generator[Any, Any, dict[str, Any]]:
        waits_for = self._first
        while True:
            try:
                value = yield waits_for
            except BaseException as error:  # noqa: BLE001 -- whatever it is belongs to the steps, as with `yield from`
                resume = functools.partial(self._steps.throw, error)
            else:
                resume = functools.partial(self._steps.send, value)
            try:
                waits_for = resume()
            except StopIteration as done:
                return cast("dict[str, Any]", done.value)


async def drain(receive: Receive) -> None:
    """Read and forget what a client still sends, so that it sees the answer instead of a reset."""
    left = DRAIN_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
