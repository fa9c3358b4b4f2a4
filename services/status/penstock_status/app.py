"""The status process's HTTP application, composed in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from penstock_chassis import docs_page, tracing
from penstock_chassis.http_tracing import Traced
from penstock_status import bearer, problems
from penstock_status.api import accounts, audit, credit, explain, keys, plans, projects, usage
from penstock_status.api.asked import only_known_parameters
from penstock_status.body_limit import BodyLimit
from penstock_status.metrics import Measured

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock_status.bearer import BearerToken
    from penstock_status.peers import Peers


def create_app(peers: Peers, token: BearerToken) -> FastAPI:
    """Return the application; requests go through its layers as listed at the end, first to last."""
    app = FastAPI(
        title="Penstock admin API",
        version="1",
        description="Projects, keys, credit, plans, usage and accounts of one gateway. Money is integer micro-USD.",
        docs_url=None,
        redoc_url=None,
        # It would lead to http, token and all, whoever came by https through somebody that ends it.
        redirect_slashes=False,
    )
    app.state.peers = peers
    app.state.bearer = token
    app.include_router(_admin())
    app.add_api_route("/docs", _docs(app), methods=["GET"], include_in_schema=False)
    app.add_api_route("/healthz", healthz, methods=["GET"], tags=["probes"])
    app.add_api_route("/readyz", _readyz(peers), methods=["GET"], tags=["probes"])
    app.add_exception_handler(problems.Problem, problems.on_problem)
    app.add_exception_handler(RequestValidationError, problems.on_invalid)
    app.add_exception_handler(HTTPException, problems.on_http_error)
    app.add_exception_handler(Exception, problems.on_crash)
    for layer in reversed((Measured, BodyLimit)):
        app.add_middleware(layer)
    if tracing.active() is not None:
        app.add_middleware(Traced)
    return app


def _admin() -> APIRouter:
    guards = [Depends(bearer.require), Depends(_unstored), Depends(only_known_parameters)]
    admin = APIRouter(prefix="/admin/v1", dependencies=guards, responses=problems.RESPONSES, redirect_slashes=False)
    for noun in (projects, keys, credit, plans, usage, accounts, explain, audit):
        admin.include_router(noun.router)
    return admin


async def _unstored(response: Response) -> None:
    """Let nobody on the way keep an answer: it may hold a new key."""
    response.headers["cache-control"] = "no-store"


def _docs(app: FastAPI) -> Callable[[], Awaitable[HTMLResponse]]:
    async def docs() -> HTMLResponse:
        """Describe the API without a script, so that it reads without the Internet too."""
        return HTMLResponse(
            docs_page.render(app.openapi(), "Send the admin token as <code>Authorization: Bearer</code>.")
        )

    return docs


async def healthz() -> JSONResponse:
    """Whether the loop turns."""
    return JSONResponse({"alive": True})


def _readyz(peers: Peers) -> Callable[[], Awaitable[JSONResponse]]:
    async def readyz() -> JSONResponse:
        """Whether auth and the router answer."""
        missing = await peers.unanswered()
        reason = f"no answer from {' and '.join(missing)}" if missing else ""
        return JSONResponse({"ready": not missing, "reason": reason}, status_code=503 if missing else 200)

    return readyz
