"""GET /v1/models and /v1/models/{id}: rows that Anthropic's and OpenAI's clients read; Gemini's get their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from penstock_edge import errors
from penstock_edge.errors import Problem, ProblemError, invalid
from penstock_edge.routes import gemini_models
from penstock_edge.routes.plain import answer, caller
from penstock_edge.routes.route import Route
from penstock_edge.routes.visible import find, visible

if TYPE_CHECKING:
    from penstock_edge.routes.route import Answer, Asked, Give
    from penstock_edge.seams import Admission, View
    from penstock_edge.snapshot import Model

_DEFAULT_LIMIT = 1000
_LARGEST_LIMIT = 1000
_MOST_DIGITS = 4
# Where they are, and whether the OpenAPI document says so.
_BASES = (
    ("/v1", True),
    ("/v1beta", True),
    ("/v3/compat", False),
    ("/v3/compat/v1", False),
    ("/v3/compat/v1beta", False),
)
_LISTED = """List the models that the key's plan includes and that some account serves, newest first.

A client that sends its key as x-goog-api-key gets Gemini's form, any other one rows for both other kinds."""


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


def listed(models: list[Model]) -> list[dict[str, Any]]:
    """Return rows for models under all of their names, newest first."""
    # Aliases with a provider's name before them are accepted, but would only make the list long.
    rows = [row(model, name) for model in models for name in (model.name, *(a for a in model.aliases if "/" not in a))]
    return sorted(rows, key=lambda r: (-r["created"], r["id"]))


def routes(view: View, admission: Admission, seconds: float) -> list[Route]:
    """Return the endpoints; `seconds` is the time that auth has to answer."""

    async def list_models(asked: Asked) -> Answer:
        if gemini_models.asks(asked):
            return await gemini_models.list_them(asked, view, admission, seconds)
        _, key = await caller(asked, admission, seconds)
        query = asked.query
        limit = _limit(query.get("limit", str(_DEFAULT_LIMIT)))
        return answer(page(listed(visible(view, key)), limit, query.get("after_id"), query.get("before_id")))

    async def get_model(asked: Asked) -> Answer:
        if gemini_models.asks(asked):
            return await gemini_models.show(asked, view, admission, seconds)
        _, key = await caller(asked, admission, seconds)
        model = find(visible(view, key), asked.rest)
        if model is None:
            raise ProblemError(Problem(404, errors.NOT_FOUND, f"model: {asked.rest[:200]}"))
        return answer(row(model, asked.rest))

    return [route for base, documented in _BASES for route in _under(base, get_model, list_models, documented)]


def _limit(text: str) -> int:
    # Python itself refuses to read a number of thousands of digits.
    if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and 1 <= int(text) <= _LARGEST_LIMIT:
        return int(text)
    raise ProblemError(invalid("limit: Input should be an integer from 1 to 1000"))


def _under(base: str, get_model: Give, list_models: Give, documented: bool) -> tuple[Route, Route]:
    place = base.replace("/", "_")
    return (
        Route(
            path=f"{base}/models/{{model_id}}",
            deep=True,
            give=get_model,
            summary="One model",
            description="Show one model, by its name or an alias.",
            tag="models",
            operation_id=f"get_model{place}" if documented else "",
        ),
        Route(
            path=f"{base}/models",
            give=list_models,
            summary="Models that this key may use",
            description=_LISTED,
            tag="models",
            operation_id=f"list_models{place}" if documented else "",
        ),
    )
