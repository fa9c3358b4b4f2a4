"""GET /healthz and /readyz on the gateway's own port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock_edge.routes.plain import answer
from penstock_edge.routes.route import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_edge.routes.route import Answer, Asked


def routes(ready: Callable[[], tuple[bool, str]]) -> list[Route]:
    """Return the two endpoints; `ready` says whether this edge can serve and, if not, why."""

    async def healthz(_asked: Asked) -> Answer:
        return answer({"alive": True})

    async def readyz(_asked: Asked) -> Answer:
        can, reason = ready()
        return answer({"ready": can, "reason": reason}, 200 if can else 503)

    return [
        Route(
            path="/healthz",
            give=healthz,
            summary="Alive",
            description="Answer at all: the event loop turns.",
            tag="health",
            operation_id="healthz_healthz_get",
        ),
        Route(
            path="/readyz",
            give=readyz,
            summary="Ready to serve",
            description="Say whether requests can be served now.",
            tag="health",
            operation_id="readyz_readyz_get",
        ),
    ]
