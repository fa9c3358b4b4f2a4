"""Instruments of the status process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = Counter("penstock_status_requests", "Requests to the admin port.", ["route", "method", "status"])
SECONDS = Histogram("penstock_status_request_seconds", "Time to answer on the admin port.", ["route"])

# Anybody may make up a method, and each would be a series that stays.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
# No answer has begun: the client went before its request was whole.
_LEFT = 499


class Measured:
    """ASGI layer that counts and times each request by its endpoint, never by its path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = _LEFT
        begun = time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except BaseException:
            status = 500
            raise
        finally:
            route = _route(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            REQUESTS.labels(route, method, status).inc()
            SECONDS.labels(route).observe(time.perf_counter() - begun)


def _route(scope: Scope) -> str:
    """Name of the endpoint that was chosen, such as `keys.show`."""
    endpoint = scope.get("endpoint")
    if endpoint is None:
        return "unknown"
    return f"{endpoint.__module__.rpartition('.')[2]}.{endpoint.__name__}"
