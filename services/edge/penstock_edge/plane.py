"""Composes everything that clients can reach: the hot endpoints and the ordinary ones, in one app."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_edge.app import EdgeApp
from penstock_edge.routes import health, models, usage
from penstock_edge.routes.messages import MessagesEndpoint
from penstock_routing import outcomes

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub
    from penstock_edge.dispatch import Dispatcher
    from penstock_edge.estimates import Estimates
    from penstock_edge.metrics import EdgeMetrics
    from penstock_edge.seams import Admission, Settlement, View


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """What the endpoints stand on."""

    view: View
    admission: Admission
    settlement: Settlement
    dispatcher: Dispatcher
    estimates: Estimates
    metrics: EdgeMetrics
    auth: AuthServiceAsyncStub
    session: str
    ready: Callable[[], tuple[bool, str]]
    max_body_bytes: int
    admit_seconds: float

    def app(self) -> EdgeApp:
        """Return the ASGI app."""
        return EdgeApp(
            {
                ("POST", "/v1/messages"): self._hot(outcomes.MESSAGES, b"/v1/messages"),
                ("POST", "/v1/messages/count_tokens"): self._hot(outcomes.COUNT_TOKENS, b"/v1/messages/count_tokens"),
            },
            [
                models.router(self.view, self.admission, self.admit_seconds),
                usage.router(self.view, self.admission, self.settlement, self.auth, self.admit_seconds, _now_ms),
                health.router(self.ready),
            ],
        )

    def _hot(self, operation: str, path: bytes) -> MessagesEndpoint:
        return MessagesEndpoint(
            operation=operation,
            path=path,
            view=self.view,
            admission=self.admission,
            dispatcher=self.dispatcher,
            estimates=self.estimates,
            metrics=self.metrics,
            session=self.session,
            max_body_bytes=self.max_body_bytes,
            admit_seconds=self.admit_seconds,
        )
