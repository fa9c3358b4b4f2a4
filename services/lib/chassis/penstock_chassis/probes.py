"""/metrics, /healthz and /readyz on a port of their own, for Prometheus and the kubelet."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from penstock_chassis import process_metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LAG_LIMIT_SECONDS = 5.0
_TURN_SECONDS = 0.25
_METHODS = frozenset({"GET", "HEAD"})


class Pulse:
    """Notes when the event loop last turned, and how late it was each time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start ticking on the running loop."""
        self._task = asyncio.create_task(self._tick(), name="pulse")

    async def _tick(self) -> None:
        while True:
            began = self._last = self._clock()
            await asyncio.sleep(_TURN_SECONDS)
            process_metrics.LAG_SECONDS.observe(max(self._clock() - began - _TURN_SECONDS, 0.0))

    def end(self) -> None:
        """Stop ticking."""
        if self._task is not None:
            self._task.cancel()

    def alive(self) -> bool:
        """Whether the loop has turned within the limit."""
        return self._clock() - self._last < LAG_LIMIT_SECONDS


class Probes:
    """ASGI app of the three endpoints; `ready` gives (can serve, why not)."""

    def __init__(self, pulse: Pulse, ready: Callable[[], tuple[bool, str]]) -> None:
        self._pulse = pulse
        self._ready = ready

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        del receive
        if scope["type"] != "http":
            return
        if scope["method"] in _METHODS:
            status, kind, body = self._answer(scope["path"])
        else:
            status, kind, body = 405, "application/json", b'{"error":"GET is all there is here"}'
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
        if path == "/healthz":
            alive = self._pulse.alive()
            return (200 if alive else 503), "application/json", json.dumps({"alive": alive}).encode()
        if path == "/readyz":
            ready, reason = self._ready()
            return (200 if ready else 503), "application/json", json.dumps({"ready": ready, "reason": reason}).encode()
        return 404, "application/json", b'{"error":"there are /metrics, /healthz and /readyz here"}'
