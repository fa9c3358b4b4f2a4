"""An ASGI layer that makes server spans of HTTP requests, by the route that was chosen, never by the path."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from penstock_chassis import tracing
from penstock_chassis.tracing import CURRENT, Span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Traced:
    """For apps off the hot path whose callers are believed: their `traceparent` decides, else the lot."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._tracer = tracing.active()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass one request on."""
        tracer = self._tracer
        joined = None
        if tracer is not None and scope["type"] == "http":
            joined = tracer.joins(_header(scope))
        if tracer is None or joined is None:
            await self._app(scope, receive, send)
            return
        own, parent_id = joined
        status = _LEFT

        async def noted(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token = CURRENT.set(own)
        began = time.time_ns()
        try:
            await self._app(scope, receive, noted)
        except BaseException:
            status = 500
            raise
        finally:
            CURRENT.reset(token)
            tracer.put([_span(scope, own, parent_id, began, status)])


def _header(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return bytes(value)
    return None


def _span(scope: Scope, own: tracing.TraceContext, parent_id: int, began: int, status: int) -> Span:
    route = _route(scope)
    method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
    attributes: tracing.Attributes = {
        "http.request.method": method,
        "http.response.status_code": status,
        "url.scheme": scope.get("scheme", "http"),
    }
    if route:
        attributes["http.route"] = route
    return Span(
        f"{method} {route}".rstrip(),
        own,
        parent_id,
        began,
        time.time_ns(),
        kind="server",
        attributes=attributes,
        error=str(status) if status >= 500 else "",
    )


def _route(scope: Scope) -> str:
    """Return the pattern of the path that was asked for; "" where there is none."""
    pattern = str(getattr(scope.get("route"), "path", ""))
    filled = pattern
    for name, value in scope.get("path_params", {}).items():
        filled = filled.replace(f"{{{name}}}", str(value))
    # A route knows its own part of the path; what stands before it are the routers that it is in.
    path = str(scope["path"])
    return path.removesuffix(filled) + pattern if pattern and path.endswith(filled) else pattern


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
# No answer has begun: the client went before its request was whole.
_LEFT = 499
