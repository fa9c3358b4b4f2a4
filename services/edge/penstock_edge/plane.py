"""Composes everything that clients can reach: the hot endpoints and the ordinary ones, in one app."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_edge.app import EdgeApp
from penstock_edge.routes import health, models, setup, usage
from penstock_edge.routes.doors import fixed, gemini_door
from penstock_edge.routes.inference import Inference

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub
    from penstock_edge.dispatch import Dispatcher
    from penstock_edge.estimates import Estimates
    from penstock_edge.seams import Admission, Settlement, View
    from penstock_edge.tracing import Tracing
    from penstock_edge.turn import Serve


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
    auth: AuthServiceAsyncStub
    session: str
    ready: Callable[[], tuple[bool, str]]
    max_body_bytes: int
    admit_seconds: float
    tracing: Tracing | None = None

    def app(self) -> EdgeApp:
        """Return the ASGI app."""
        inference = Inference(
            view=self.view,
            admission=self.admission,
            dispatcher=self.dispatcher,
            estimates=self.estimates,
            session=self.session,
            max_body_bytes=self.max_body_bytes,
            admit_seconds=self.admit_seconds,
            tracing=self.tracing,
        )

        def by_pattern(path: str, query: bytes) -> Serve | None:
            door = gemini_door(path, query)
            return None if door is None else inference.at(door)

        return EdgeApp(
            {path: inference.at(door) for path, door in fixed()},
            by_pattern,
            [
                *models.routes(self.view, self.admission, self.admit_seconds),
                *usage.routes(self.view, self.admission, self.settlement, self.auth, self.admit_seconds, _now_ms),
                *setup.routes(),
                *health.routes(self.ready),
            ],
        )
