"""The ASGI app: hot paths are taken from a table before FastAPI's layers, everything else is ordinary FastAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from penstock_chassis import docs_page
from penstock_edge import errors, openapi, request_id
from penstock_edge.asgi_turn import AsgiTurn
from penstock_edge.errors import Problem, ProblemError
from penstock_edge.routes import gemini_models
from penstock_edge.routes.plain import names_a_method, nothing_at, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from fastapi import APIRouter

    from penstock_edge.turn import Found, Serve

    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Finder = Callable[[str, bytes], Serve | None]


_CREDENTIAL = (
    "Send your key as <code>x-api-key</code>, <code>Authorization: Bearer</code> or <code>x-goog-api-key</code>."
)


class EdgeApp(FastAPI):
    """Serves POSTs to `hot` paths directly; FastAPI's own layers would cost more than all of our work.

    `by_pattern` finds who serves a POST whose path names more than a place, by path and query, or None.
    """

    def __init__(self, hot: Mapping[str, Serve], by_pattern: Finder, routers: list[APIRouter]) -> None:
        super().__init__(
            title="Penstock",
            summary="One door to many model accounts: keys, limits, failover and books.",
            version="1",
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            swagger_ui_oauth2_redirect_url=None,
        )
        self._hot = dict(hot)
        self._raw = {path.encode(): serve for path, serve in hot.items()}
        self._by_pattern = by_pattern
        for part in routers:
            self.include_router(part)
        for path in hot:
            # Only reached with another method, for the Allow header; with its own it never gets here.
            self.add_api_route(path, _unreachable, methods=["POST"], include_in_schema=False)
        self.add_api_route("/docs", self._docs, methods=["GET"], include_in_schema=False)
        self.add_exception_handler(ProblemError, _on_problem)
        self.add_exception_handler(HTTPException, _on_http)
        self.add_exception_handler(RequestValidationError, _on_invalid)
        self.add_exception_handler(Exception, _on_crash)

    def find(self, url: bytes) -> Found:
        """Return who serves a POST to `url`, as it stands in the request; None if that takes more to say."""
        serve = self._raw.get(url)
        if serve is not None:
            return serve, b""
        path, _, query = url.partition(b"?")
        if b"#" in url or not path.isascii():
            return None
        serve = self._raw.get(path)
        if serve is None and b"/models/" in path:
            serve = self._by_pattern(unquote(path.decode()), query)
        return None if serve is None else (serve, query)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection event."""
        if scope["type"] == "http":
            if scope["method"] == "POST":
                serve = self._hot.get(scope["path"]) or self._by_pattern(scope["path"], scope["query_string"])
                if serve is not None:
                    rest = serve(AsgiTurn(scope, receive, send))
                    if rest is not None:
                        await rest
                    return
            if scope["method"] == "HEAD":
                # What can be got can be asked about; the server leaves out the body by its own scope.
                scope = {**scope, "method": "GET"}
            send = _named(send)
        await super().__call__(scope, receive, send)

    async def _docs(self) -> Response:
        return HTMLResponse(docs_page.render(self.openapi(), _CREDENTIAL))

    def openapi(self) -> dict[str, Any]:
        """Return the description of all endpoints, the hot ones included."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.complete(super().openapi())
        return self.openapi_schema


def _named(send: Send) -> Send:
    """Return a `send` that gives a request id to answers without one, and both of its names to all."""

    async def named(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers") or []
            known = next((value for name, value in headers if name == b"request-id"), None)
            made = known or request_id.new().encode()
            added = [] if known else [(b"request-id", made)]
            message["headers"] = [*headers, *added, (b"x-request-id", made)]
        await send(message)

    return named


async def _unreachable() -> Response:
    return refusal(errors.INTERNAL)


def _path(request: Request) -> str:
    """Return the path by which an error's envelope is chosen: Gemini's clients ask for models under /v1 too."""
    path = request.url.path
    return "/v1beta/models" if "/models" in path and gemini_models.asks(request) else path


async def _on_problem(request: Request, error: Exception) -> Response:
    return refusal(error.problem if isinstance(error, ProblemError) else errors.INTERNAL, _path(request))


async def _on_http(request: Request, error: Exception) -> Response:
    status, path = error.status_code if isinstance(error, HTTPException) else 500, request.url.path
    problem = Problem(status, errors.INVALID_REQUEST if status < 500 else errors.API, "the request failed")
    if status == 405 and not names_a_method(path):
        allowed = ((error.headers or {}) if isinstance(error, HTTPException) else {}).get("Allow", "")
        problem = Problem(405, errors.INVALID_REQUEST, f"{request.method} is not supported here", allow=allowed)
    elif status in {404, 405}:
        problem = Problem(404, errors.NOT_FOUND, nothing_at(path))
    return refusal(problem, _path(request))


async def _on_invalid(request: Request, error: Exception) -> Response:
    del error
    return refusal(errors.invalid("the request's parameters are not valid"), _path(request))


async def _on_crash(request: Request, error: Exception) -> Response:
    del error
    return refusal(errors.INTERNAL, _path(request))
