"""GET /healthz and /readyz on the gateway's own port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from penstock_edge.routes.plain import answer

if TYPE_CHECKING:
    from collections.abc import Callable


def router(ready: Callable[[], tuple[bool, str]]) -> APIRouter:
    """Return the two endpoints; `ready` says whether this edge can serve and, if not, why."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", summary="Alive")
    async def healthz() -> Response:
        """Answer at all: the event loop turns."""
        return answer({"alive": True})

    @routes.get("/readyz", summary="Ready to serve")
    async def readyz() -> Response:
        """Say whether requests can be served now."""
        can, reason = ready()
        return answer({"ready": can, "reason": reason}, 200 if can else 503)

    return routes
