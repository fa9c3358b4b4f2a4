"""The list of models in Gemini's form: what google-genai's `models.list()` and `models.get()` read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_edge import errors
from penstock_edge.errors import Problem, ProblemError, invalid
from penstock_edge.routes.plain import answer, caller
from penstock_edge.routes.visible import find, visible

if TYPE_CHECKING:
    from fastapi import Request, Response

    from penstock_edge.seams import Admission, View
    from penstock_edge.snapshot import Model

_DEFAULT_SIZE = 50
_LARGEST_SIZE = 1000
_METHODS = ["generateContent", "countTokens"]


def asks(request: Request) -> bool:
    """Whether a request comes from a client of the Gemini API."""
    return "/v1beta/" in request.url.path or "x-goog-api-key" in request.headers or "key" in request.query_params


def row(model: Model, name: str) -> dict[str, Any]:
    """Return one model under one of its names."""
    return {
        "name": f"models/{name}",
        "baseModelId": model.name,
        "version": model.name,
        "displayName": model.display_name or model.name,
        "inputTokenLimit": model.context_tokens,
        "outputTokenLimit": model.max_output_tokens,
        "supportedGenerationMethods": _METHODS,
    }


async def list_them(request: Request, view: View, admission: Admission, seconds: float) -> Response:
    """Answer the list, newest first, in pages of `pageSize` from `pageToken`."""
    _, key = await caller(request, admission, seconds, request.query_params.get("key", ""))
    size, token = request.query_params.get("pageSize", str(_DEFAULT_SIZE)), request.query_params.get("pageToken", "0")
    if not (size.isascii() and size.isdecimal() and 1 <= int(size) <= _LARGEST_SIZE):
        raise ProblemError(invalid(f"pageSize: must be from 1 to {_LARGEST_SIZE}"))
    if not (token.isascii() and token.isdecimal() and len(token) <= 9):
        raise ProblemError(invalid("pageToken: is not one that this API gave"))
    begin, end = int(token), int(token) + int(size)
    models = sorted(visible(view, key), key=lambda model: (-model.created_at_ms, model.name))
    page: dict[str, Any] = {"models": [row(model, model.name) for model in models[begin:end]]}
    if end < len(models):
        page["nextPageToken"] = str(end)
    return answer(page)


async def show(name: str, request: Request, view: View, admission: Admission, seconds: float) -> Response:
    """Answer one model, by its name or an alias."""
    _, key = await caller(request, admission, seconds, request.query_params.get("key", ""))
    model = find(visible(view, key), name)
    if model is None:
        raise ProblemError(Problem(404, errors.NOT_FOUND, f"model: {name[:200]}"))
    return answer(row(model, name))
