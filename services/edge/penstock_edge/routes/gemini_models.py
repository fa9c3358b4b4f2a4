"""The list of models in Gemini's form: what google-genai's `models.list()` and `models.get()` read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_edge import errors
from penstock_edge.errors import Problem, ProblemError, invalid
from penstock_edge.routes.plain import answer, caller
from penstock_edge.routes.visible import find, visible

if TYPE_CHECKING:
    from penstock_edge.routes.route import Answer, Asked
    from penstock_edge.seams import Admission, View
    from penstock_edge.snapshot import Model

_DEFAULT_SIZE = 50
_LARGEST_SIZE = 1000
_MOST_DIGITS = 9
_METHODS = ["generateContent", "countTokens"]


def asks(asked: Asked) -> bool:
    """Whether a request comes from a client of the Gemini API."""
    return "/v1beta/" in asked.path or bool(asked.header(b"x-goog-api-key")) or "key" in asked.query


def row(model: Model, name: str) -> dict[str, Any]:
    """Return one model under one of its names."""
    return {
        "name": f"models/{name}",
        "baseModelId": model.name,
        "version": model.name,
        "displayName": model.display_name or model.name,
        "inputTokenLimit": model.context_tokens,
        "outputTokenLimit": model.max_output_tokens,
        # What answers with vectors has no output to speak of, and is not served in this format.
        "supportedGenerationMethods": _METHODS if model.max_output_tokens > 1 else [],
    }


async def list_them(asked: Asked, view: View, admission: Admission, seconds: float) -> Answer:
    """Answer the list, newest first, in pages of `pageSize` from `pageToken`."""
    _, key = await caller(asked, admission, seconds, asked.query.get("key", ""))
    size, begin = _number(asked, "pageSize", "page_size"), _number(asked, "pageToken", "page_token")
    # As Google does it: nothing is the usual, and too much is the most.
    end = begin + min(size or _DEFAULT_SIZE, _LARGEST_SIZE)
    models = sorted(visible(view, key), key=lambda model: (-model.created_at_ms, model.name))
    page: dict[str, Any] = {"models": [row(model, model.name) for model in models[begin:end]]}
    if end < len(models):
        page["nextPageToken"] = str(end)
    return answer(page)


def _number(asked: Asked, *names: str) -> int:
    """Return a number of the query, 0 without one. Raises ProblemError (400)."""
    text = next((asked.query[name] for name in names if asked.query.get(name)), "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise ProblemError(invalid(f"{names[0]}: Input should be a valid number"))
    return int(text)


async def show(asked: Asked, view: View, admission: Admission, seconds: float) -> Answer:
    """Answer one model, by its name or an alias, with or without the collection before it."""
    name = asked.rest.removeprefix("models/")
    _, key = await caller(asked, admission, seconds, asked.query.get("key", ""))
    model = find(visible(view, key), name)
    if model is None:
        raise ProblemError(Problem(404, errors.NOT_FOUND, f"model: {name[:200]}"))
    return answer(row(model, name))
