"""The ASGI app: what asks a model is taken from a table, everything else is one of a few routes, or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from penstock_chassis import docs_page, logs
from penstock_edge import errors, openapi, request_id
from penstock_edge.asgi_turn import AsgiTurn
from penstock_edge.errors import Problem, ProblemError
from penstock_edge.routes import gemini_models
from penstock_edge.routes.plain import answer, names_a_method, nothing_at, refusal
from penstock_edge.routes.route import Answer, Asked, Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from penstock_edge.turn import Found, Serve

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Finder = Callable[[str, bytes], Serve | None]

log = logs.get(__name__)

_CREDENTIAL = (
    "Send your key as <code>x-api-key</code>, <code>Authorization: Bearer</code> or <code>x-goog-api-key</code>."
)


class EdgeApp:
    """Serves POSTs to `hot` paths, and GETs of `routes`.

    `by_pattern` finds who serves a POST whose path names more than a place, by path and query, or None.
    """

    def __init__(self, hot: Mapping[str, Serve], by_pattern: Finder, routes: Iterable[Route]) -> None:
        self._hot = dict(hot)
        self._raw = {path.encode(): serve for path, serve in hot.items()}
        self._by_pattern = by_pattern
        described = list(routes)
        self._document = openapi.document(described)
        described += [Route(path="/docs", give=self._docs), Route(path="/openapi.json", give=self._openapi)]
        self._fixed = {route.path: route for route in described if not route.name}
        self._named = [route for route in described if route.name]

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

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        method, path = scope["method"], scope["path"]
        if method == "POST":
            serve = self._hot.get(path) or self._by_pattern(path, scope["query_string"])
            if serve is not None:
                await _serve(serve, scope, receive, send)
                return
        path = path.removeprefix(scope.get("root_path", ""))
        asked = Asked(path, scope["headers"], scope["query_string"], scope["scheme"])
        # What can be got can be asked about; the server leaves out the body by its own scope.
        await _put(await self._answer("GET" if method == "HEAD" else method, asked), send)

    async def _answer(self, method: str, asked: Asked) -> Answer:
        """Answer, whatever happens."""
        try:
            route = self._route(asked)
            if route is not None and method == "GET":
                return await route.give(asked)
            problem = self._nothing(method, asked.path, route)
        except ProblemError as error:
            problem = error.problem
        except Exception as error:  # noqa: BLE001 -- whatever it is, the client gets an answer
            log.error("request_crashed", error=type(error).__name__, where=logs.where(error))  # noqa: TRY400 -- no message and no locals: they might quote a key
            problem = errors.INTERNAL
        return refusal(problem, _place(asked), asked.headers)

    def _route(self, asked: Asked) -> Route | None:
        """Return whose the path is, and note what it says where the route has a name."""
        path = asked.path
        for route in self._named:
            rest = route.rest_of(path)
            if rest is not None:
                asked.rest = rest
                return route
        return self._fixed.get(path)

    def _nothing(self, method: str, path: str, route: Route | None) -> Problem:
        allow = "POST" if path in self._hot else "GET" if route is not None else ""
        if not allow or names_a_method(path):
            return Problem(404, errors.NOT_FOUND, nothing_at(path))
        return Problem(405, errors.INVALID_REQUEST, f"{method} is not supported here", allow=allow)

    async def _docs(self, _asked: Asked) -> Answer:
        page = docs_page.render(self._document, _CREDENTIAL)
        return Answer(200, page.encode(), [(b"content-type", b"text/html; charset=utf-8")])

    async def _openapi(self, _asked: Asked) -> Answer:
        return answer(self._document)


async def _serve(serve: Serve, scope: Any, receive: Receive, send: Send) -> None:
    """Serve a request to a model, whatever happens. The server ends a connection whose answer it did not get whole."""
    begun = False

    async def noted(message: dict[str, Any]) -> None:
        nonlocal begun
        begun = True
        await send(message)

    try:
        rest = serve(AsgiTurn(scope, receive, noted))
        if rest is not None:
            await rest
    except Exception as error:  # noqa: BLE001 -- whatever it is, the client gets an answer
        log.error("request_crashed", error=type(error).__name__, where=logs.where(error))  # noqa: TRY400 -- no message and no locals: they might quote a prompt or a key
        if not begun:
            given = refusal(errors.INTERNAL, scope["path"])
            given.headers.append((b"connection", b"close"))
            await _put(given, send)


def _place(asked: Asked) -> str:
    """Return the path by which an error's envelope is chosen: Gemini's clients ask for models under /v1 too."""
    return "/v1beta/models" if "/models" in asked.path and gemini_models.asks(asked) else asked.path


async def _put(given: Answer, send: Send) -> None:
    """Send an answer, with a request id under both of its names."""
    known = next((value for name, value in given.headers if name == b"request-id"), None)
    made = known or request_id.new().encode()
    headers = [(b"content-length", b"%d" % len(given.body)), *given.headers]
    headers += [] if known else [(b"request-id", made)]
    headers.append((b"x-request-id", made))
    await send({"type": "http.response.start", "status": given.status, "headers": headers})
    await send({"type": "http.response.body", "body": given.body})
