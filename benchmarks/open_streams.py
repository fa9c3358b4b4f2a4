"""Memory of a gateway that holds many streams open, over several times of opening and closing them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from relaying import brief, say
from running import proportional_mb, resident_mb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateways import Target
    from relaying import Bench

STREAMS = 1_000
CYCLES = 3
OPENING_SECONDS = 60.0
OPENING_AT_ONCE = 100
READ_EVERY_SECONDS = 2.0
SETTLE_SECONDS = 2.0
DELTA = b"content_block_delta"
MEASURED = ("nginx", "penstock", "penstock-compiled")


class Client(asyncio.Protocol):
    """One stream, from its request until it is cut."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.chunks = 0
        self.over = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count."""
        if not self.begun.done():
            if not data.startswith(b"HTTP/1.1 200"):
                self.over = data[:200].decode(errors="replace")
            self.begun.set_result(None)
        # The name is there twice in an event.
        self.chunks += data.count(b"event: " + DELTA)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Note that it did not last."""
        self.over = self.over or "the stream ended"
        if not self.begun.done():
            self.begun.set_result(None)

    def cut(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


def request(target: Target) -> bytes:
    """Return the bytes that ask a target for a stream of Messages."""
    parts = urlsplit(target.url)
    said = [{"role": "user", "content": "hello"}]
    body = json.dumps({"model": target.model, "max_tokens": 64, "stream": True, "messages": said})
    head = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", "content-type: application/json"]
    head += [f"content-length: {len(body)}", *target.headers]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


async def hold(target: Target, pid: int, streams: int, seconds: float) -> tuple[list[float], float]:
    """Open streams, keep them open; return readings of the resident memory meanwhile, and the proportional one.

    Raises RuntimeError.
    """
    loop = asyncio.get_running_loop()
    parts = urlsplit(target.url)
    asking = request(target)
    places = asyncio.Semaphore(OPENING_AT_ONCE)
    clients: list[Client] = []

    async def one() -> None:
        async with places:
            _, client = await loop.create_connection(lambda: Client(asking), parts.hostname or "", parts.port or 80)
            clients.append(client)
            await client.begun

    try:
        async with asyncio.timeout(OPENING_SECONDS):
            await asyncio.gather(*(one() for _ in range(streams)))
        before = sum(client.chunks for client in clients)
        readings, began = [], time.monotonic()
        while time.monotonic() - began < seconds:
            await asyncio.sleep(READ_EVERY_SECONDS)
            readings.append(brief(resident_mb(pid)))
        proportional = brief(proportional_mb(pid))
        lost = [client.over for client in clients if client.over]
        chunks = sum(client.chunks for client in clients) - before
        if lost or chunks < 0.8 * streams * (seconds - 1):
            raise RuntimeError(f"{len(lost)} of {streams} streams ended, {chunks} chunks came: {lost[:1]}")
    finally:
        for client in clients:
            client.cut()
    return readings, proportional


def measure(bench: Bench, names: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return the readings of each time of opening, and what each gateway took before."""
    idle: dict[str, float] = {}
    found: dict[str, list[list[float]]] = {}
    shared: dict[str, float] = {}
    for name in names:
        way = bench[name].messages if name in bench else None
        if way is None or way.slow is None:
            continue
        bench.rouse(name)
        try:
            before, readings = resident_mb(bench[name].pid), []
            for cycle in range(CYCLES):
                reading, shared[name] = asyncio.run(hold(way.slow, bench[name].pid, STREAMS, seconds))
                readings.append(reading)
                say(f"{name}: {STREAMS} streams open, time {cycle + 1} of {CYCLES}: {readings[-1]} MB")
                time.sleep(SETTLE_SECONDS)
            idle[name], found[name] = brief(before), readings
        except (OSError, RuntimeError, TimeoutError) as error:
            say(f"{name}: {STREAMS} open streams could not be measured: {error}")
        finally:
            bench.rest(name)
    return {"streams": STREAMS, "seconds": seconds, "idle_mb": idle, "mb": found, "proportional_mb": shared}
