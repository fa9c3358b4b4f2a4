"""A small client for tests that drive many requests: one connection each, and it may leave whenever it likes."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

from tests.stack import MODEL


@dataclass(slots=True)
class Exchange:
    """What one client saw."""

    status: int = 0
    request_id: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    left: bool = False
    """This client hung up."""
    cut: bool = False
    """The connection ended without a due end."""
    sent: bool = False
    """The request is on its way, or this client has given up."""
    began: float = 0.0
    ended: float = 0.0
    output_at: float = 0.0
    """When the first content arrived; 0: none."""

    @property
    def whole_stream(self) -> bool:
        """The stream ended normally."""
        return b"event: message_stop" in self.body

    @property
    def error_event(self) -> bool:
        """The stream ended in an error event."""
        return b"event: error" in self.body

    @property
    def good(self) -> bool:
        """A client would call this a success."""
        if self.status != 200 or self.cut:
            return False
        return self.whole_stream and not self.error_event if b"event: " in self.body else self.body[:1] == b"{"


def payload(
    directive: str = "", *, stream: bool = False, model: str = MODEL, max_tokens: int = 512, **more: Any
) -> bytes:
    """A request body; `directive` tells the simulator how to behave."""
    text = f"Say something. [[sim: {directive}]]" if directive else "Say something."
    document: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": text}],
    }
    if stream:
        document["stream"] = True
    return json.dumps(document | more).encode()


async def exchange(
    port: int,
    key: str,
    body: bytes,
    *,
    leave_after: float | None = None,
    seconds: float = 120.0,
    path: str = "/v1/messages",
    seen: Exchange | None = None,
) -> Exchange:
    """Send one request and read to the end, or hang up after `leave_after` seconds. Never raises for what a gateway does."""
    result = seen if seen is not None else Exchange()
    result.began = time.time()
    writer = None
    try:
        async with asyncio.timeout(leave_after if leave_after is not None else seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
            head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-api-key: {key}\r\nanthropic-version: 2023-06-01\r\n"
            writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
            result.sent = True
            await _read(reader, result)
    except TimeoutError:
        result.left = leave_after is not None
        result.cut = leave_after is None
    except OSError:
        result.cut = True
    finally:
        result.ended, result.sent = time.time(), True
        if writer is not None:
            writer.transport.abort()
    return result


async def _read(reader: asyncio.StreamReader, result: Exchange) -> None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        result.cut = True
        return
    first, *lines = raw.decode("latin-1").split("\r\n")
    result.status = int(first.split(" ")[1])
    result.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    result.request_id = result.headers.get("request-id", "")
    if "content-length" in result.headers:
        try:
            result.body = await reader.readexactly(int(result.headers["content-length"]))
        except asyncio.IncompleteReadError as error:
            result.body, result.cut = error.partial, True
        return
    while True:
        size_line = await reader.readline()
        if not size_line:
            result.cut = True
            return
        size = int(size_line, 16)
        try:
            data = await reader.readexactly(size + 2)
        except asyncio.IncompleteReadError as error:
            result.body, result.cut = result.body + error.partial, True
            return
        if size == 0:
            return
        result.body += data[:-2]
        if not result.output_at and b"content_block" in result.body:
            result.output_at = time.time()


async def many(port: int, key: str, bodies: list[bytes], at_once: int, **options: Any) -> list[Exchange]:
    """Send all of them, `at_once` at a time, and return what became of each, in order."""
    place = asyncio.Semaphore(at_once)

    async def one(body: bytes) -> Exchange:
        async with place:
            return await exchange(port, key, body, **options)

    return list(await asyncio.gather(*(one(body) for body in bodies)))
