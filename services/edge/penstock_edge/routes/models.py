"""GET /v1/models and /v1/models/{id}: rows that both Anthropic's and OpenAI's clients read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from penstock_edge import errors
from penstock_edge.errors import Problem, ProblemError, invalid
from penstock_edge.routes.inference import may_use
from penstock_edge.routes.plain import answer, caller

if TYPE_CHECKING:
    from penstock_edge.records import KeyFacts
    from penstock_edge.seams import Admission, View
    from penstock_edge.snapshot import Model

_DEFAULT_LIMIT = 1000
_LARGEST_LIMIT = 1000


def row(model: Model, name: str) -> dict[str, Any]:
    """Return one model under one of its names."""
    created = datetime.fromtimestamp(model.created_at_ms / 1000, UTC)
    retires = None
    if model.retires_at_ms:
        retires = datetime.fromtimestamp(model.retires_at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "model",
        "id": name,
        "display_name": model.display_name or model.name,
        "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        # What is listed is served, so nothing listed is retired yet.
        "lifecycle": "deprecated" if retires else "active",
        "retires_at": retires,
        "line": None,
        "capabilities": None,
        "max_input_tokens": model.context_tokens,
        "max_tokens": model.max_output_tokens,
        "object": "model",
        "created": int(model.created_at_ms / 1000),
        "owned_by": model.owned_by,
    }


def page(rows: list[dict[str, Any]], limit: int, after_id: str | None, before_id: str | None) -> dict[str, Any]:
    """Return one page of rows in both clients' form."""
    names = [r["id"] for r in rows]
    more = False
    if before_id is not None:
        end = names.index(before_id) if before_id in names else len(rows)
        begin = max(0, end - limit)
        more = begin > 0
    else:
        begin = names.index(after_id) + 1 if after_id in names else 0
        end = min(len(rows), begin + limit)
        more = end < len(rows)
    data = rows[begin:end]
    return {
        "object": "list",
        "data": data,
        "has_more": more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def router(view: View, admission: Admission, seconds: float) -> APIRouter:
    """Return the two endpoints; `seconds` is the time that auth has to answer."""
    routes = APIRouter(tags=["models"])

    def visible(key: KeyFacts) -> list[Model]:
        served = {name for account in view.accounts() if (facts := view.account(account)) for name in facts.models}
        return [
            model
            for model in view.models()
            if model.name in served and may_use(key.models, model.name, model.aliases, model.name)
        ]

    def listed(key: KeyFacts) -> list[dict[str, Any]]:
        # Aliases with a provider's name before them are accepted, but would only make the list long.
        rows = [
            row(model, name)
            for model in visible(key)
            for name in (model.name, *(alias for alias in model.aliases if "/" not in alias))
        ]
        return sorted(rows, key=lambda r: (-r["created"], r["id"]))

    @routes.get("/v1/models", summary="Models that this key may use", responses={200: {"description": "A list"}})
    async def list_models(request: Request) -> Response:
        """List the models that the key's plan includes and that some account serves, newest first."""
        _, key = await caller(request, admission, seconds)
        query = request.query_params
        limit = query.get("limit", str(_DEFAULT_LIMIT))
        if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit) <= _LARGEST_LIMIT:
            raise ProblemError(invalid("limit: Input should be an integer from 1 to 1000"))
        return answer(page(listed(key), int(limit), query.get("after_id"), query.get("before_id")))

    @routes.get("/v1/models/{model_id:path}", summary="One model")
    async def get_model(model_id: str, request: Request) -> Response:
        """Show one model, by its name or an alias."""
        _, key = await caller(request, admission, seconds)
        for model in visible(key):
            if model_id == model.name or model_id in model.aliases:
                return answer(row(model, model_id))
        raise ProblemError(Problem(404, errors.NOT_FOUND, f"model: {model_id[:200]}"))

    return routes
