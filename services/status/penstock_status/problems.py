"""Errors of the admin API as problem documents (RFC 9457) that say what to do.

Problem
├── Unauthorised    401
├── Refused         400, 409, 413, 422
├── NotFound        404
└── PeerDown        503
    └── Unsure      503
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from penstock_status import project_names

if TYPE_CHECKING:
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError

MEDIA_TYPE = "application/problem+json"
_METHODS = ("GET", "POST")
# What was not there may be there the next time.
_UNSTORED = {"cache-control": "no-store"}


class FieldError(BaseModel):
    """One field that was refused, without its value."""

    field: str
    reason: str


class ProblemDocument(BaseModel):
    """What every error of this API looks like."""

    type: str = Field(examples=["urn:penstock:problem:not-found"])
    title: str
    status: int
    detail: str
    action: str = Field(description="What the caller can do about it.")
    errors: list[FieldError] = []


class Problem(Exception):  # noqa: N818 -- it is data that becomes a document; RFC 9457 names it so
    """An error for the caller; nothing in it is secret."""

    status = 500
    name = "internal"
    title = "Something went wrong"
    action = "Try again; when it stays, look at the log of the process that is named."
    headers: dict[str, str] = {}  # noqa: RUF012 -- overridden per class, never changed

    def __init__(self, detail: str, *, action: str | None = None, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.action = action or type(self).action
        self.status = status or type(self).status

    def document(self) -> ProblemDocument:
        """Return the body."""
        return ProblemDocument(
            type=f"urn:penstock:problem:{self.name}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            action=self.action,
        )


class Unauthorised(Problem):
    """No token, or not the right one."""

    status = 401
    name = "unauthorised"
    title = "The admin token is missing or wrong"
    action = "Send `Authorization: Bearer <token>`; in local mode the token stands in DATA_DIR/admin-token."
    headers = {"www-authenticate": "Bearer"}  # noqa: RUF012 -- see Problem


class Refused(Problem):
    """The request makes no sense as things stand."""

    status = 400
    name = "refused"
    title = "The request was refused"
    action = "Change what the detail names and send it again."


class NotFound(Problem):
    """What was asked for does not exist."""

    status = 404
    name = "not-found"
    title = "There is no such thing"
    action = "Look at the list of what exists, and check the spelling."


class PeerDown(Problem):
    """Auth or the router did not answer in time."""

    status = 503
    name = "peer-down"
    title = "A process behind this API does not answer"
    action = "Try again in a moment; when it stays, look at that process's log."
    headers = {"retry-after": "1"}  # noqa: RUF012 -- see Problem


class Unsure(PeerDown):
    """The same, of what must not be done twice."""

    name = "unsure"
    title = "Whether this was done is not known"
    action = "Look whether it was done, in the audit and the lists, before you send it again."
    headers: dict[str, str] = {}  # noqa: RUF012 -- see Problem


_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 409,
    grpc.StatusCode.ABORTED: 409,
}
_DOWN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


def of_rpc(peer: str, code: grpc.StatusCode, details: str | None) -> Problem:
    """Translate a failed call; only the codes that a peer answers on purpose let its words through."""
    words = details or code.name.lower().replace("_", " ")
    if code is grpc.StatusCode.NOT_FOUND:
        return NotFound(words)
    if code in _REFUSALS:
        return Refused(words, status=_REFUSALS[code])
    if code in _DOWN:
        return PeerDown(f"{peer} did not answer ({code.name.lower()})")
    return Problem(f"{peer} failed ({code.name.lower()})")


def answer(problem: Problem) -> JSONResponse:
    """Return the response for a problem."""
    return JSONResponse(
        problem.document().model_dump(),
        status_code=problem.status,
        headers=_UNSTORED | problem.headers,
        media_type=MEDIA_TYPE,
    )


async def on_problem(_request: Request, problem: Exception) -> JSONResponse:
    """Answer a Problem that a route raised."""
    if not isinstance(problem, Problem):
        raise problem
    return answer(problem)


async def on_invalid(_request: Request, error: Exception) -> JSONResponse:
    """Answer a request whose fields are wrong, naming them without their values."""
    document = Refused("some fields are wrong", status=422).document()
    document.errors = [_field_error(item) for item in _validation(error).errors()]
    return JSONResponse(jsonable_encoder(document), status_code=422, headers=_UNSTORED, media_type=MEDIA_TYPE)


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework itself refuses: unknown paths, wrong methods."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404:
        problem: Problem = NotFound("there is no such path", action="See /docs for what there is.")
    else:
        problem = Refused(str(error.detail), status=error.status_code, action="See /docs for what there is.")
        if error.status_code == 405:
            problem.headers = {"allow": ", ".join(_allowed(request))}
    return answer(problem)


async def on_crash(_request: Request, error: Exception) -> JSONResponse:
    """Answer what nobody foresaw; the framework goes on with the error, into the log."""
    return answer(Problem(f"status failed ({type(error).__name__})"))


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes of the path; the framework names those of the first one."""
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


def _validation(error: Exception) -> RequestValidationError:
    from fastapi.exceptions import RequestValidationError  # noqa: PLC0415 -- the type alone is needed above

    if not isinstance(error, RequestValidationError):
        raise error
    return error


def _field_error(item: dict[str, Any]) -> FieldError:
    where = [str(part) for part in item["loc"] if part not in {"body", "query", "path"}]
    return FieldError(field=".".join(where) or "body", reason=_reason(item))


def _reason(item: dict[str, Any]) -> str:
    """Return in words why a field was refused: the framework's own for patterns and validators are for programmers."""
    if item.get("ctx", {}).get("pattern") == project_names.PATTERN:
        return project_names.WORDS
    return str(item["msg"]).removeprefix("Value error, ")


RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": ProblemDocument, "content": {MEDIA_TYPE: {}}} for code in (400, 401, 404, 409, 422, 503)
}
